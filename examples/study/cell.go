package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"path/filepath"
	"time"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// cell is a part with a seed: one warm-up, from which all its units begin. Settings that
// differ only in what comes after it share the run folder, with the warm-up.
type cell struct {
	*lab
	part    *part
	seed    int
	backend tensor.Backend
	folder  *run.Writer
	warm    string // reference of the warm-up's weights
}

// inCell calls f in the cell of a part and a seed, whose warm-up it does first, or loads.
func inCell(ctx context.Context, dir string, p *part, seed int, f func(*cell)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s, seed %d: %w", p.Name, seed, err)
		}
	}()
	defer catch(&err)
	check(ctx.Err())
	shared := p.setting.beforeRL()
	config := run.Config{Dir: filepath.Join(dir, shared.digest(unit{seed: seed})), Settings: shared, Seed: uint64(seed)}
	folder, err := run.Resume(config)
	if errors.Is(err, run.ErrNoRun) {
		folder, err = run.Start(config)
	}
	check(err)
	defer func() { err = errors.Join(err, folder.Close()) }()
	// Units run side by side, each on one core: that is faster than one after another.
	backend := must(cpu.New(cpu.Options{Workers: 1}))
	c := &cell{lab: openLab(p.setting, seed), part: p, seed: seed, backend: backend, folder: folder}
	c.warmUp(ctx)
	f(c)
	return nil
}

// policy is a policy with its model and its engine.
type policy struct {
	*local.Policy
	decoder *model.Decoder
	engine  *local.Engine
}

var adamW = optim.Config{Beta1: .9, Beta2: .98, Eps: 1e-8, WeightDecay: .01}

// newPolicy returns a policy from nothing, which saves in dir.
func (c *cell) newPolicy(dir string) policy {
	s := c.part.setting
	d := must(model.NewDecoder(c.backend, model.Config{
		Vocab: c.tok.VocabSize(), Dim: s.Dim, Layers: s.Layers, Heads: s.Heads, KVHeads: s.Heads, FF: s.FF, MaxSeq: s.MaxSeq,
		TieEmbeddings: true, QKNorm: true,
	}, uint64(c.seed)))
	check(d.SetEOS(c.end))
	p := must(local.NewPolicy(local.PolicyConfig{Decoder: d, Optimizer: adamW, Dir: dir}))
	return policy{p, d, must(p.NewEngine(c.tok, local.EngineConfig{}))}
}

// begin returns a policy that has the weights and the moments of the warm-up.
func (c *cell) begin(ctx context.Context, dir string) policy {
	p := c.newPolicy(dir)
	check(p.Load(ctx, c.warm))
	return p
}

// warmUp is supervised learning on the teacher's traces.
func (c *cell) warmUp(ctx context.Context) {
	stage := must(c.folder.Stage("warm-up"))
	p := c.newPolicy(stage.Checkpoints().Dir)
	defer p.Free()
	n := int64(c.part.setting.Warmup)
	imitation := rl.Imitation{
		Policy: p, Demonstrations: c.demonstration, End: []int32{c.end}, Batch: c.part.setting.WarmupBatch, Steps: int(n),
		LR: rl.WarmupCosine{LR: c.part.setting.WarmupRate, Warmup: n / 20, Total: n, Final: .05 * c.part.setting.WarmupRate}, MaxNorm: 1, Recorder: stage,
	}
	loop := &checkpoint.Loop{Weights: p, Step: imitation.Step, Total: imitation.Steps}
	must(stage.Resume(ctx, loop))
	check(loop.Run(ctx, 0, stage.Save))
	c.warm = must(stage.Checkpoints().Latest(ctx)).Ref
}

var (
	estimator = advantage.PerGroup(norm)
	loss      = objective.PPO{ClipLow: .2, ClipHigh: .28}
)

// trainer trains an arm from the policy of the warm-up.
func (c *cell) trainer(u unit, p policy, change func(*rl.Config)) *rl.Trainer {
	a := must(armNamed(u.arm, uint64(c.seed)))
	s, n := c.part.setting, int64(c.part.setting.Updates)
	config := rl.Config{
		Policy: p, Engine: p.engine, Source: &rl.StreamSource{Problem: c.train},
		Estimator: estimator, Credit: a.credit,
		Objective: loss, Aggregation: objective.TokenMean{Masked: a.masked},
		Batching: rl.Batching{Prompts: s.Prompts, GroupSize: s.Group},
		LR:       rl.WarmupLinear{LR: u.rate, Warmup: min(5, n), Total: n, Final: .2 * u.rate},
		MaxNorm:  1, Seed: uint64(c.seed), Steps: n, WarnUnscorable: 1,
	}
	change(&config)
	return must(rl.NewTrainer(config))
}

