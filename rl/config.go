package rl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// Recorder receives a trainer's metrics: one flat map per training step.
type Recorder interface {
	// Record receives the metrics of a training step, counted from 1. It must not
	// keep or change the map. An error ends the run.
	Record(step int64, metrics map[string]float64) error
}

// RecorderFunc makes a Recorder from a function.
type RecorderFunc func(step int64, metrics map[string]float64) error

// Record calls f.
func (f RecorderFunc) Record(step int64, metrics map[string]float64) error { return f(step, metrics) }

// Config holds the parts and settings of a Trainer. Policy, Engine, Source, Batching
// and LR are required. Estimator, Credit, Objective and Aggregation, where they are
// nil, are those of GRPO as TRL has it (preset "trl-1.16"); NewTrainer logs what it
// took.
type Config struct {
	Policy Policy
	Engine rollout.Engine
	Source Source
	// Reference is the frozen policy that KL terms compare with; required if
	// RewardKL is set or the objective needs objective.InputRef.
	Reference LogProber
	// Teacher is what the policy is distilled from; required if the objective needs
	// objective.InputTeacher or objective.InputCandidates. With a teacher,
	// completions without a usable reward are trained on, too, with advantage 0.
	Teacher *Teacher

	// Estimator makes advantages of rewards; nil means
	// advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4}).
	Estimator advantage.Estimator
	// Credit is the step credit; nil means sam.Outcome{}, none.
	Credit sam.Credit
	// Objective is the loss; nil means objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}.
	Objective objective.Objective
	// Aggregation weighs the tokens; nil means objective.TokenMean{}.
	Aggregation objective.Aggregation

	// RewardKL, if not nil, puts a penalty on the divergence from Reference
	// into the reward (Rollouts.ShapeKL), which does not reach tokens that Credit
	// masks. A KL term of the loss, which does, belongs to Objective.
	RewardKL *objective.RewardKL
	// AdaptiveKL, if not nil, replaces RewardKL.Beta by its own, which it adapts
	// after every training step. It is state: trainers must not share one.
	AdaptiveKL *objective.AdaptiveKL
	// AdaptiveEntropy, if not nil, adds an entropy bonus to Objective, whose coefficient
	// it adapts after every optimiser step. It is state: trainers must not share one.
	AdaptiveEntropy *objective.AdaptiveEntropy

	Batching Batching
	// Dynamic replaces dead groups by further sampling; the zero value is off.
	Dynamic DynamicSampling
	// Async samples ahead of the training; the zero value is off.
	Async Async
	// LR is the learning rate of each optimiser step, counted from 0.
	LR Schedule
	// MaxNorm clips the global gradient norm; 0 = no clipping.
	MaxNorm float64
	// Steps is the number of training steps after which Run ends; 0 runs until
	// the source is exhausted.
	Steps int64
	// Seed is the run's seed. Seed, training step, prompt and sample together
	// determine the random stream of a completion.
	Seed uint64
	// TrustRollout uses the engine's log-probs as Old instead of computing
	// them before the first of several updates. It saves a pass and turns a
	// mismatch between engine and policy into off-policy error.
	TrustRollout bool
	// ExcludeTruncated excludes completions that reached the length limit
	// from the loss (overlong filtering, DAPO, arXiv:2503.14476).
	ExcludeTruncated bool
	// Reject, if not empty, excludes tokens or completions to which the policy, before
	// the update, and the engine give too different log-probs: they are trained on by
	// no term and count in no denominator. It takes a pass for the policy's log-probs
	// even where a single update needs none.
	Reject []objective.Rejection
	// TopEntropy is the share of each mini-batch's tokens, those of the highest entropy,
	// that carry the policy loss (objective.Layout.TopEntropy); the others are masked as
	// by Credit. It is a share of all tokens, also of those that Credit masks, so that
	// fewer are left (metric objective/kept). 0 = all. It takes a forward pass for the
	// entropies.
	TopEntropy float64
	// ExcludeDeadKL omits the regularisers (KL, entropy) for the completions of
	// dead groups, which then have no gradient unless step credit gives them an
	// advantage. They stay in the denominators.
	ExcludeDeadKL bool

	// Judges is the number of completions that are judged at once; 0 means the
	// default of WithJudges. An Eval sets its own.
	Judges int
	// WarnUnscorable is the share of a step, or of an outcome reward, that no
	// rule could judge at which Logger gets a warning with the first cause, and
	// another whenever the share has grown by as much again. 0 means 0.1; 1 turns
	// the warnings off. A step without a rule is warned about once.
	WarnUnscorable float64

	// Eval, if not nil, is called after every EvalEvery-th training step; its
	// metrics are recorded with the step's, under "eval/". See
	// EvaluateProblems.
	Eval      func(ctx context.Context, step int64) (map[string]float64, error)
	EvalEvery int64
	// Checkpoint, if not nil, is called after every CheckpointEvery-th training
	// step, and by Run after the last. It calls Trainer.Save, usually through
	// package rl/checkpoint. With Async the step after it samples anew with staleness 0,
	// so that another CheckpointEvery is another run: it belongs to the settings.
	Checkpoint      func(ctx context.Context, t *Trainer) error
	CheckpointEvery int64
	// OnRollouts, if not nil, sees every collection after credit was assigned
	// and before the update. It must not change or keep it. With dynamic
	// sampling these are the groups that are trained on; Rollouts.Sampled
	// returns all.
	OnRollouts func(step int64, r *Rollouts) error

	// Recorder receives the metrics of each training step; nil discards them.
	Recorder Recorder
	// Logger receives start-up facts and warnings, such as the one, given once, that .9 or
	// more of a training step's completions are truncated or malformed; nil discards them.
	Logger *slog.Logger
}

