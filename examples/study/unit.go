package main

import (
	"context"
	"errors"
	"maps"
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
	"github.com/stepwise-rl/stepwise/rollout"
)

// cell is a setting with a seed: one warm-up, from which all its units begin. Settings
// that differ only in what comes after it share the run folder, with the warm-up.
type cell struct {
	setting setting
	seed    int
	lab     *lab
	backend tensor.Backend
	folder  *run.Writer
	warm    string // reference of the warm-up's weights
}

// openCell does the warm-up, or loads it.
func openCell(ctx context.Context, dir string, s setting, seed int) (*cell, error) {
	c := &cell{setting: s, seed: seed}
	var err error
	if c.lab, err = openLab(s, seed); err != nil {
		return nil, err
	}
	// Units run side by side, each on one core: that is faster than one after another.
	if c.backend, err = cpu.New(cpu.Options{Workers: 1}); err != nil {
		return nil, err
	}
	shared := s.beforeRL()
	config := run.Config{
		Dir: filepath.Join(dir, unit{part: &part{setting: shared}, seed: seed}.digest()), Settings: shared, Seed: uint64(seed),
	}
	c.folder, err = run.Resume(config)
	if errors.Is(err, run.ErrNoRun) {
		c.folder, err = run.Start(config)
	}
	if err != nil {
		return nil, err
	}
	if err := c.warmUp(ctx); err != nil {
		return nil, errors.Join(err, c.folder.Close())
	}
	return c, nil
}

// policy is a policy with its engine.
type policy struct {
	*local.Policy
	decoder *model.Decoder
	engine  rollout.Engine
}

func (c *cell) newPolicy(dir string) (p policy, err error) {
	s := c.setting
	if p.decoder, err = model.NewDecoder(c.backend, model.Config{
		Vocab: c.lab.tok.VocabSize(), Dim: s.Dim, Layers: s.Layers, Heads: s.Heads, KVHeads: s.Heads, FF: s.FF, MaxSeq: s.MaxSeq,
		TieEmbeddings: true, QKNorm: true,
	}, uint64(c.seed)); err != nil {
		return p, err
	}
	if err := p.decoder.SetEOS(c.lab.end); err != nil {
		return p, err
	}
	if p.Policy, err = local.NewPolicy(local.PolicyConfig{Decoder: p.decoder, Optimizer: adamW, Dir: dir}); err != nil {
		return p, err
	}
	p.engine, err = p.NewEngine(c.lab.tok, local.EngineConfig{})
	return p, err
}

var adamW = optim.Config{Beta1: .9, Beta2: .98, Eps: 1e-8, WeightDecay: .01}

// begin returns a policy that has the weights and the moments of the warm-up.
func (c *cell) begin(ctx context.Context, dir string) (policy, error) {
	p, err := c.newPolicy(dir)
	if err == nil {
		err = p.Load(ctx, c.warm)
	}
	return p, err
}

// warmUp is supervised learning on the teacher's traces.
func (c *cell) warmUp(ctx context.Context) error {
	stage, err := c.folder.Stage("warm-up")
	if err != nil {
		return err
	}
	p, err := c.newPolicy(stage.Checkpoints().Dir)
	if err != nil {
		return err
	}
	defer p.Free()
	n := int64(c.setting.Warmup)
	imitation := rl.Imitation{
		Policy: p, Demonstrations: c.lab.demonstration, End: []int32{c.lab.end}, Batch: c.setting.WarmupBatch, Steps: int(n),
		LR: rl.WarmupCosine{LR: c.setting.WarmupRate, Warmup: n / 20, Total: n, Final: .05 * c.setting.WarmupRate}, MaxNorm: 1, Recorder: stage,
	}
	loop := &checkpoint.Loop{Weights: p, Step: imitation.Step, Total: imitation.Steps}
	if _, err := stage.Resume(ctx, loop); err != nil {
		return err
	}
	if err := loop.Run(ctx, 0, stage.Save); err != nil {
		return err
	}
	last, err := stage.Checkpoints().Latest(ctx)
	c.warm = last.Ref
	return err
}

