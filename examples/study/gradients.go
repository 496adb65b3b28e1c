package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// gradientPrompts is the number of prompts in each half of the samples.
const gradientPrompts = 256

// gradients compares, at the warm-ups of the first seeds of the part "arms", the gradient
// of every arm on one half of the samples with unbiased ones on the other half: those of
// the probability of a right answer and of the number of right steps. It writes a row
// per seed and arm; the arm "itself" is the unbiased gradient on the arms' half, whose
// cosine is the most that noise allows. At the end it prints how the cosines rank the
// arms beside the accuracy that training with them reached.
func gradients(ctx context.Context, out io.Writer, config, results, dir string, seeds int) (err error) {
	s, err := readStudy(config)
	if err != nil {
		return err
	}
	p := s.part("arms")
	if p == nil {
		return fmt.Errorf("%s: there is no part \"arms\"", config)
	}
	r, err := openResults(results)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.file.Close()) }()
	f, err := os.Create(filepath.Join(filepath.Dir(results), "gradients.csv"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := csv.NewWriter(io.MultiWriter(f, out))
	if err := w.Write([]string{"seed", "arm", "cosine_answer", "cosine_steps", "norm", "label_share"}); err != nil {
		return err
	}
	mean := map[string]gradientRow{}
	for seed := p.Seeds[0]; seed < p.Seeds[0]+seeds; seed++ {
		c, err := openCell(ctx, dir, p.setting, seed)
		if err != nil {
			return err
		}
		rows, err := c.gradients(ctx, p.Arms)
		if err := errors.Join(err, c.folder.Close()); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		for _, x := range rows {
			m := mean[x.arm]
			mean[x.arm] = gradientRow{arm: x.arm, answer: m.answer + x.answer, steps: m.steps + x.steps}
			rec := []string{fmt.Sprint(seed), x.arm}
			for _, v := range []float64{x.answer, x.steps, x.norm, x.label} {
				rec = append(rec, fmt.Sprintf("%.5g", v))
			}
			if err := w.Write(rec); err != nil {
				return err
			}
		}
		w.Flush()
	}
	if err := w.Error(); err != nil {
		return err
	}
	rates, err := s.rates(r, p)
	if err != nil {
		return err
	}
	var answer, steps, reached []float64
	for _, arm := range p.Arms {
		answer, steps = append(answer, mean[arm].answer), append(steps, mean[arm].steps)
		reached = append(reached, meanOf(r.of(p, arm, rates[arm][0]), s.Measure))
	}
	fmt.Fprintf(out, "over arms, Spearman's correlation of accuracy on %s with the cosine to right answers %.2f, to right steps %.2f\n",
		s.Measure, eval.Spearman(answer, reached), eval.Spearman(steps, reached))
	return nil
}

type gradientRow struct {
	arm                        string
	answer, steps, norm, label float64
}

// prober computes gradients of a policy that stays as it is.
type prober struct {
	cell    *cell
	policy  rl.Policy
	decoder *model.Decoder
}

func (c *cell) gradients(ctx context.Context, arms []string) (rows []gradientRow, err error) {
	d, p, engine, err := c.newPolicy("")
	if err != nil {
		return nil, err
	}
	defer p.Free()
	g := prober{c, p, d}
	if err := p.Load(ctx, c.warm); err != nil {
		return nil, err
	}
	var halves [2]*rl.Rollouts
	for h := range halves {
		problems := make([]rl.Problem, gradientPrompts)
		for i := range problems {
			problems[i] = c.lab.train(h*gradientPrompts + i)
		}
		if halves[h], _, err = rl.EvaluateProblems(ctx, engine, problems, uint64(c.seed)+uint64(h)<<32); err != nil {
			return nil, err
		}
	}
	answer, steps := arm{credit: sam.Outcome{}}, arm{credit: sam.ReturnToGo{Norm: advantage.RLOO{}}}
	unbiased := advantage.PerGroup(advantage.RLOO{})
	var truth, itself [2][]float64
	for k, a := range []arm{answer, steps} {
		if itself[k], err = g.of(ctx, halves[0], unbiased, a); err != nil {
			return nil, err
		}
		if truth[k], err = g.of(ctx, halves[1], unbiased, a); err != nil {
			return nil, err
		}
	}
	rows = append(rows, gradientRow{"itself", cosine(itself[0], truth[0]), cosine(itself[1], truth[1]), math.NaN(), math.NaN()})
	for _, name := range arms {
		a, err := armNamed(name, uint64(c.seed))
		if err != nil {
			return nil, err
		}
		whole, err := g.of(ctx, halves[0], advantage.PerGroup(norm), a)
		if err != nil {
			return nil, err
		}
		again, err := armNamed(name, uint64(c.seed)) // it draws the same
		if err != nil {
			return nil, err
		}
		again.credit = finalOnly{again.credit}
		label, err := g.of(ctx, halves[0], advantage.PerGroup(norm), again)
		if err != nil {
			return nil, err
		}
		length := math.Sqrt(dot(whole, whole))
		rows = append(rows, gradientRow{name, cosine(whole, truth[0]), cosine(whole, truth[1]), length, math.Sqrt(dot(label, label)) / length})
	}
	return rows, nil
}

// of returns the gradient of an arm's loss on rollouts.
func (g prober) of(ctx context.Context, r *rl.Rollouts, e advantage.Estimator, a arm) ([]float64, error) {
	if _, err := r.Assign(e, a.credit); err != nil {
		return nil, err
	}
	b := r.Batch()
	if err := b.Weigh(objective.TokenMean{Masked: a.masked}); err != nil {
		return nil, err
	}
	for _, part := range b.Split(16) {
		if err := part.FillOld(ctx, g.policy); err != nil {
			return nil, err
		}
		if _, _, err := g.policy.ForwardBackward(ctx, part, objective.PPO{ClipLow: .2, ClipHigh: .28}); err != nil {
			return nil, err
		}
	}
	var all []float64
	for _, p := range g.decoder.Params() {
		x := make([]float32, p.Len())
		if err := g.cell.backend.Read(x, p.Grad); err != nil {
			return nil, err
		}
		for _, v := range x {
			all = append(all, float64(v))
		}
	}
	return all, g.policy.Load(ctx, g.cell.warm) // clears the gradient
}

// finalOnly keeps what another credit gives the tokens of the final step.
type finalOnly struct{ credit sam.Credit }

func (f finalOnly) Validate() error { return f.credit.Validate() }

func (f finalOnly) Assign(batch []rollout.Group) (sam.Stats, error) {
	if _, err := f.credit.Assign(batch); err != nil {
		return sam.Stats{}, err
	}
	return sam.Measure(batch, func(g rollout.Group) error {
		for i := range g {
			final := make([]bool, len(g[i].Keep))
			for _, s := range g[i].Steps {
				for t := s.Start; s.Final && t < s.End; t++ {
					final[t] = true
				}
			}
			for t := range final {
				if !final[t] {
					g[i].Adv[t] = 0
				}
			}
		}
		return nil
	})
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func cosine(a, b []float64) float64 { return dot(a, b) / math.Sqrt(dot(a, a)*dot(b, b)) }
