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
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// table writes rows of numbers, each behind a few names, to out and to a file, which
// takes the place of the one before when it is whole.
type table struct {
	*csv.Writer
	file *os.File
	path string
}

func newTable(path string, out io.Writer, columns ...string) (*table, error) {
	f, err := os.Create(path + ".part")
	if err != nil {
		return nil, err
	}
	t := &table{csv.NewWriter(io.MultiWriter(f, out)), f, path}
	return t, t.Write(columns)
}

// close ends the file. After err, which it returns, the one before stays.
func (t *table) close(err error) error {
	if err = errors.Join(err, t.file.Close()); err != nil {
		return err
	}
	return os.Rename(t.file.Name(), t.path)
}

func (t *table) add(values []float64, names ...any) error {
	rec := make([]string, len(names), len(names)+len(values))
	for i, n := range names {
		rec[i] = fmt.Sprint(n)
	}
	for _, v := range values {
		rec = append(rec, strconv.FormatFloat(v, 'g', 5, 64))
	}
	err := t.Write(rec)
	t.Flush()
	return errors.Join(err, t.Error())
}

// eachCell calls f for the first seeds of a part, one after the other.
func (p *part) eachCell(ctx context.Context, dir string, seeds int, f func(c *cell) error) error {
	for seed := p.Seeds[0]; seed < p.Seeds[0]+seeds; seed++ {
		c, err := openCell(ctx, dir, p.setting, seed)
		if err != nil {
			return err
		}
		if err := errors.Join(f(c), c.folder.Close()); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
	}
	return nil
}

// gradientPrompts is the number of prompts in each half of the samples.
const gradientPrompts = 256

// gradients compares, at the warm-ups of the first seeds of a part, the gradient of every
// arm on one half of the samples with unbiased ones on the other half: those of the
// probability of a right answer and of the number of right steps. It writes a row per
// seed and arm; the arm "itself" is the unbiased gradient on the arms' half, whose cosine
// is what noise leaves of it. It then prints how the cosines rank the arms beside the
// accuracy that training has reached so far, at each arm's best rate.
func (s *study) gradients(ctx context.Context, out io.Writer, r *results, p *part, path, dir string, seeds int) (err error) {
	t, err := newTable(path, out, "seed", "arm", "cosine_answer", "cosine_steps", "norm", "label_share")
	if err != nil {
		return err
	}
	defer func() { err = t.close(err) }()
	means := map[string][2]float64{}
	err = p.eachCell(ctx, dir, seeds, func(c *cell) error {
		return c.gradients(ctx, p.Arms, func(arm string, values ...float64) error {
			m := means[arm]
			means[arm] = [2]float64{m[0] + values[0], m[1] + values[1]}
			return t.add(values, c.seed, arm)
		})
	})
	if err != nil {
		return err
	}
	measure := s.Measure
	if len(p.Rates) > 0 {
		measure = "VALIDATION"
	}
	rates, err := s.rates(r, p)
	if err != nil {
		fmt.Fprintln(out, "accuracy is not known yet:", err)
		return nil
	}
	var answer, steps, reached []float64
	for _, arm := range p.Arms {
		best := math.Inf(-1)
		for _, rate := range rates[arm] {
			if mean := meanOf(r.of(p, arm, rate), measure); mean > best { // not NaN
				best = mean
			}
		}
		answer, steps, reached = append(answer, means[arm][0]), append(steps, means[arm][1]), append(reached, best)
	}
	fmt.Fprintf(out, "over arms, Spearman's correlation of accuracy on %s with the cosine to right answers %.2f, to right steps %.2f\n",
		measure, eval.Spearman(answer, reached), eval.Spearman(steps, reached))
	return nil
}