// withDefaults returns c without nil fields that have a default, and a line for
// each that says what it took.
func (c Config) withDefaults() (Config, []string) {
	var took []string
	note := func(field string, text []byte, err error) {
		if err != nil {
			panic(err) // the defaults are of this module, and have kinds
		}
		took = append(took, field+": "+string(text))
	}
	if c.Estimator == nil {
		c.Estimator = advantage.PerGroup(advantage.GRPO{Epsilon: 1e-4})
		text, err := advantage.Encode(c.Estimator)
		note("Estimator", text, err)
	}
	if c.Credit == nil {
		c.Credit = sam.Outcome{}
		text, err := sam.Encode(c.Credit)
		note("Credit", text, err)
	}
	if c.Objective == nil {
		c.Objective = objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}
		text, err := objective.Encode(c.Objective)
		note("Objective", text, err)
	}
	if c.Aggregation == nil {
		c.Aggregation = objective.TokenMean{}
		text, err := objective.EncodeAggregation(c.Aggregation)
		note("Aggregation", text, err)
	}
	c.Batching = c.Batching.withDefaults()
	return c, took
}

// Validate returns an error that names every field that is missing or invalid.
// Nothing is sampled. If the source is a [Lister], the requests of all its problems
// must fit Batching, AdaptiveKL and the engine, and their rewards the weights of the
// estimator and of the credit; the error names the first few that do not.
func (c *Config) Validate() error {
	full, _ := c.withDefaults()
	return full.validate()
}

