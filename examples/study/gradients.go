package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/sam"
)

// look calls f in the cells of the first seeds of a part, one after the other. The rows
// that f adds go to out, and when all are there to a file beside the results.
func look(ctx context.Context, out io.Writer, o options, p *part, name string, columns []string, f func(c *cell, add func(cells ...any))) {
	dir := filepath.Dir(o.rows)
	check(durable.MkdirAll(dir))
	var file bytes.Buffer
	w := csv.NewWriter(io.MultiWriter(&file, out))
	add := func(cells ...any) {
		texts := make([]string, len(cells))
		for i, x := range cells {
			texts[i] = fmt.Sprint(x)
			if v, ok := x.(float64); ok {
				texts[i] = strconv.FormatFloat(v, 'g', 5, 64)
			}
		}
		check(w.WriteAll([][]string{texts}))
	}
	check(w.Write(columns))
	for _, seed := range p.seeds()[:max(o.seeds, 1)] {
		check(inCell(ctx, o.dir, p, seed, func(c *cell) { f(c, add) }))
	}
	check(durable.ReplaceFile(filepath.Join(dir, name), file.Bytes()))
}

// gradientPrompts is the number of prompts in each half of the samples.
const gradientPrompts = 256

// gradients compares, at the warm-ups of the first seeds of a part, the gradient of every
// arm on one half of the samples with unbiased ones on the other half: those of the
// probability of a right answer and of the number of right steps. It writes a row per
// seed and arm; the arm "itself" is the unbiased gradient on the arms' half, whose cosine
// is what noise leaves of it. It then prints how the cosines rank the arms beside the
// accuracy that training has reached so far, at each arm's best rate.
func (s *study) gradients(ctx context.Context, out io.Writer, o options, p *part) {
	answer, steps := make([]float64, len(p.Arms)), make([]float64, len(p.Arms)) // sums of cosines
	columns := []string{"seed", "arm", "cosine_answer", "cosine_steps", "norm", "label_share"}
	look(ctx, out, o, p, "gradients.csv", columns, func(c *cell, add func(...any)) {
		policy := c.begin(ctx, "")
		defer policy.Free()
		var halves [2]*rl.Rollouts
		for h := range halves {
			problems := make([]rl.Problem, gradientPrompts)
			for i := range problems {
				problems[i] = c.train(h*gradientPrompts + i)
			}
			halves[h], _ = evaluate(ctx, policy, problems, uint64(c.seed)+uint64(h)<<32)
		}
		var unbiased [2][2][]float64 // of each half, for right answers and right steps
		for h := range halves {
			for k, credit := range []sam.Credit{sam.Outcome{}, sam.ReturnToGo{Norm: advantage.RLOO{}}} {
				must(halves[h].Assign(advantage.PerGroup(advantage.RLOO{}), credit))
				unbiased[h][k] = c.gradient(ctx, policy, c.warm, halves[h], objective.MaskedStay)
			}
		}
		truth := unbiased[1]
		add(c.seed, "itself", cosine(unbiased[0][0], truth[0]), cosine(unbiased[0][1], truth[1]), math.NaN(), math.NaN())
		for i, arm := range p.Arms {
			whole, label := c.split(ctx, policy, c.warm, halves[0], arm)
			toAnswer, toSteps := cosine(whole, truth[0]), cosine(whole, truth[1])
			answer[i], steps[i] = answer[i]+toAnswer, steps[i]+toSteps
			add(c.seed, arm, toAnswer, toSteps, math.Sqrt(dot(whole, whole)), share(label, whole))
		}
	})
	measure := s.Measure
	if len(p.Rates) > 0 {
		measure = "VALIDATION"
	}
	if err := s.choose(p); err != nil {
		fmt.Fprintln(out, "accuracy is not known yet:", err)
		return
	}
	var reached []float64
	for _, arm := range p.Arms {
		best := math.Inf(-1)
		for _, rate := range p.rates[arm] {
			if m := mean(s.of(p, arm, rate), measure); m > best { // not NaN
				best = m
			}
		}
		reached = append(reached, best)
	}
	fmt.Fprintf(out, "over arms, Spearman's correlation of accuracy on %s with the cosine to right answers %.2f, to right steps %.2f\n",
		measure, eval.Spearman(answer, reached), eval.Spearman(steps, reached))
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
func watch(ctx context.Context, out io.Writer, o options, p *part) {
	var units []unit
	for item := range strings.SplitSeq(o.watch, ",") {
		arm, text, _ := strings.Cut(item, "@")
		rate, err := strconv.ParseFloat(text, 64)
		if _, unknown := armNamed(arm, 0); err != nil || unknown != nil {
			fail("-watch %s: %w", item, errors.Join(unknown, err))
		}
		units = append(units, unit{arm: arm, rate: rate})
	}
	look(ctx, out, o, p, "watch.csv", watchColumns, func(c *cell, add func(...any)) {
		for _, u := range units {
			c.watch(ctx, u, add)
		}
	})
}

func (c *cell) watch(ctx context.Context, u unit, add func(...any)) {
	dir := must(os.MkdirTemp("", "study"))
	defer os.RemoveAll(dir)
	trained := c.begin(ctx, dir)
	defer trained.Free()
	probe := c.newPolicy("") // a look does not touch the training
	defer probe.Free()
	trainer := c.trainer(u, trained, func(*rl.Config) {})
	defer trainer.Stop()
	n := c.part.setting.Updates
	for update := range n + 1 {
		if update > 0 {
			must(trainer.Step(ctx))
		}
		if update%max(n/5, 1) == 0 {
			values := c.look(ctx, probe, must(trained.Save(ctx, "policy")), u.arm)
			add(append([]any{c.seed, u.arm, u.rate, update}, values...)...)
		}
	}
}

// look measures a saved policy; see watch.
func (c *cell) look(ctx context.Context, p policy, ref, arm string) []any {
	check(p.Load(ctx, ref))
	greedy := &row{values: map[string]float64{}}
	c.measure(ctx, p, "VALIDATION", greedy)
	o, m := evaluate(ctx, p, c.sampled[:min(watchPrompts, len(c.sampled))], uint64(c.seed))
	whole, label := c.split(ctx, p, ref, o, arm)
	var tokens, nats [2]float64 // of inner steps, and of the last
	var rewarded, kept float64  // tokens of inner steps that had an advantage, and have it still
	for _, g := range o.Groups {
		for i := range g {
			for _, s := range g[i].Steps {
				k := 0
				if s.Final {
					k = 1
				}
				for t := s.Start; t < s.End; t++ {
					tokens[k]++
					nats[k] -= g[i].LogP[t]
					if g[i].Advantage != 0 && !s.Final {
						rewarded++
						if g[i].Keep[t] {
							kept++
						}
					}
				}
			}
		}
	}
	norm, gradient := math.Sqrt(dot(whole, whole)), share(label, whole)
	c.precondition(p, ref, whole, label)
	return []any{
		m["reward/"+c.outcome], greedy.value("VALIDATION"), greedy.value("VALIDATION_inner"), greedy.value("VALIDATION_label_given_steps"),
		greedy.value("VALIDATION_mode"), greedy.value("VALIDATION_malformed"),
		o.LiveShare(estimator), nats[0] / tokens[0], nats[1] / tokens[1], kept / rewarded,
		norm, gradient, share(label, whole), math.Sqrt(dot(label, label) / float64(len(label))),
	}
}

// precondition divides gradients by what AdamW would divide the first by: the root of the
// second moment, with this gradient in it.
func (c *cell) precondition(p policy, ref string, whole, label []float64) {
	f := must(safetensors.Open(filepath.Join(ref, "optimizer.safetensors")))
	defer f.Close()
	at := 0
	for _, q := range p.decoder.Params() {
		second := make([]float32, q.Len())
		check(f.Read(second, "exp_avg_sq."+q.Name, 0))
		for _, v := range second {
			// The warm-up was long: no correction of the beginning is left.
			root := math.Sqrt(adamW.Beta2*float64(v)+(1-adamW.Beta2)*whole[at]*whole[at]) + adamW.Eps
			whole[at] /= root
			label[at] /= root
			at++
		}
	}
}

// split returns the gradient of an arm on rollouts, and the part of it that comes from
// the tokens of the last step. The rollouts keep the advantages of these alone.
func (c *cell) split(ctx context.Context, p policy, ref string, r *rl.Rollouts, name string) (whole, label []float64) {
	a := must(armNamed(name, uint64(c.seed)))
	must(r.Assign(estimator, a.credit))
	whole = c.gradient(ctx, p, ref, r, a.masked)
	for _, g := range r.Groups {
		for i := range g {
			last := make([]float64, len(g[i].Adv))
			for _, s := range g[i].Steps {
				if s.Final {
					copy(last[s.Start:s.End], g[i].Adv[s.Start:s.End])
				}
			}
			copy(g[i].Adv, last)
		}
	}
	return whole, c.gradient(ctx, p, ref, r, a.masked)
}

// gradient returns the gradient of the loss on rollouts, whose advantages are assigned, at
// the policy ref, which is loaded.
func (c *cell) gradient(ctx context.Context, p policy, ref string, r *rl.Rollouts, masked objective.Masked) (all []float64) {
	b := r.Batch()
	check(b.Weigh(objective.TokenMean{Masked: masked}))
	for _, part := range b.Split(16) {
		check(part.FillOld(ctx, p))
		_, _, err := p.ForwardBackward(ctx, part, loss)
		check(err)
	}
	for _, q := range p.decoder.Params() {
		x := make([]float32, q.Len())
		check(c.backend.Read(x, q.Grad))
		for _, v := range x {
			all = append(all, float64(v))
		}
	}
	check(p.Load(ctx, ref)) // clears the gradient
	return all
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
