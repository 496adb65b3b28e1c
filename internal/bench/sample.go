package bench

import (
	"time"

	"github.com/stepwise-rl/stepwise/model"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/local"
)

// wordless is a vocabulary whose tokens have no text.
type wordless struct{}

func (wordless) Bytes(int32) []byte { return nil }

func (r *runner) sample() error {
	batches, prompt, tokens := []int{1, 16, 64}, 16, 128
	if r.quick {
		batches, prompt, tokens = []int{1, 4}, 4, 8
	}
	for _, s := range r.shapes() {
		d, err := model.NewDecoder(r.b, s.Config, seed)
		if err != nil {
			return err
		}
		d.Freeze()
		e, err := local.New(d, wordless{}, local.Options{})
		if err != nil {
			return err
		}
		for _, batch := range batches {
			reqs := make([]rollout.Request, batch)
			for i := range reqs {
				ids := make([]int32, prompt)
				for k := range ids {
					ids[k] = int32((7*k + 13*i) % s.Vocab)
				}
				reqs[i] = rollout.Request{
					Prompt: ids, N: 1, Params: rollout.Params{Temperature: 1, MaxTokens: tokens}, Stream: [3]uint64{0, 0, uint64(i)},
				}
			}
			generate := func() error {
				return e.Generate(r.ctx, reqs, func(c rollout.Completion) error { return c.Err })
			}
			res, err := r.rounds(3, 3*time.Second, generate)
			if err != nil {
				return err
			}
			total := float64(batch * tokens)
			r.report.Sample = append(r.report.Sample, Sample{
				Model: s.name, Batch: batch, Prompt: prompt, Tokens: tokens,
				TokensPerSecond:        total / res[0].seconds,
				MemoryFraction:         float64(4*parameters(d)*tokens) / res[0].seconds / 1e9 / res[0].memory,
				AllocatedBytesPerToken: float64(res[0].allocated) / total,
			})
			r.measured("sample %s batch %d: %.0f tokens/s", s.name, batch, total/res[0].seconds)
		}
		e.Free()
		d.Free()
	}
	return nil
}
