package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rl"
)

// RerankerInstruction is the instruction of a reranker that is given none.
const RerankerInstruction = "Given a web search query, retrieve relevant passages that answer the query"

// The prompt of Qwen3-Reranker, from its model card: a chat whose answer, after no
// thoughts, is one word.
const (
	rerankerBefore = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. " +
		"Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n"
	rerankerText  = "<Instruct>: %s\n<Query>: %s\n<Document>: %s"
	rerankerAfter = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)

// RerankerTokenizer is what a reranker needs of a tokenizer.Tokenizer.
type RerankerTokenizer interface {
	Encode(text string) []int32
	EncodeOrdinary(text string) []int32
	ID(text string) (int32, bool)
}

// RerankerConfig holds the settings of a reranker.
type RerankerConfig struct {
	// Decoder is the model, which stays the caller's to free. It may be a policy's:
	// the reranker then always has the current weights.
	Decoder *model.Decoder
	// Encoder, in the decoder's place, is a causal one with a single class, as those
	// forms of Qwen3-Reranker are that are a Qwen3ForSequenceClassification: its logit is
	// that of yes less that of no.
	Encoder   *model.Encoder
	Tokenizer RerankerTokenizer
	// Instruction says what is searched for, and so what is relevant; empty means
	// RerankerInstruction.
	Instruction string
	// MaxTokens is how long a prompt may be, of which the end of a document is cut;
	// 0 means the model's MaxSeq.
	MaxTokens int
	// MaxRows bounds the rows (tokens) that are computed at a time; 0 means 4096. A
	// prompt that is longer is computed alone.
	MaxRows int
}

// Validate returns an error that names the first invalid setting.
func (c RerankerConfig) Validate() error {
	switch {
	case (c.Decoder == nil) == (c.Encoder == nil):
		return errors.New("local: RerankerConfig.Decoder and Encoder are both nil or both set, want one")
	case c.Encoder != nil && (c.Encoder.Config().Classes != 1 || !c.Encoder.Config().Causal):
		return fmt.Errorf("local: RerankerConfig.Encoder has %d classes, causal %v, want 1, true", c.Encoder.Config().Classes, c.Encoder.Config().Causal)
	case c.Tokenizer == nil:
		return errors.New("local: RerankerConfig.Tokenizer is nil")
	case c.MaxRows < 0:
		return fmt.Errorf("local: RerankerConfig.MaxRows is %d, want at least 0", c.MaxRows)
	}
	for _, word := range []string{"no", "yes"} {
		if id, ok := c.Tokenizer.ID(word); !ok || int(id) >= c.shape().Vocab {
			return fmt.Errorf("local: RerankerConfig.Tokenizer has no token %q that the model knows, want one", word)
		}
	}
	frame := len(c.Tokenizer.Encode(rerankerBefore)) + len(c.Tokenizer.Encode(rerankerAfter))
	if most := c.shape().MaxSeq; c.MaxTokens != 0 && c.MaxTokens <= frame || c.MaxTokens > most || most <= frame {
		return fmt.Errorf("local: RerankerConfig.MaxTokens is %d, want 0 or more than the %d tokens around query and document, and at most MaxSeq (%d)", c.MaxTokens, frame, most)
	}
	return nil
}

func (c *RerankerConfig) shape() model.Config {
	if c.Encoder != nil {
		return c.Encoder.Config().Config
	}
	return c.Decoder.Config()
}

// Reranker asks a decoder whether a document meets the requirements of a query and an
// instruction, in the words of Qwen3-Reranker (Zhang et al., arXiv:2506.05176), and
// takes the probability of the answer yes, beside no, as the grade. It is a
// posir.Scorer. One goroutine uses a reranker, and its model, at a time.
//
// A decoder is trained as any is, on the answers ([Reranker.Demonstration]) or with any
// other objective on the tokens of Answers after Prompt.
type Reranker struct {
	c             RerankerConfig
	before, after []int32
	no, yes       int32

	pack    model.Pack
	targets model.Targets
	values  []float32 // log-probs of no and yes, or logits
}

// NewReranker returns a reranker. The error is c.Validate's.
func NewReranker(c RerankerConfig) (*Reranker, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Instruction = cmp.Or(c.Instruction, RerankerInstruction)
	if c.MaxTokens == 0 {
		c.MaxTokens = c.shape().MaxSeq
	}
	c.MaxRows = rowBound(c.MaxRows)
	r := &Reranker{c: c, before: c.Tokenizer.Encode(rerankerBefore), after: c.Tokenizer.Encode(rerankerAfter)}
	r.no, _ = c.Tokenizer.ID("no")
	r.yes, _ = c.Tokenizer.ID("yes")
	return r, nil
}

