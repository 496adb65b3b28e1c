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
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// RerankerOptions say how a reranker is used as a scorer.
type RerankerOptions struct {
	// Labels are at least two labels, in ascending order of relevance; nil means no and
	// yes, or the numbers of the classes of a model with more than two.
	Labels []string
	// Instruction is local.RerankerConfig's, the place for the task's criteria. A
	// cross-encoder takes none.
	Instruction string
	// MaxTokens is that of local.RerankerConfig or local.CrossEncoderConfig; 0 means
	// what the model reads, of a cross-encoder by its folder (local.ReadMaxTokens), at
	// most 8192 tokens.
	MaxTokens int
	// Backend is the name of the tensor backend; empty means cpu.
	Backend string
}

// rerankerTokens is the most that a reranker reads unless it is asked to read more:
// what the card of Qwen3-Reranker does, whose limit is far beyond.
const rerankerTokens = 8192

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
// A model with as many classes as there are labels gives their distribution. One with a
// single logit, or with the answers no and yes, gives a grade from 0 to 1, which is the
// share of the way from the first label to the last: of two labels that is a distribution,
// of more of them there is only the expected grade, and the label is the nearest one.
// Nothing is calibrated.
func OpenReranker(dir string, o RerankerOptions) (*Reranker, error) {
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
	r := &Reranker{backend: b}
	if err := r.open(o, dir, folder, tok); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), tensor.Close(b))
	}
	return r, nil
}

// bodyAlone reports whether a folder holds a model without an output, or one that
// sentence-transformers pools.
func bodyAlone(folder *model.Inspection) bool {
	return folder.Body || slices.ContainsFunc(folder.Architectures, func(a string) bool { return strings.HasSuffix(a, "Model") })
}

// Reranker is a published reranker as a scorer.
type Reranker struct {
	info    ModelInfo
	backend tensor.Backend
	free    func()
	// input makes the tokens of a pair, and grade says of each input how far it is from
	// the first label to the last, or, with several values, the distribution.
	input func(query, document string) []int32
	grade func(ctx context.Context, inputs [][]int32) ([][]float64, error)
	// byQuery says that prompts of the same query begin alike, which is computed once.
	byQuery bool
}

// open opens the model of a folder.
func (r *Reranker) open(o RerankerOptions, dir string, folder *model.Inspection, tok *tokenizer.Tokenizer) (err error) {
	if bodyAlone(folder) {
		return fmt.Errorf("architectures is %q, without a classifier: it embeds texts and does not rerank, want a …ForSequenceClassification, or a decoder that is not of sentence-transformers", folder.Architectures)
	}
	most := func(maxSeq int) int { return cmp.Or(o.MaxTokens, min(maxSeq, rerankerTokens)) }
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	r.info = ModelInfo{Kind: KindLabelDecoder, Stage: filepath.Base(path), Input: InputPrompt, Truncation: TruncateEnd}
	asked := local.RerankerConfig{Tokenizer: tok, Instruction: o.Instruction}
	classes := 1
	if folder.Encoder == nil {
		if asked.Decoder, err = model.LoadDecoder(r.backend, dir, model.Frozen()); err != nil {
			return err
		}
		r.free, r.byQuery = asked.Decoder.Free, true
		r.info.MaxLength = most(asked.Decoder.Config().MaxSeq)
		err = r.ask(asked)
	} else {
		var e *model.Encoder
		if e, err = model.LoadEncoder(r.backend, dir, model.Frozen()); err != nil {
			return err
		}
		r.free, classes = e.Free, e.Config().Classes
		r.info.MaxLength = most(e.Config().MaxSeq)
		switch c := e.Config(); {
		case c.Causal && c.Classes == 1:
			asked.Encoder = e
			err = r.ask(asked)
		case o.Instruction != "":
			err = errors.New("a cross-encoder takes no instruction")
		default:
			r.info.Kind, r.info.Input, r.info.TokenTypes = KindCrossEncoder, InputPair, c.TokenTypes > 1
			var reads int
			if reads, err = local.ReadMaxTokens(dir, c.MaxSeq); err != nil {
				break
			}
			r.info.MaxLength = most(reads)
			err = r.classify(local.CrossEncoderConfig{Encoder: e, Tokenizer: tok, MaxTokens: r.info.MaxLength}, o.Labels)
		}
	}
	if err != nil {
		r.free()
		return err
	}
	r.label(o.Labels, classes)
	return nil
}