// validate is Validate of a configuration with its defaults.
func (c *Config) validate() error {
	var errs []error
	add := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("rl: Config.%s: %w", field, err))
		}
	}
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Policy", c.Policy == nil}, {"Engine", c.Engine == nil}, {"Source", c.Source == nil}, {"LR", c.LR == nil},
	} {
		if f.missing {
			errs = append(errs, fmt.Errorf("rl: Config.%s is missing", f.name))
		}
	}
	if s, ok := c.Source.(interface{ Validate() error }); ok {
		add("Source", s.Validate())
	}
	add("Estimator", c.Estimator.Validate())
	add("Credit", c.Credit.Validate())
	add("Objective", c.Objective.Validate())
	add("Aggregation", c.Aggregation.Validate())
	if c.LR != nil {
		add("LR", c.LR.Validate())
	}
	if err := checkMaxNorm(c.MaxNorm); err != nil {
		errs = append(errs, fmt.Errorf("rl: Config.%w", err))
	}
	for _, f := range []struct {
		name string
		v    int64
	}{{"Steps", c.Steps}, {"Judges", int64(c.Judges)}, {"EvalEvery", c.EvalEvery}, {"CheckpointEvery", c.CheckpointEvery}} {
		if f.v < 0 {
			errs = append(errs, fmt.Errorf("rl: Config.%s is %d, must not be negative", f.name, f.v))
		}
	}
	if !(c.WarnUnscorable >= 0 && c.WarnUnscorable <= 1) {
		errs = append(errs, fmt.Errorf("rl: Config.WarnUnscorable is %v, want 0 to 1", c.WarnUnscorable))
	}
	for i, r := range c.Reject {
		add(fmt.Sprintf("Reject[%d]", i), r.Validate())
	}
	if len(c.Reject) > 0 && c.TrustRollout {
		errs = append(errs, errors.New("rl: Config.Reject compares the policy's log-probs with the engine's, but Config.TrustRollout takes those for the policy's"))
	}
	if !(c.TopEntropy >= 0 && c.TopEntropy <= 1) {
		errs = append(errs, fmt.Errorf("rl: Config.TopEntropy is %v, want a share of the tokens, such as 0.2, or 0 for all", c.TopEntropy))
	}
	if c.AdaptiveEntropy != nil {
		add("AdaptiveEntropy", c.AdaptiveEntropy.Validate())
	}
	errs = append(errs, c.Batching.Validate(), c.Dynamic.Validate(), c.Async.Validate(), c.validateKL())
	if (c.Eval != nil) != (c.EvalEvery > 0) {
		errs = append(errs, errors.New("rl: Config.Eval and Config.EvalEvery need each other"))
	}
	if (c.Checkpoint != nil) != (c.CheckpointEvery > 0) {
		errs = append(errs, errors.New("rl: Config.Checkpoint and Config.CheckpointEvery need each other"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return errors.Join(c.validateNeeds(), c.validateAsync(), c.validateRequests())
}

// validateKL checks the KL penalty in the reward.
func (c *Config) validateKL() error {
	k, a := c.RewardKL, c.AdaptiveKL
	if k == nil {
		if a != nil {
			return errors.New("rl: Config.AdaptiveKL needs Config.RewardKL, whose Beta it replaces")
		}
		return nil
	}
	if c.Reference == nil {
		return errors.New("rl: Config.RewardKL needs Config.Reference")
	}
	if err := k.Validate(); err != nil {
		return fmt.Errorf("rl: Config.RewardKL: %w", err)
	}
	f, ok := c.Estimator.(advantage.ShapingFolder)
	folds := ok && f.FoldsShaping()
	for _, m := range combines(c.Credit) {
		if m.FoldShaping != folds {
			return fmt.Errorf("rl: Config.Credit: sam: OutcomePlusVerdict.Combine.FoldShaping is %v, want %v as of Config.Estimator (%T), or the penalty of Config.RewardKL counts twice or not at all", m.FoldShaping, folds, c.Estimator)
		}
	}
	if a == nil {
		return nil
	}
	if err := a.Validate(); err != nil {
		return fmt.Errorf("rl: Config.AdaptiveKL: %w", err)
	}
	return c.checkHorizon(c.Batching.GroupSize)
}

// checkHorizon returns an error if a collection with groups of that size (0 =
// unknown) has more samples than the horizon of AdaptiveKL.
func (c *Config) checkHorizon(groupSize int) error {
	if n := c.Batching.Prompts * groupSize; float64(n) > c.AdaptiveKL.Horizon {
		return fmt.Errorf("rl: Config.AdaptiveKL: Horizon is %v, want at least the %d samples of a collection", c.AdaptiveKL.Horizon, n)
	}
	return nil
}

// validateNeeds checks that the objective gets the inputs it needs, that policy and
// reference can do what the settings ask of them, and that the policy's weights reach
// the engine.
func (c *Config) validateNeeds() error {
	needs := c.Objective.Needs()
	if needs&objective.InputRef != 0 && c.Reference == nil {
		return errors.New("rl: the objective needs reference log-probs, but Config.Reference is missing")
	}
	if c.RewardKL != nil || needs&objective.InputRef != 0 {
		if k, ok := c.Reference.(LogProbChecker); ok {
			if err := k.CheckLogProbs(); err != nil {
				return fmt.Errorf("rl: Config.Reference: %w", err)
			}
		}
	}
	if e, mixed := c.Engine.(*MixedEngine); mixed {
		if err := e.Validate(); err != nil {
			return err
		}
		if needs&objective.InputOld != 0 && !readsRollout(c.Objective) {
			return errors.New("rl: Config.Engine is a MixedEngine, but the objective takes all samples for the policy's: want one without old log-probs, or objective.Corrected or objective.FromRollout around it")
		}
	}
	_, publishes := c.Policy.(Publisher)
	if _, refreshes := c.Engine.(rollout.Refresher); publishes && !refreshes {
		return fmt.Errorf("rl: Config.Policy (%T) is a Publisher, but Config.Engine (%T) is no rollout.Refresher: it would never get the trained weights; a wrapper must have its engine's Refresh, and an engine that reads the policy's own memory one that does nothing", c.Policy, c.Engine)
	}
	if err := supports(c.Policy, Required(needs)); err != nil {
		return fmt.Errorf("rl: Config.Objective: %w", err)
	}
	if c.TopEntropy > 0 && sharesRatio(c.Objective) {
		return fmt.Errorf("rl: Config.TopEntropy is %v, and leaves the tokens of a completion different advantages: %w", c.TopEntropy, objective.ErrSharedRatio)
	}
	if c.TopEntropy > 0 || c.AdaptiveEntropy != nil {
		if err := supports(c.Policy, CapEntropy); err != nil {
			return fmt.Errorf("rl: Config.TopEntropy or AdaptiveEntropy: %w", err)
		}
	}
	if err := c.Teacher.validate(needs, c.Policy); err != nil {
		return fmt.Errorf("rl: Config.%w", err)
	}
	if c.MaxNorm > 0 {
		if err := supports(c.Policy, CapMaxNorm); err != nil {
			return fmt.Errorf("rl: Config.MaxNorm is %v: %w", c.MaxNorm, err)
		}
	}
	return nil
}

// readsRollout reports whether an objective reads the engine's log-probs for more than
// a gate, so that it can correct for samples that are not the policy's own.
func readsRollout(o objective.Objective) bool {
	switch o.(type) {
	case objective.Corrected, objective.FromRollout:
		return true
	}
	if parts := objective.Parts(o); parts != nil {
		return slices.ContainsFunc(parts, readsRollout)
	}
	return o.Needs()&objective.InputRollout != 0 // of an objective of the caller's
}

// sharesRatio reports whether an objective has a part with one ratio for all tokens.
func sharesRatio(o objective.Objective) bool {
	_, shares := o.(objective.GSPO)
	return shares || slices.ContainsFunc(objective.Parts(o), sharesRatio)
}

// loss is the objective of the next optimiser step.
func (c *Config) loss() objective.Objective {
	if c.AdaptiveEntropy == nil {
		return c.Objective
	}
	return objective.Terms{c.Objective, c.AdaptiveEntropy.Bonus()}
}

// named is how many of the problems that cannot be sampled an error names.
const named = 3

// validateRequests checks the requests of a Lister's problems.
func (c *Config) validateRequests() error {
	l, ok := c.Source.(Lister)
	if !ok {
		return nil
	}
	var errs []error
	bad, largest := 0, 0
	problems := l.List()
	for i, p := range problems {
		q, err := request(p)
		largest = max(largest, q.N)
		if err == nil {
			err = q.Validate()
		}
		if err == nil {
			err = c.checkRequest(&q)
		}
		if k, ok := c.Engine.(rollout.Checker); err == nil && ok {
			err = k.Check(&q)
		}
		if err == nil {
			err = c.checkRewards(p)
		}
		if err == nil {
			continue
		}
		if bad++; bad <= named {
			errs = append(errs, fmt.Errorf("rl: Config.Source: problem %d (%q): %w", i, q.ID, err))
		}
	}
	if bad > named {
		errs = append(errs, fmt.Errorf("rl: Config.Source: %d of %d problems cannot be sampled", bad, len(problems)))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if c.AdaptiveKL != nil {
		return c.checkHorizon(largest)
	}
	return nil
}

// singles reports whether all groups are known to be of one completion, which has
// nothing to compare with, and the estimator gives such a group no advantage.
func (c *Config) singles() bool {
	problems := 0
	if l, ok := c.Source.(Lister); ok {
		for _, p := range l.List() {
			if q, err := request(p); err != nil || q.N != 1 {
				return false
			}
			problems++
		}
	}
	if problems == 0 && c.Batching.GroupSize != 1 {
		return false
	}
	one := rollout.Completion{Tokens: []int32{0}, Rewards: []float64{1}}
	return c.Estimator.Dead(rollout.Group{one}) == "single"
}

// checkRewards returns an error if the problem has no reward that anything else stands
// in for, or if it names its rewards and an estimator or a credit that weighs rewards has
// no use for so many.
func (c *Config) checkRewards(p Problem) error {
	if s, ok := p.(scored); ok && s.reward == nil && c.Teacher == nil {
		return errors.New("it has no reward (NewProblem with nil), and without Config.Teacher there is nothing else to learn from")
	}
	n, named := p.(Named)
	if !named {
		return nil
	}
	names := n.RewardNames()
	sample := rollout.Group{{Tokens: []int32{0}, Rewards: make([]float64, len(names))}}
	if _, ok := c.Estimator.(advantage.Weighter); ok {
		if err := c.Estimator.Estimate([]rollout.Group{sample}); err != nil {
			return fmt.Errorf("its rewards are %q: Config.Estimator: %w", names, err)
		}
	}
	for _, m := range combines(c.Credit) {
		if _, err := m.Rewards(sample); err != nil {
			return fmt.Errorf("its rewards are %q: Config.Credit: sam: OutcomePlusVerdict.Combine: %w", names, err)
		}
	}
	return nil
}

// combines returns how the parts of a credit turn the outcome rewards into one. What a
// credit of the caller's does with them is not known.
func combines(c sam.Credit) []advantage.Combine {
	switch k := c.(type) {
	case sam.OutcomePlusVerdict:
		return []advantage.Combine{k.Combine}
	case sam.Blend:
		return append(combines(k.A), combines(k.B)...)
	case sam.Permuted:
		return combines(k.Credit)
	}
	return nil
}

// checkRequest returns an error unless a problem asks for Batching.GroupSize
// completions, if that is set, at a temperature at which the policies can give
// log-probs.
func (c *Config) checkRequest(q *rollout.Request) error {
	if n := c.Batching.GroupSize; n > 0 && q.N != n {
		return fmt.Errorf("it asks for %d completions, Batching.GroupSize is %d", q.N, n)
	}
	if t := q.Params.Temperature; t != 0 && t != 1 {
		var teacher LogProber
		if c.Teacher != nil {
			teacher = c.Teacher.LogProber
		}
		if err := errors.Join(supports(c.Policy, CapTemperature), supports(c.Reference, CapTemperature), supports(teacher, CapTemperature)); err != nil {
			return fmt.Errorf("it asks for temperature %v: %w", t, err)
		}
	}
	return nil
}
