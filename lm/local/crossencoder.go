package local

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/model"
)

// PairTokenizer is what a cross-encoder needs of a tokenizer.Tokenizer.
type PairTokenizer interface {
	EncodeOrdinary(text string) []int32
	AddSpecialPair(first, second []int32) (ids, types []int32)
	PairTypes(ids []int32) []int32
}

// CrossEncoderConfig holds the settings of a cross-encoder.
type CrossEncoderConfig struct {
	// Encoder classifies pairs, such as model.LoadEncoder loads of ms-marco-MiniLM or
	// of a BGE reranker. It stays the caller's to free. Qwen3-Reranker as a classifier,
	// which is causal, goes to RerankerConfig.
	Encoder   *model.Encoder
	Tokenizer PairTokenizer
	// MaxTokens is how long a pair may be, special tokens included: the query may take
	// two thirds of it, and the end of the document is cut; 0 means the encoder's
	// MaxSeq. ReadMaxTokens says what sentence-transformers takes.
	MaxTokens int
	// MaxRows bounds the rows (tokens) that are computed at a time; 0 means 4096. A
	// pair that is longer is computed alone.
	MaxRows int
}

// Validate returns an error that names the first invalid setting.
func (c CrossEncoderConfig) Validate() error {
	switch {
	case c.Encoder == nil:
		return errors.New("local: CrossEncoderConfig.Encoder is nil")
	case c.Encoder.Config().Causal && c.Encoder.Config().Classes == 1:
		return errors.New("local: CrossEncoderConfig.Encoder is causal and has a single class, as Qwen3-Reranker as a classifier has, which needs its prompt: that is RerankerConfig.Encoder")
	case c.Tokenizer == nil:
		return errors.New("local: CrossEncoderConfig.Tokenizer is nil")
	case c.MaxRows < 0:
		return fmt.Errorf("local: CrossEncoderConfig.MaxRows is %d, want at least 0", c.MaxRows)
	}
	frame, _ := c.Tokenizer.AddSpecialPair(nil, nil)
	if most := c.Encoder.Config().MaxSeq; c.MaxTokens != 0 && c.MaxTokens <= len(frame) || c.MaxTokens > most || most <= len(frame) {
		return fmt.Errorf("local: CrossEncoderConfig.MaxTokens is %d, want 0 or more than the %d special tokens and at most MaxSeq (%d)", c.MaxTokens, len(frame), most)
	}
	return nil
}

// CrossEncoder reads query and document together, as the two texts of the tokenizer's
// template. It is a posir.Scorer. One goroutine uses a cross-encoder, and its encoder,
// at a time. A [Student] trains the encoder on the ids of Pair.
type CrossEncoder struct {
	c    CrossEncoderConfig
	room int // tokens of both texts
	pack model.Pack
}

// NewCrossEncoder returns a cross-encoder. If Encoder.Types is nil, it is set to the
// tokenizer's PairTypes, so that who trains the encoder gives it the types that it is
// used with. The error is c.Validate's.
func NewCrossEncoder(c CrossEncoderConfig) (*CrossEncoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.MaxTokens == 0 {
		c.MaxTokens = c.Encoder.Config().MaxSeq
	}
	c.MaxRows = rowBound(c.MaxRows)
	if c.Encoder.Types == nil {
		c.Encoder.Types = c.Tokenizer.PairTypes
	}
	frame, _ := c.Tokenizer.AddSpecialPair(nil, nil)
	return &CrossEncoder{c: c, room: c.MaxTokens - len(frame)}, nil
}

// Pair returns the tokens of a query and a document, and their types. Text that looks
// like special tokens is ordinary text.
func (e *CrossEncoder) Pair(query, document string) (ids, types []int32) {
	q, d := e.c.Tokenizer.EncodeOrdinary(query), e.c.Tokenizer.EncodeOrdinary(document)
	q = q[:min(len(q), e.room*2/3)]
	return e.c.Tokenizer.AddSpecialPair(q, d[:min(len(d), e.room-len(q))])
}

// Logits returns the logits [Classes] of each document, in their order. Errors are the
// encoder's or the context's, which is checked between micro-batches.
func (e *CrossEncoder) Logits(ctx context.Context, query string, documents []string) ([][]float64, error) {
	pairs := make([][]int32, len(documents))
	for i, d := range documents {
		pairs[i], _ = e.Pair(query, d)
	}
	return e.PairLogits(ctx, pairs)
}

// PairLogits is Logits of pairs, whose queries may differ: the tokens that Pair returns.
func (e *CrossEncoder) PairLogits(ctx context.Context, pairs [][]int32) ([][]float64, error) {
	classes := e.c.Encoder.Config().Classes
	logits := make([][]float64, len(pairs))
	var values []float32
	err := microBatches(ctx, len(pairs), func(from int) (to int) {
		e.pack.Reset()
		for to = from; to < len(pairs) && (to == from || e.pack.Rows()+len(pairs[to]) <= e.c.MaxRows); to++ {
			e.pack.Add(pairs[to], -1)
		}
		values = sized(values, (to-from)*classes)
		return to
	}, func(from, to int) error {
		if err := e.c.Encoder.Predict(&e.pack, values); err != nil {
			return err
		}
		for i := range logits[from:to] {
			for _, v := range values[i*classes : (i+1)*classes] {
				logits[from+i] = append(logits[from+i], float64(v))
			}
		}
		return nil
	})
	if err := cleared(e.c.Encoder.Backend(), err); err != nil {
		return nil, err
	}
	return logits, nil
}

// Score returns a grade from 0 to 1 for each document, in their order: the logistic
// function of a single logit, else the expected class, divided by the last class.
// Errors are those of Logits.
func (e *CrossEncoder) Score(ctx context.Context, query string, documents []string) ([]float64, error) {
	logits, err := e.Logits(ctx, query, documents)
	if err != nil {
		return nil, err
	}
	grades := make([]float64, len(documents))
	for i, z := range logits {
		if len(z) == 1 {
			grades[i] = 1 / (1 + math.Exp(-z[0]))
			continue
		}
		grades[i] = expectedClass(z) / float64(len(z)-1)
	}
	return grades, nil
}

// expectedClass is the mean of the classes' numbers under the softmax of logits.
func expectedClass(z []float64) (mean float64) {
	for c, p := range distill.HeadSoftmax.Probs(z, len(z)) {
		mean += p * float64(c)
	}
	return mean
}