// run trains an arm from the warm-up and measures it.
func (c *cell) run(ctx context.Context, u unit) *row {
	stage := must(c.folder.Stage(c.part.setting.digest(u)))
	p := c.begin(ctx, "")
	defer p.Free()
	n := int64(c.part.setting.Updates)
	r := &row{values: map[string]float64{}}
	var best *model.Decoder // of those that were looked at
	most := -1.
	trainer := c.trainer(u, p, func(config *rl.Config) {
		config.Recorder = rl.RecorderFunc(func(step int64, m map[string]float64) error {
			r.values["tokens"] += m["tokens"]
			if step > n-n/5 { // the last fifth
				r.values["reward"] += m["reward/"+c.outcome] / float64(n/5)
				r.values["live"] += m["group/live"] / float64(n/5)
			}
			return stage.Record(step, m)
		})
		if config.EvalEvery = c.part.setting.Best; config.EvalEvery == 0 {
			return
		}
		config.Eval = func(ctx context.Context, _ int64) (m map[string]float64, err error) {
			defer catch(&err)
			c.measure(ctx, p, "VALIDATION", r)
			accuracy := r.values["VALIDATION"]
			if accuracy > most {
				most = accuracy
				if best != nil {
					best.Free()
				}
				best = p.decoder.Clone()
			}
			return map[string]float64{"accuracy": accuracy}, nil
		}
	})
	must(stage.Resume(ctx, trainer)) // clears the log of a run that was stopped
	start := time.Now()
	check(trainer.Run(ctx))
	r.values["seconds"] = time.Since(start).Seconds()
	if best != nil {
		defer best.Free()
		check(p.decoder.CopyFrom(best))
	}
	c.measure(ctx, p, "VALIDATION", r)
	if len(c.part.Rates) == 0 { // a grid sees no test query
		c.measure(ctx, p, "RANDOM", r)
		c.measure(ctx, p, "LONGTAIL", r)
	}
	return r
}

// measured are the columns of a set of queries, behind its name: accuracy, the share of
// right inner steps, of right answers with a wrong step, of right labels after right steps
// (NaN without any), of the commonest answer, and of malformed texts.
var measured = []string{"", "_inner", "_right_wrong_step", "_label_given_steps", "_mode", "_malformed"}

// measure answers a set of queries and writes what that shows into a row.
func (c *cell) measure(ctx context.Context, p policy, set string, r *row) {
	check(p.engine.Refresh(ctx, must(p.Publish(ctx))))
	o, m := evaluate(ctx, p, c.sets[set], uint64(c.seed))
	correct := new(big.Int)
	var inner, innerRight, mode float64
	said := map[string]float64{}
	for i, g := range o.Groups {
		if answer, ok := g[0].Trace.FinalAnswer(); ok {
			said[answer]++
			mode = max(mode, said[answer])
		}
		if g[0].Rewards[0] >= 1 {
			correct.SetBit(correct, i, 1)
		}
		for _, s := range g[0].Steps {
			if s.Final {
				continue
			}
			inner++
			if !s.Verdict.Wrong() {
				innerRight++
			}
		}
	}
	given, ok := m["right_answer_after_right_steps"]
	if !ok {
		given = math.NaN()
	}
	for k, v := range []float64{m["reward/"+c.outcome], innerRight / inner, m["right_answer_wrong_step"], given, mode / float64(len(o.Groups)), m["malformed"]} {
		r.values[set+measured[k]] = v
	}
	if set == "LONGTAIL" {
		r.correct = correct.Text(62)
	}
}

func evaluate(ctx context.Context, p policy, problems []rl.Problem, seed uint64) (*rl.Rollouts, map[string]float64) {
	o, m, err := rl.EvaluateProblems(ctx, p.engine, problems, seed)
	check(err)
	return o, m
}