// ask opens a model that is asked for yes or no.
func (r *Reranker) ask(c local.RerankerConfig) error {
	c.MaxTokens = r.info.MaxLength
	x, err := local.NewReranker(c)
	if err != nil {
		return err
	}
	r.info.Prompt = "{query} {title} {body} in the prompt of Qwen3-Reranker"
	r.input = x.Prompt
	r.grade = func(ctx context.Context, prompts [][]int32) ([][]float64, error) {
		grades, err := x.PromptScores(ctx, prompts)
		all := make([][]float64, len(grades))
		for i := range grades {
			all[i] = grades[i : i+1]
		}
		return all, err
	}
	return nil
}

// classify opens a cross-encoder.
func (r *Reranker) classify(c local.CrossEncoderConfig, labels []string) error {
	x, err := local.NewCrossEncoder(c)
	if err != nil {
		return err
	}
	r.input = func(query, document string) []int32 {
		ids, _ := x.Pair(query, document)
		return ids
	}
	r.grade = func(ctx context.Context, pairs [][]int32) ([][]float64, error) {
		all, err := x.PairLogits(ctx, pairs)
		for i, z := range all {
			switch p := distill.HeadSoftmax.Probs(z, len(z)); {
			case len(z) == 1:
				all[i] = []float64{1 / (1 + math.Exp(-z[0]))}
			case labels != nil && len(labels) != len(z):
				all[i] = []float64{linear.Expected(p) / float64(len(z)-1)}
			default:
				all[i] = p
			}
		}
		return all, err
	}
	return nil
}

// label completes what is known of the model by its labels, and what they stand for.
func (r *Reranker) label(labels []string, classes int) {
	if labels == nil && classes <= 2 {
		labels = []string{"no", "yes"}
	}
	for c := 0; labels == nil && c < classes; c++ {
		r.info.Labels = append(r.info.Labels, strconv.Itoa(c))
	}
	if labels != nil {
		r.info.Labels = labels
	}
	r.info.GradeScale = [2]float64{0, float64(len(r.info.Labels) - 1)}
	if len(r.info.Labels) != 2 {
		return
	}
	of := "the logistic function of the model's only logit"
	switch {
	case r.byQuery:
		of = "the model's probability of the answer yes, beside no"
	case classes == 2:
		of = "the model's probability of its second class"
	case classes > 2:
		of = "the expected class of the model, on [0, 1]"
	}
	r.info.Meanings = []string{"1 less the score", "the score: " + of + ", not calibrated"}
}

// Info describes the model as a model folder does, as far as it is known. Its stage is the
// name of its folder.
func (r *Reranker) Info() ModelInfo { return r.info }

// Labels are those of the options.
func (r *Reranker) Labels() []string { return r.info.Labels }

// Close releases the model.
func (r *Reranker) Close() error {
	r.free()
	return tensor.Close(r.backend)
}

// ScorePairs implements [PairScorer].
func (r *Reranker) ScorePairs(ctx context.Context, pairs []rows.Example, o ScoreOptions) ([]Score, error) {
	if r.byQuery {
		return scoreQueries(ctx, r, pairs, o)
	}
	return r.score(ctx, pairs)
}

// Score implements [Scorer].
func (r *Reranker) Score(ctx context.Context, query string, documents []rows.Document, _ ScoreOptions) ([]Score, error) {
	return r.score(ctx, pairs(query, documents))
}

func (r *Reranker) score(ctx context.Context, es []rows.Example) ([]Score, error) {
	inputs := make([][]int32, len(es))
	for i := range es {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		inputs[i] = r.input(es[i].Query, documentText(&es[i].Document, nil))
	}
	graded, err := r.grade(ctx, inputs)
	if err != nil {
		return nil, err
	}
	scores := make([]Score, len(es))
	for i, g := range graded {
		s := &scores[i]
		s.tokens = len(inputs[i])
		switch {
		case math.IsNaN(g[0]): // weights that are not finite
			s.Grade = g[0]
			continue
		case len(g) > 1:
			s.P = g
		case len(r.info.Labels) == 2:
			s.P = []float64{1 - g[0], g[0]}
		default:
			s.Grade = g[0] * r.info.GradeScale[1]
			s.Label = r.info.Labels[int(math.Round(s.Grade))]
			continue
		}
		s.Grade, s.Label = linear.Expected(s.P), r.info.Labels[linear.MostProbable(s.P)]
	}
	return scores, nil
}
