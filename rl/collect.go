package rl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// Rollouts is one collection: the judged completions of some problems.
type Rollouts struct {
	// Problems, Requests and Groups have one entry per problem.
	Problems []Problem
	Requests []rollout.Request
	Groups   []rollout.Group
	// Failed counts the samples that the engine could not deliver; they are in
	// no group. FirstFailure is the error of the first.
	Failed       int
	FirstFailure error
	// Unjudged counts the samples that could not be judged, so that the judge
	// asked to drop them (reward.ErrDrop); they are in no group. FirstUnjudged
	// is the error of the first.
	Unjudged      int
	FirstUnjudged error
	// Dynamic is the outcome of dynamic sampling; nil without it.
	Dynamic *DynamicInfo
}

// Collect samples the completions of every problem, and judges each while the
// engine samples the others; problems that are GroupJudges then judge their
// groups. stream is the run's seed and the training step; together with the
// problem's index it is the request's random stream.
//
// A sample that the engine could not deliver, or that the judge asks to drop
// (reward.ErrDrop), is counted and omitted from its group; any other error of a
// judge, or a panic, ends the call with an error that names the sample. All
// requests must have the same temperature.
func Collect(ctx context.Context, e rollout.Engine, problems []Problem, stream [2]uint64, opts ...CollectOption) (*Rollouts, error) {
	o, err := newCollectOptions(opts)
	if err != nil {
		return nil, err
	}
	return collect(ctx, e, problems, stream, 0, o)
}

// collect is Collect with the problems numbered from first on.
func collect(ctx context.Context, e rollout.Engine, problems []Problem, stream [2]uint64, first int, o collectOptions) (*Rollouts, error) {
	r := &Rollouts{
		Problems: problems,
		Requests: make([]rollout.Request, len(problems)),
		Groups:   make([]rollout.Group, len(problems)),
	}
	for i, p := range problems {
		q, err := request(p)
		if err == nil {
			err = q.Validate()
		}
		if err != nil {
			return nil, fmt.Errorf("rl: request %d (%s): %w", i, q.ID, err)
		}
		q.Stream = [3]uint64{stream[0], stream[1], uint64(first + i)}
		r.Requests[i] = q
		r.Groups[i] = make(rollout.Group, q.N)
		if t := r.Requests[0].Params.Temperature; q.Params.Temperature != t {
			return nil, fmt.Errorf("rl: %s has temperature %v, %s has %v: the log-probs of a collection are those of one temperature",
				r.name(i), q.Params.Temperature, r.name(0), t)
		}
	}
	arrived := make([][]bool, len(problems))
	for i := range arrived {
		arrived[i] = make([]bool, r.Requests[i].N)
	}

	judges, jctx := o.limit(ctx)
	err := e.Generate(jctx, r.Requests, func(c rollout.Completion) error {
		if c.Request < 0 || c.Request >= len(problems) || c.Index < 0 || c.Index >= r.Requests[c.Request].N {
			return fmt.Errorf("rl: the engine emitted sample %d of request %d, which nobody asked for", c.Index, c.Request)
		}
		if arrived[c.Request][c.Index] {
			return fmt.Errorf("rl: the engine emitted sample %d of %s twice", c.Index, r.name(c.Request))
		}
		if c.Err == nil {
			if err := checkCompletion(&c); err != nil {
				return fmt.Errorf("rl: sample %d of %s %w", c.Index, r.name(c.Request), err)
			}
		}
		arrived[c.Request][c.Index] = true
		slot := &r.Groups[c.Request][c.Index]
		*slot = c
		if c.Err != nil {
			return nil
		}
		judges.Go(func() error {
			err := judge(jctx, problems[c.Request], slot)
			if err == nil {
				err = checkJudged(slot)
			}
			switch {
			case errors.Is(err, reward.ErrDrop):
				slot.Err = err
			case err != nil:
				return fmt.Errorf("rl: judging sample %d of %s: %w", c.Index, r.name(c.Request), err)
			}
			return nil
		})
		return nil
	})
	// A failed judge cancels the engine: its error is then the cause.
	if jerr := judges.Wait(); jerr != nil && (err == nil || errors.Is(err, context.Canceled) && ctx.Err() == nil) {
		err = jerr
	}
	if err == io.EOF { // which from a trainer means that the source has ended
		err = fmt.Errorf("rl: the engine: %w", err)
	}
	if err != nil {
		return nil, err
	}
	for i := range arrived {
		for n, ok := range arrived[i] {
			if !ok {
				return nil, fmt.Errorf("rl: the engine never emitted sample %d of %s", n, r.name(i))
			}
		}
	}
	r.dropFailed()
	if err := r.judgeGroups(ctx, o); err != nil {
		return nil, err
	}
	return r, nil
}