func (c *cell) gradients(ctx context.Context, arms []string, add func(arm string, values ...float64) error) error {
	p, err := c.begin(ctx, "")
	if err != nil {
		return err
	}
	defer p.Free()
	var halves [2]*rl.Rollouts
	for h := range halves {
		problems := make([]rl.Problem, gradientPrompts)
		for i := range problems {
			problems[i] = c.lab.train(h*gradientPrompts + i)
		}
		if halves[h], _, err = rl.EvaluateProblems(ctx, p.engine, problems, uint64(c.seed)+uint64(h)<<32); err != nil {
			return err
		}
	}
	unbiased := advantage.PerGroup(advantage.RLOO{})
	var truth, itself [2][]float64
	for k, a := range []arm{{credit: sam.Outcome{}}, {credit: sam.ReturnToGo{Norm: advantage.RLOO{}}}} {
		if itself[k], err = c.gradient(ctx, p, c.warm, halves[0], unbiased, a); err != nil {
			return err
		}
		if truth[k], err = c.gradient(ctx, p, c.warm, halves[1], unbiased, a); err != nil {
			return err
		}
	}
	if err := add("itself", cosine(itself[0], truth[0]), cosine(itself[1], truth[1]), math.NaN(), math.NaN()); err != nil {
		return err
	}
	for _, name := range arms {
		whole, label, err := c.split(ctx, p, c.warm, halves[0], name)
		if err != nil {
			return err
		}
		if err := add(name, cosine(whole, truth[0]), cosine(whole, truth[1]), math.Sqrt(dot(whole, whole)), share(label, whole)); err != nil {
			return err
		}
	}
	return nil
}

// watchPrompts is the number of prompts that are sampled at each look.
const watchPrompts = 64

var watchColumns = []string{
	"seed", "arm", "rate", "update", "sampled", "greedy", "inner", "label_given_steps", "mode", "malformed", "live", "entropy_inner", "entropy_label",
	"inner_kept", "norm", "label_gradient", "label_step", "label_move",
}

// watch trains arms at given rates ("mask@0.0004,…") on the first seeds of a part, stops
// at every fifth of the way, and writes down:
//
//	sampled, greedy    accuracy on validation queries, sampled and greedily
//	inner, label_given_steps, mode, malformed
//	                   of the greedy answers, as in rows.csv
//	live               share of live groups
//	entropy_inner, entropy_label
//	                   nats per token that was sampled in inner steps and in the last
//	inner_kept         share of the inner steps' tokens that keep their advantage
//	norm               length of the gradient
//	label_gradient     the last step's share of it: ⟨g_label, g⟩/⟨g, g⟩
//	label_step         the same of AdamW's step, each element divided by the root of its
//	                   second moment
//	label_move         length of the last step's part of AdamW's step, as root mean square
//	                   over the weights in units of the learning rate
//
// The runs are those of the rows, bit for bit.
func (s *study) watch(ctx context.Context, out io.Writer, p *part, path, dir, list string, seeds int) (err error) {
	t, err := newTable(path, out, watchColumns...)
	if err != nil {
		return err
	}
	defer func() { err = t.close(err) }()
	return p.eachCell(ctx, dir, seeds, func(c *cell) error {
		for item := range strings.SplitSeq(list, ",") {
			arm, text, _ := strings.Cut(item, "@")
			rate, err := strconv.ParseFloat(text, 64)
			if err == nil {
				err = c.watch(ctx, unit{p, c.seed, arm, rate}, func(update int, values []float64) error {
					return t.add(values, c.seed, arm, rate, update)
				})
			}
			if err != nil {
				return fmt.Errorf("%s: %w", item, err)
			}
		}
		return nil
	})
}

func (c *cell) watch(ctx context.Context, u unit, add func(update int, values []float64) error) (err error) {
	dir, err := os.MkdirTemp("", "study")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	trained, err := c.begin(ctx, dir)
	if err != nil {
		return err
	}
	defer trained.Free()
	probe, err := c.newPolicy("") // a look does not touch the training
	if err != nil {
		return err
	}
	defer probe.Free()
	trainer, err := c.trainer(u, trained, nil)
	if err != nil {
		return err
	}
	defer trainer.Stop()
	n := c.setting.Updates
	for update := range n + 1 {
		if update > 0 {
			if _, err := trainer.Step(ctx); err != nil {
				return err
			}
		}
		if update%max(n/5, 1) != 0 {
			continue
		}
		ref, err := trained.Save(ctx, "policy")
		if err != nil {
			return err
		}
		values, err := c.look(ctx, probe, ref, u.arm)
		if err != nil {
			return err
		}
		if err := add(update, values); err != nil {
			return err
		}
	}
	return nil
}