// Prompt returns the tokens of the prompt. Text that looks like special tokens is
// ordinary text. What is too long is cut at the end of the document.
func (r *Reranker) Prompt(query, document string) []int32 {
	ids := r.c.Tokenizer.EncodeOrdinary(fmt.Sprintf(rerankerText, r.c.Instruction, query, document))
	room := r.c.MaxTokens - len(r.before) - len(r.after)
	prompt := make([]int32, 0, len(r.before)+min(len(ids), room)+len(r.after))
	prompt = append(prompt, r.before...)
	prompt = append(prompt, ids[:min(len(ids), room)]...)
	return append(prompt, r.after...)
}

// Answers returns the tokens of the two answers.
func (r *Reranker) Answers() (no, yes int32) { return r.no, r.yes }

// Demonstration returns what a decoder imitates that should give this answer.
func (r *Reranker) Demonstration(query, document string, relevant bool) rl.Demonstration {
	answer := r.no
	if relevant {
		answer = r.yes
	}
	return rl.Demonstration{Prompt: r.Prompt(query, document), Tokens: []int32{answer}}
}

// Score returns a grade from 0 to 1 for each document, in their order. The tokens that
// the prompts begin with alike, as far as the query goes at least, are computed once
// per micro-batch by a decoder. Errors are the model's or the context's.
func (r *Reranker) Score(ctx context.Context, query string, documents []string) ([]float64, error) {
	prompts := make([][]int32, len(documents))
	for i, d := range documents {
		prompts[i] = r.Prompt(query, d)
	}
	return r.PromptScores(ctx, prompts)
}

// PromptScores is Score of prompts, as Prompt returns them; their queries may differ.
func (r *Reranker) PromptScores(ctx context.Context, prompts [][]int32) ([]float64, error) {
	for i, ids := range prompts {
		if err := checkTokens("document", i, ids, r.c.shape().Vocab); err != nil {
			return nil, err
		}
	}
	grades := make([]float64, len(prompts))
	common := 0
	if r.c.Decoder != nil {
		common = commonPrefix(prompts)
	}
	err := microBatches(ctx, len(prompts), func(from int) int { return r.fill(prompts, from, common) }, func(from, to int) error {
		return r.grade(grades[from:to])
	})
	if err := cleared(r.backend(), err); err != nil {
		return nil, err
	}
	return grades, nil
}

func (r *Reranker) backend() tensor.Backend {
	if r.c.Encoder != nil {
		return r.c.Encoder.Backend()
	}
	return r.c.Decoder.Backend()
}

// grade computes the grades of the packed prompts.
func (r *Reranker) grade(grades []float64) error {
	if r.c.Encoder != nil {
		r.values = sized(r.values, len(grades))
		if err := r.c.Encoder.Predict(&r.pack, r.values); err != nil {
			return err
		}
		for i, z := range r.values {
			grades[i] = 1 / (1 + math.Exp(-float64(z)))
		}
		return nil
	}
	r.values = sized(r.values, 2*len(grades))
	if err := r.c.Decoder.Score(&r.pack, &r.targets, r.values, nil); err != nil {
		return err
	}
	for i := range grades {
		no, yes := float64(r.values[2*i]), float64(r.values[2*i+1])
		grades[i] = 1 / (1 + math.Exp(no-yes))
	}
	return nil
}

// fill packs prompts from index from on, which begin with common equal tokens, until
// the next would exceed MaxRows, at least one, and returns where it stopped.
func (r *Reranker) fill(prompts [][]int32, from, common int) (to int) {
	r.pack.Reset()
	r.targets.Rows, r.targets.IDs = r.targets.Rows[:0], r.targets.IDs[:0]
	shared := -1
	if common > 0 {
		shared = r.pack.Add(prompts[from][:common], -1)
	}
	for to = from; to < len(prompts) && (to == from || r.pack.Rows()+len(prompts[to])-common <= r.c.MaxRows); to++ {
		r.pack.Add(prompts[to][common:], shared)
		last := int32(r.pack.Rows() - 1)
		r.targets.Rows = append(r.targets.Rows, last, last)
		r.targets.IDs = append(r.targets.IDs, r.no, r.yes)
	}
	return to
}

// commonPrefix returns how many tokens all of several prompts begin with; each has more.
func commonPrefix(prompts [][]int32) int {
	if len(prompts) < 2 {
		return 0
	}
	n := len(prompts[0]) - 1
	for _, p := range prompts[1:] {
		n = min(n, len(p)-1)
		for i, id := range prompts[0][:n] {
			if p[i] != id {
				n = i
				break
			}
		}
	}
	return n
}
