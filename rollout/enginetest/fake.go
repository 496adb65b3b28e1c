package enginetest

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// Fake is an engine over any function that computes logits. It samples one
// completion after the other and supports all of rollout.Params and
// rollout.Refresher. One goroutine uses it at a time.
type Fake struct {
	// VocabSize is the number of token ids.
	VocabSize int
	// Vocab gives the bytes of each.
	Vocab sample.Vocab
	// EOS are the end-of-text tokens.
	EOS []int32
	// Logits writes the logits of the token that follows the prompt and the
	// tokens sampled so far into dst, which has VocabSize entries. An error
	// fails the sample.
	Logits func(prompt, tokens []int32, dst []float32) error

	version int64
}

// Generate implements rollout.Engine.
func (f *Fake) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	err := rollout.Validate(reqs, func(r *rollout.Request) error {
		for i, id := range r.Prompt {
			if int(id) >= f.VocabSize {
				return fmt.Errorf("Prompt[%d] is %d, want an id below %d", i, id, f.VocabSize)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	sampler := sample.NewSampler(f.Vocab, f.EOS...)
	sampler.Version = f.version
	logits := make([]float32, f.VocabSize)
	for i := range reqs {
		for n := range reqs[i].N {
			seq := sample.NewSequence(i, &reqs[i], n)
			for !seq.Done() {
				if err := ctx.Err(); err != nil {
					return err
				}
				err := f.Logits(reqs[i].Prompt, seq.Tokens(), logits)
				if err == nil {
					err = sampler.Next(seq, logits)
				}
				if err != nil {
					seq.Fail(err)
				}
			}
			if err := emit(seq.Completion()); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// Refresh implements rollout.Refresher: completions get the new version, Logits
// stays.
func (f *Fake) Refresh(ctx context.Context, w rollout.Weights) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.version = w.Version
	return nil
}
