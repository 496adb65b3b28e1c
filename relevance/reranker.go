package relevance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// RerankerOptions say how a reranker is used as a scorer.
type RerankerOptions struct {
	// Labels are at least two labels, in ascending order of relevance; nil means no
	// and yes. The model's grade is the share of the way from the first to the last: of
	// two labels it gives the distribution, of more of them only the expected grade,
	// and the label is the nearest one.
	Labels []string
	// Instruction is local.RerankerConfig's, the place for the task's criteria. A
	// cross-encoder takes none.
	Instruction string
	// MaxTokens is that of local.RerankerConfig or local.CrossEncoderConfig.
	MaxTokens int
	// Backend is the name of the tensor backend; empty means cpu.
	Backend string
}

// Validate returns an error that names the first invalid setting, as far as that can be
// known without the model.
func (o RerankerOptions) Validate() error {
	if o.Labels != nil && len(o.Labels) < 2 {
		return fmt.Errorf("relevance: RerankerOptions.Labels is %q, want at least two labels", o.Labels)
	}
	if o.MaxTokens < 0 {
		return fmt.Errorf("relevance: RerankerOptions.MaxTokens is %d, want at least 0", o.MaxTokens)
	}
	return nil
}

// OpenReranker opens the Hugging Face folder of a Qwen3-Reranker, of a decoder that was
// trained as one, or of a cross-encoder such as ms-marco-MiniLM and BGE's rerankers, as a
// scorer. A causal model with a single class is asked with Qwen3-Reranker's prompt.
//
// The reranker's grade is the share of the way from the first label to the last: of two
// labels it gives the distribution, of more of them only the expected grade, and the label
// is the nearest one.
func OpenReranker(dir string, o RerankerOptions) (Closer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("relevance: %w", err)
	}
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return nil, err
	}
	folder, err := model.Inspect(dir)
	if err != nil {
		return nil, err
	}
	b, err := tensor.Open(cmp.Or(o.Backend, "cpu"))
	if err != nil {
		return nil, err
	}
	r, free, err := o.open(b, dir, folder, tok)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), tensor.Close(b))
	}
	labels := o.Labels
	if labels == nil {
		labels = []string{"no", "yes"}
	}
	return &rerankerScorer{reranker: r, labels: labels, free: free, backend: b}, nil
}

// bodyAlone reports whether a folder holds a model without an output, or one that
// sentence-transformers pools.
func bodyAlone(folder *model.Inspection) bool {
	return folder.Body || slices.ContainsFunc(folder.Architectures, func(a string) bool { return strings.HasSuffix(a, "Model") })
}

// open returns the reranker in a folder, and what frees its model.
func (o *RerankerOptions) open(b tensor.Backend, dir string, folder *model.Inspection, tok *tokenizer.Tokenizer) (r posir.Scorer, free func(), err error) {
	if bodyAlone(folder) {
		return nil, nil, fmt.Errorf("architectures is %q, without a classifier: it embeds texts and does not rerank, want a …ForSequenceClassification, or a decoder that is not of sentence-transformers", folder.Architectures)
	}
	asked := local.RerankerConfig{Tokenizer: tok, Instruction: o.Instruction, MaxTokens: o.MaxTokens}
	if folder.Encoder == nil {
		if asked.Decoder, err = model.LoadDecoder(b, dir, model.Frozen()); err != nil {
			return nil, nil, err
		}
		free = asked.Decoder.Free
		r, err = local.NewReranker(asked)
	} else {
		var e *model.Encoder
		if e, err = model.LoadEncoder(b, dir, model.Frozen()); err != nil {
			return nil, nil, err
		}
		free = e.Free
		switch c := e.Config(); {
		case c.Causal && c.Classes == 1:
			asked.Encoder = e
			r, err = local.NewReranker(asked)
		case o.Instruction != "":
			err = errors.New("a cross-encoder takes no instruction")
		default:
			r, err = local.NewCrossEncoder(local.CrossEncoderConfig{Encoder: e, Tokenizer: tok, MaxTokens: o.MaxTokens})
		}
	}
	if err != nil {
		free()
		return nil, nil, err
	}
	return r, free, nil
}

// rerankerScorer asks a reranker, which gives grades from 0 to 1.
type rerankerScorer struct {
	reranker posir.Scorer
	labels   []string
	free     func()
	backend  tensor.Backend // that is closed with the scorer
}

func (s *rerankerScorer) Labels() []string { return s.labels }

// Close releases the model.
func (s *rerankerScorer) Close() error {
	s.free()
	return tensor.Close(s.backend)
}

// ScorePairs implements [PairScorer].
func (s *rerankerScorer) ScorePairs(ctx context.Context, pairs []rows.Example, o ScoreOptions) ([]Score, error) {
	return scoreQueries(ctx, s, pairs, o)
}

func (s *rerankerScorer) Score(ctx context.Context, query string, documents []rows.Document, _ ScoreOptions) ([]Score, error) {
	texts := make([]string, len(documents))
	for i := range documents {
		texts[i] = documentText(&documents[i], nil)
	}
	grades, err := s.reranker.Score(ctx, query, texts)
	if err != nil {
		return nil, err
	}
	scores := make([]Score, len(grades))
	for i, yes := range grades {
		if math.IsNaN(yes) { // weights that are not finite
			scores[i].Grade = yes
			continue
		}
		grade := yes * float64(len(s.labels)-1)
		scores[i] = Score{Label: s.labels[int(math.Round(grade))], Grade: grade}
		if len(s.labels) == 2 {
			scores[i].P = []float64{1 - yes, yes}
		}
	}
	return scores, nil
}