// name is how errors call request i.
func (r *Rollouts) name(i int) string {
	if id := r.Requests[i].ID; id != "" {
		return fmt.Sprintf("request %d (%s)", i, id)
	}
	return fmt.Sprintf("request %d", i)
}

// roundingLogP is how far above 0 a log-prob may be by rounding alone.
const roundingLogP = 1e-4

// checkCompletion returns an error unless the completion's parts fit together, and
// the log-probs can be some: parsers, batches and metrics rely on it.
func checkCompletion(c *rollout.Completion) error {
	n := len(c.Tokens)
	for _, f := range []struct {
		name string
		have int
	}{{"Ends", len(c.Ends)}, {"LogP", len(c.LogP)}} {
		if f.have != n {
			return fmt.Errorf("has %d tokens but %d %s", n, f.have, f.name)
		}
	}
	for _, logp := range [][]float64{c.LogP, c.LogPUnit} {
		for t, p := range logp {
			if math.IsNaN(p) || math.IsInf(p, 0) || p > roundingLogP {
				return fmt.Errorf("has the log-prob %v at token %d, want a finite number of at most 0", p, t)
			}
		}
	}
	if n == 0 && c.Text != "" {
		return fmt.Errorf("has a text of %d bytes but no tokens", len(c.Text))
	}
	if err := prompt.CheckEnds(c.Text, c.Ends); err != nil {
		return fmt.Errorf("has Ends that do not fit its Text: %w", err)
	}
	return nil
}

// checkJudged returns an error if a reward is too large to compute with.
func checkJudged(c *rollout.Completion) error {
	for k, v := range c.Rewards {
		if err := advantage.CheckReward(v); err != nil {
			return fmt.Errorf("reward %d is %w", k, err)
		}
	}
	for i := range c.Steps {
		if err := advantage.CheckReward(c.Steps[i].Reward); err != nil {
			return fmt.Errorf("the reward of step %d (%s) is %w", i, c.Steps[i].Name, err)
		}
	}
	return nil
}

// dropFailed removes the completions with an error, the engine's or the judge's,
// and counts them.
func (r *Rollouts) dropFailed() {
	for g := range r.Groups {
		r.Groups[g] = slices.DeleteFunc(r.Groups[g], func(c rollout.Completion) bool {
			if c.Err == nil {
				return false
			}
			n, first := &r.Failed, &r.FirstFailure
			if errors.Is(c.Err, reward.ErrDrop) {
				n, first = &r.Unjudged, &r.FirstUnjudged
			}
			if *n == 0 {
				*first = fmt.Errorf("rl: sample %d of %s: %w", c.Index, r.name(g), c.Err)
			}
			*n++
			return true
		})
	}
}

// countLost adds the failed and unjudged samples of o.
func (r *Rollouts) countLost(o *Rollouts) {
	if r.Failed == 0 {
		r.FirstFailure = o.FirstFailure
	}
	if r.Unjudged == 0 {
		r.FirstUnjudged = o.FirstUnjudged
	}
	r.Failed += o.Failed
	r.Unjudged += o.Unjudged
}

// samples counts the judged completions.
func (r *Rollouts) samples() int {
	n := 0
	for _, g := range r.Groups {
		n += len(g)
	}
	return n
}

// Assign gives every token its advantage: first the estimator, from the outcome
// rewards, then step credit, then the shaping rewards, if there are any.
func (r *Rollouts) Assign(est advantage.Estimator, credit sam.Credit) (sam.Stats, error) {
	if err := errors.Join(est.Validate(), credit.Validate()); err != nil {
		return sam.Stats{}, fmt.Errorf("rl: %w", err)
	}
	if err := est.Estimate(r.Groups); err != nil {
		return sam.Stats{}, fmt.Errorf("rl: %w", err)
	}
	stats, err := credit.Assign(r.Groups)
	if err != nil {
		return sam.Stats{}, fmt.Errorf("rl: %w", err)
	}
	if err := advantage.AddShaping(est, r.Groups); err != nil {
		return sam.Stats{}, fmt.Errorf("rl: %w", err)
	}
	return stats, nil
}

// ShapeKL puts a KL penalty into the reward: it writes the penalty k of every
// token into the completions' Shaping, which Assign adds to the advantages, and
// the log-probs under the policy p and the reference into their Old and Ref,
// unless all of them have those. It returns the estimated divergence per token.
func (r *Rollouts) ShapeKL(ctx context.Context, p, reference LogProber, k objective.RewardKL) (objective.Sum, error) {
	b := r.Batch()
	if err := b.fillMissing(ctx, p, reference); err != nil {
		return objective.Sum{}, fmt.Errorf("rl: log-probs for the KL penalty: %w", err)
	}
	n := len(b.Samples)
	dst, old, ref := make([][]float64, n), make([][]float64, n), make([][]float64, n)
	for i := range b.Samples {
		s := &b.Samples[i]
		dst[i], old[i], ref[i] = make([]float64, len(s.Tokens)), s.Old, s.Ref
	}
	kl, err := k.Shape(dst, old, ref, nil)
	if err != nil {
		return objective.Sum{}, fmt.Errorf("rl: %w", err)
	}
	i := 0
	r.each(b, func(_ *Sample, _ rollout.Group, c *rollout.Completion) {
		c.Shaping, c.Old, c.Ref = dst[i], old[i], ref[i]
		i++
	})
	return kl, nil
}

