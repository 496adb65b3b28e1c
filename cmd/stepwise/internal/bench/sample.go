package bench

import (
	"time"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rollout"
)

// wordless is a vocabulary whose tokens have no text.
type wordless struct{}

func (wordless) Bytes(int32) []byte { return nil }

func (r *runner) sample() error {
	return r.eachShape(func(b tensor.Backend, s shape) error {
		d, err := model.NewDecoder(b, s.Config, seed)
		if err != nil {
			return err
		}
		defer d.Free()
		d.Freeze()
		formats := []tensor.Format{tensor.FormatFloat32, tensor.FormatBFloat16}
		if _, ok := b.(tensor.Packer); !ok {
			formats = formats[:1]
		}
		for _, f := range formats {
			if err := r.sampleFrom(s, d, f); err != nil {
				return err
			}
		}
		return nil
	})
}

// requests asks for group completions of each of some prompts.
func requests(s shape, prompts, group, prompt, tokens int) []rollout.Request {
	reqs := make([]rollout.Request, prompts)
	for i := range reqs {
		ids := make([]int32, prompt)
		for k := range ids {
			ids[k] = int32((7*k + 13*i) % s.Vocab)
		}
		reqs[i] = rollout.Request{
			Prompt: ids, N: group, Params: rollout.Params{Temperature: 1, MaxTokens: tokens}, Stream: [3]uint64{0, 0, uint64(i)},
		}
	}
	return reqs
}

// sampleFrom measures sampling from d with weights of a format.
func (r *runner) sampleFrom(s shape, d *model.Decoder, f tensor.Format) error {
	batches, prompt, tokens := []int{1, 16, 64}, 16, 128
	if r.quick {
		batches, prompt, tokens = []int{1, 4}, 4, 8
	}
	weights, bytes := "float32", 4
	if f == tensor.FormatBFloat16 {
		batches = batches[:1] // what many rows read bounds nothing
		weights, bytes = "bfloat16", 2
	}
	if tensor.PrecisionOf(d.Backend()) == tensor.PrecisionBFloat16 {
		bytes = 2 // what products read is rounded
	}
	e, err := local.NewEngine(d, wordless{}, local.EngineConfig{EOS: []int32{}, Static: true, Weights: f})
	if err != nil {
		return err
	}
	defer e.Free()
	for _, batch := range batches {
		reqs := requests(s, batch, 1, prompt, tokens)
		res, err := r.rounds(3, 3*time.Second, func() error {
			return e.Generate(r.ctx, reqs, func(c rollout.Completion) error { return c.Err })
		})
		if err != nil {
			return err
		}
		total := float64(batch * tokens)
		r.report.Sample = append(r.report.Sample, Sample{
			Model: s.name, Weights: weights, Batch: batch, Prompt: prompt, Tokens: tokens,
			TokensPerSecond:        total / res[0].seconds,
			MemoryFraction:         share(float64(bytes*parameters(d)*tokens)/res[0].seconds/1e9, res[0].memory),
			AllocatedBytesPerToken: float64(res[0].allocated) / total,
		})
		r.measured("sample %s %s batch %d: %.0f tokens/s", s.name, weights, batch, total/res[0].seconds)
	}
	return nil
}
