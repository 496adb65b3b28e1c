package bench

import (
	"time"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

func (r *runner) shared() error {
	prompt, completions, tokens := 512, 16, 128
	if r.quick {
		prompt, completions, tokens = 32, 4, 8
	}
	return r.eachShape(func(b tensor.Backend, s shape) error {
		if s.Layers > 8 {
			return nil // takes long and shows nothing new
		}
		var trainers [2]*trainer
		for i := range trainers {
			t, err := newTrainer(b, s)
			if err != nil {
				return err
			}
			defer t.free()
			t.group(prompt, completions, tokens, i == 0)
			trainers[i] = t
		}
		with, without := trainers[0], trainers[1]
		res, err := r.rounds(3, 5*time.Second, with.step, without.step)
		if err != nil {
			return err
		}
		r.report.Shared = append(r.report.Shared, Shared{
			Model: s.name, Prompt: prompt, Completions: completions, Tokens: tokens,
			CompletionsPerSecond:         float64(completions) / res[0].seconds,
			UnsharedCompletionsPerSecond: float64(completions) / res[1].seconds,
			Speedup:                      res[1].seconds / res[0].seconds,
			ActivationBytes:              with.ActivationBytes(),
			UnsharedActivationBytes:      without.ActivationBytes(),
		})
		r.measured("shared prompt %s: %.2f times the completions/s", s.name, res[1].seconds/res[0].seconds)
		return nil
	})
}

// group packs completions of one prompt, which stands in the pack once or once
// for each.
func (t *trainer) group(prompt, completions, tokens int, share bool) {
	ids := t.text(0, prompt)
	common := -1
	if share {
		common = t.pack.Add(ids, -1)
	}
	for i := range completions {
		own := t.text(prompt+i*tokens, tokens)
		if share {
			t.aim(prompt-1, t.pack.Rows(), own)
			t.pack.Add(own[:tokens-1], common)
			continue
		}
		row := t.pack.Rows()
		t.aim(row+prompt-1, row+prompt, own)
		t.pack.Add(append(ids[:prompt:prompt], own[:tokens-1]...), -1)
	}
	t.ready()
}