// Best returns the best completion of each group as a demonstration, for
// sequence-level distillation (Kim and Rush, arXiv:1606.07947, with rules in place of
// the likelihood) from a teacher's rollouts: that with the highest first reward; of
// equal ones, one that is not truncated; of those, that with the fewest incorrect and
// broken steps; and of those the first. A group has none if no completion has a first
// reward of at least the given one. An unscorable reward is never the best.
//
// The exception is a least of math.Inf(-1), which takes every group's best: a
// completion without a usable reward comes after those with one. With another least it
// is an error if no completion at all has a usable reward.
//
// encode makes the demonstration, for a policy with another tokenizer or another
// prompt, by the problem and the completion's text. nil takes the teacher's prompts
// and tokens. A completion that has ended has its end-of-text token among these, so
// Imitation.End is then to be left empty.
func (r *Rollouts) Best(least float64, encode func(p Problem, c *rollout.Completion) (Demonstration, error)) ([]Demonstration, error) {
	var demos []Demonstration
	judged := r.samples() == 0
	for g, group := range r.Groups {
		var best *rollout.Completion
		for i := range group {
			c := &group[i]
			v := firstReward(c)
			judged = judged || !math.IsInf(v, -1)
			if len(c.Tokens) > 0 && v >= least && (best == nil || better(c, best)) {
				best = c
			}
		}
		if best == nil {
			continue
		}
		d := Demonstration{Prompt: r.Requests[g].Prompt, Tokens: best.Tokens}
		if encode != nil {
			var err error
			if d, err = encode(r.Problems[g], best); err != nil {
				return nil, fmt.Errorf("rl: encoding sample %d of %s: %w", best.Index, r.name(g), err)
			}
		}
		demos = append(demos, d)
	}
	if !judged && !math.IsInf(least, -1) {
		return nil, fmt.Errorf("rl: the best of %d completions: none has a reward of at least %v, as none has a first reward that could be judged; a least of -Inf takes them without", r.samples(), least)
	}
	return demos, nil
}

// firstReward is the first reward of c, and -Inf if there is none or it is NaN.
func firstReward(c *rollout.Completion) float64 {
	if len(c.Rewards) == 0 || math.IsNaN(c.Rewards[0]) {
		return math.Inf(-1)
	}
	return c.Rewards[0]
}

// better reports whether a is better than b by the rules.
func better(a, b *rollout.Completion) bool {
	switch va, vb, truncated := firstReward(a), firstReward(b), a.Finish == rollout.FinishLength; {
	case va != vb:
		return va > vb
	case truncated != (b.Finish == rollout.FinishLength):
		return !truncated
	}
	return wrongSteps(a) < wrongSteps(b)
}

// wrongSteps counts the incorrect and broken steps.
func wrongSteps(c *rollout.Completion) (n int) {
	for i := range c.Steps {
		if c.Steps[i].Verdict.Wrong() {
			n++
		}
	}
	return n
}

// Batch makes the training batch of the rollouts: one sample per completion, in
// the order of the groups. It shares its slices with the completions. Call it
// after Assign: completions that were unscorable, and got no advantage from step
// credit or shaping either, are Excluded.
func (r *Rollouts) Batch() *Batch {
	b := &Batch{}
	if len(r.Requests) > 0 {
		b.Temperature = r.Requests[0].Params.Temperature
	}
	for g := range r.Groups {
		b.Prompts = append(b.Prompts, r.Requests[g].Prompt)
		for i := range r.Groups[g] {
			c := &r.Groups[g][i]
			b.Samples = append(b.Samples, Sample{
				Prompt:   g,
				Tokens:   c.Tokens,
				Excluded: c.Unscorable && !slices.ContainsFunc(c.Adv, func(a float64) bool { return a != 0 }),
				Sequence: objective.Sequence{Old: c.Old, Ref: c.Ref, Rollout: c.LogP, Adv: c.Adv, Keep: c.Keep},
			})
		}
	}
	return b
}

// Subset returns the groups [from, to). It shares its slices with r.
func (r *Rollouts) Subset(from, to int) *Rollouts {
	return &Rollouts{
		Problems: r.Problems[from:to],
		Requests: r.Requests[from:to],
		Groups:   r.Groups[from:to],
	}
}