// look measures a saved policy; see watch.
func (c *cell) look(ctx context.Context, p policy, ref, name string) ([]float64, error) {
	if err := p.Load(ctx, ref); err != nil {
		return nil, err
	}
	greedy, _, err := c.measure(ctx, p, c.lab.validation)
	if err != nil {
		return nil, err
	}
	o, m, err := rl.EvaluateProblems(ctx, p.engine, c.lab.sampled[:min(watchPrompts, len(c.lab.sampled))], uint64(c.seed))
	if err != nil {
		return nil, err
	}
	whole, label, err := c.split(ctx, p, ref, o, name)
	if err != nil {
		return nil, err
	}
	// What the arm itself leaves of the inner steps.
	a, err := armNamed(name, uint64(c.seed))
	if err != nil {
		return nil, err
	}
	if _, err := o.Assign(estimator, a.credit); err != nil {
		return nil, err
	}
	var kept, entropy [2]struct{ sum, n float64 } // of inner steps, of the last
	for _, g := range o.Groups {
		for i := range g {
			for _, s := range g[i].Steps {
				k := 0
				if s.Final {
					k = 1
				}
				for t := s.Start; t < s.End; t++ {
					entropy[k].sum -= g[i].LogP[t]
					entropy[k].n++
					if g[i].Advantage != 0 {
						kept[k].n++
						if g[i].Keep[t] {
							kept[k].sum++
						}
					}
				}
			}
		}
	}
	norm := math.Sqrt(dot(whole, whole))
	gradient := share(label, whole)
	if err := c.precondition(p, ref, whole, label); err != nil {
		return nil, err
	}
	return []float64{
		m["reward/"+c.lab.outcome], greedy[""], greedy["_inner"], greedy["_label_given_steps"], greedy["_mode"], greedy["_malformed"],
		o.LiveShare(estimator), entropy[0].sum / entropy[0].n, entropy[1].sum / entropy[1].n, kept[0].sum / kept[0].n,
		norm, gradient, share(label, whole), math.Sqrt(dot(label, label) / float64(len(label))),
	}, nil
}

// precondition divides gradients by what AdamW would divide the first by: the root of the
// second moment, with this gradient in it.
func (c *cell) precondition(p policy, ref string, whole, label []float64) (err error) {
	f, err := safetensors.Open(filepath.Join(ref, "optimizer.safetensors"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	at := 0
	for _, q := range p.decoder.Params() {
		second := make([]float32, q.Len())
		if err := f.Read(second, "exp_avg_sq."+q.Name, 0); err != nil {
			return err
		}
		for _, v := range second {
			// The warm-up was long: no correction of the beginning is left.
			root := math.Sqrt(adamW.Beta2*float64(v)+(1-adamW.Beta2)*whole[at]*whole[at]) + adamW.Eps
			whole[at] /= root
			label[at] /= root
			at++
		}
	}
	return nil
}

// split returns the gradient of an arm on rollouts, and the part of it that comes from
// the tokens of the last step.
func (c *cell) split(ctx context.Context, p policy, ref string, r *rl.Rollouts, name string) (whole, label []float64, err error) {
	for _, g := range []*[]float64{&whole, &label} {
		a, err := armNamed(name, uint64(c.seed)) // each time it draws the same
		if err != nil {
			return nil, nil, err
		}
		if g == &label {
			a.credit = finalOnly{a.credit}
		}
		if *g, err = c.gradient(ctx, p, ref, r, estimator, a); err != nil {
			return nil, nil, err
		}
	}
	return whole, label, nil
}

// gradient returns the gradient of an arm's loss on rollouts at the policy ref, which is
// loaded.
func (c *cell) gradient(ctx context.Context, p policy, ref string, r *rl.Rollouts, e advantage.Estimator, a arm) ([]float64, error) {
	if _, err := r.Assign(e, a.credit); err != nil {
		return nil, err
	}
	b := r.Batch()
	if err := b.Weigh(objective.TokenMean{Masked: a.masked}); err != nil {
		return nil, err
	}
	for _, part := range b.Split(16) {
		if err := part.FillOld(ctx, p.Policy); err != nil {
			return nil, err
		}
		if _, _, err := p.ForwardBackward(ctx, part, loss); err != nil {
			return nil, err
		}
	}
	var all []float64
	for _, q := range p.decoder.Params() {
		x := make([]float32, q.Len())
		if err := c.backend.Read(x, q.Grad); err != nil {
			return nil, err
		}
		for _, v := range x {
			all = append(all, float64(v))
		}
	}
	return all, p.Load(ctx, ref) // clears the gradient
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
			adv := slices.Clone(g[i].Adv)
			clear(g[i].Adv)
			for _, s := range g[i].Steps {
				if s.Final {
					copy(g[i].Adv[s.Start:s.End], adv[s.Start:s.End])
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

// share is how much of a vector's length a part of it makes; the parts' shares sum to 1.
func share(part, whole []float64) float64 { return dot(part, whole) / dot(whole, whole) }