// trainer trains an arm from the policy of the warm-up.
func (c *cell) trainer(u unit, p policy, r rl.Recorder) (*rl.Trainer, error) {
	a, err := armNamed(u.arm, uint64(u.seed))
	if err != nil {
		return nil, err
	}
	s, n := c.setting, int64(c.setting.Updates)
	return rl.NewTrainer(rl.Config{
		Policy: p, Engine: p.engine, Source: &rl.StreamSource{Problem: c.lab.train},
		Estimator: estimator, Credit: a.credit,
		Objective: loss, Aggregation: objective.TokenMean{Masked: a.masked},
		Batching: rl.Batching{Prompts: s.Prompts, GroupSize: s.Group},
		LR:       rl.WarmupLinear{LR: u.rate, Warmup: min(5, n), Total: n, Final: .2 * u.rate},
		MaxNorm:  1, Seed: uint64(u.seed), Steps: n, WarnUnscorable: 1, Recorder: r,
	})
}

var (
	estimator = advantage.PerGroup(norm)
	loss      = objective.PPO{ClipLow: .2, ClipHigh: .28}
)

// run trains an arm from the warm-up and measures it.
func (c *cell) run(ctx context.Context, u unit) (*row, error) {
	stage, err := c.folder.Stage(u.digest())
	if err != nil {
		return nil, err
	}
	p, err := c.begin(ctx, "")
	if err != nil {
		return nil, err
	}
	defer p.Free()
	n := int64(c.setting.Updates)
	r := &row{unit: u, Digest: u.digest(), values: map[string]float64{}}
	trainer, err := c.trainer(u, p, rl.RecorderFunc(func(step int64, m map[string]float64) error {
		r.values["tokens"] += m["tokens"]
		if step > n-n/5 { // the last fifth
			r.values["reward"] += m["reward/"+c.lab.outcome] / float64(n/5)
			r.values["live"] += m["group/live"] / float64(n/5)
		}
		return stage.Record(step, m)
	}))
	if err != nil {
		return nil, err
	}
	if _, err := stage.Resume(ctx, trainer); err != nil { // clears the log of a run that was stopped
		return nil, err
	}
	start := time.Now()
	if err := trainer.Run(ctx); err != nil {
		return nil, err
	}
	r.values["seconds"] = time.Since(start).Seconds()
	sets := map[string][]rl.Problem{"VALIDATION": c.lab.validation}
	if len(u.part.Rates) == 0 { // a grid sees no test query
		maps.Copy(sets, c.lab.tests)
	}
	for name, set := range sets {
		m, correct, err := c.measure(ctx, p, set)
		if err != nil {
			return nil, err
		}
		for what, v := range m {
			r.values[name+what] = v
		}
		if name == "LONGTAIL" {
			r.Correct = correct.Text(62)
		}
	}
	return r, nil
}

// measured are the columns of a set of queries, behind its name.
var measured = []string{"", "_inner", "_right_wrong_step", "_label_given_steps", "_mode", "_malformed"}

// measure answers queries and says what that shows: accuracy, the share of right inner
// steps, of right answers with a wrong step, of right labels after right steps (NaN
// without any), of the commonest answer, and of malformed texts; and which are right.
func (c *cell) measure(ctx context.Context, p policy, set []rl.Problem) (map[string]float64, *big.Int, error) {
	w, err := p.Publish(ctx)
	if err == nil {
		err = p.engine.(rollout.Refresher).Refresh(ctx, w)
	}
	if err != nil {
		return nil, nil, err
	}
	o, m, err := rl.EvaluateProblems(ctx, p.engine, set, uint64(c.seed))
	if err != nil {
		return nil, nil, err
	}
	correct := new(big.Int)
	var inner, innerRight float64
	said, mode := map[string]int{}, 0
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
	return map[string]float64{
		"": m["reward/"+c.lab.outcome], "_inner": innerRight / inner, "_right_wrong_step": m["right_answer_wrong_step"],
		"_label_given_steps": given, "_mode": float64(mode) / float64(len(o.Groups)), "_malformed": m["malformed"],
	}, correct, nil
}
