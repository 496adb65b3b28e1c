package rl

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// mean is a running mean.
type mean struct{ sum, n float64 }

func (m *mean) add(v float64) { m.sum += v; m.n++ }

func (m *mean) addBool(v bool) {
	if v {
		m.sum++
	}
	m.n++
}

// Summarize describes judged rollouts as metrics. A metric without any
// observation is omitted, not reported as 0.
//
//	reward/<k>             mean of outcome reward k over the completions that have
//	                       it; k is its name if the problems are Named
//	reward/<k>/unscorable  share of completions that do not have it
//	step/<name>/correct    share of correct steps among those that are not unknown
//	step/<name>/unknown    share of steps that no rule could judge
//	step/<name>/broken     share of steps that the policy broke
//	malformed              share of completions that deviate from the template
//	right_answer_wrong_step
//	                       share, of the completions with steps and a first reward
//	                       that is not NaN, of those whose first reward is at
//	                       least 1 and that have an incorrect or broken step
//	right_answer_after_right_steps
//	                       share of right answers (first reward at least 1) among the
//	                       completions that have steps before the final one, none of
//	                       them incorrect or broken; omitted, as all, if there is none
//	tokens                 completion tokens; tokens/mean per completion
//	truncated              share of completions that reached the length limit
//	failed                 samples that the engine could not deliver
//	unjudged               samples that the judge dropped (reward.ErrDrop)
func Summarize(r *Rollouts) map[string]float64 {
	means := map[string]*mean{}
	at := func(name string) *mean {
		if means[name] == nil {
			means[name] = &mean{}
		}
		return means[name]
	}
	tokens := 0
	for g := range r.Groups {
		for i := range r.Groups[g] {
			c := &r.Groups[g][i]
			tokens += len(c.Tokens)
			at("tokens/mean").add(float64(len(c.Tokens)))
			at("malformed").addBool(c.Malformed)
			at("truncated").addBool(c.Finish == rollout.FinishLength)
			for k, v := range c.Rewards {
				name := "reward/" + rewardName(r.Problems, g, k)
				if !math.IsNaN(v) {
					at(name).add(v)
				}
				at(name + "/unscorable").addBool(math.IsNaN(v))
			}
			wrong, before, wrongBefore := false, false, false // before the final step
			for _, s := range c.Steps {
				wrong = wrong || s.Verdict.Wrong()
				before = before || !s.Final
				wrongBefore = wrongBefore || !s.Final && s.Verdict.Wrong()
				name := "step/" + s.Label()
				if s.Verdict.Known() {
					at(name + "/correct").addBool(s.Verdict == rollout.VerdictCorrect)
				}
				at(name + "/unknown").addBool(!s.Verdict.Known())
				at(name + "/broken").addBool(s.Verdict == rollout.VerdictBroken)
			}
			if len(c.Rewards) > 0 && !math.IsNaN(c.Rewards[0]) && len(c.Steps) > 0 {
				right := c.Rewards[0] >= 1
				at("right_answer_wrong_step").addBool(right && wrong)
				if before && !wrongBefore {
					at("right_answer_after_right_steps").addBool(right)
				}
			}
		}
	}
	m := map[string]float64{"tokens": float64(tokens), "failed": float64(r.Failed), "unjudged": float64(r.Unjudged)}
	for name, v := range means {
		if v.n > 0 {
			m[name] = v.sum / v.n
		}
	}
	return m
}

// LiveShare is the share of live groups, as the estimator defines them
// (advantage.Estimator.Dead); NaN without any group.
func (r *Rollouts) LiveShare(est advantage.Estimator) float64 {
	var live mean
	for _, g := range r.Groups {
		live.addBool(est.Dead(g) == "")
	}
	return live.sum / live.n
}

// rewardName is the name of outcome reward k of problem g: its number, unless
// the problem is Named.
func rewardName(problems []Problem, g, k int) string {
	if g < len(problems) {
		if n, ok := problems[g].(Named); ok {
			if names := n.RewardNames(); k < len(names) {
				return names[k]
			}
		}
	}
	return strconv.Itoa(k)
}

// creditMetrics adds what step credit did; see Trainer.Step.
func creditMetrics(m map[string]float64, s sam.Stats) {
	for name, st := range s.Steps {
		if n := st.Kept + st.Masked; n > 0 {
			m["credit/"+name+"/masked"] = float64(st.Masked) / float64(n)
		}
		if st.MassBefore > 0 {
			m["credit/"+name+"/mass_kept"] = st.MassAfter / st.MassBefore
		}
	}
	if s.Completions > 0 {
		m["credit/fully_masked"] = float64(s.FullyMasked) / float64(s.Completions)
	}
}

func (u *UpdateInfo) metrics(m map[string]float64) {
	m["optimizer_steps"], m["skipped"] = float64(u.OptimSteps), float64(u.Skipped)
	if u.OptimSteps > 0 {
		m["loss"] = u.Loss
	}
	if u.OptimSteps > u.Skipped {
		m["grad_norm"] = u.GradNorm
	}
	for k, v := range u.Metrics {
		if v.Count > 0 {
			m["objective/"+k] = v.Mean()
		}
	}
}

// EvaluateProblems samples and judges problems without training, and returns
// them with their Summarize. The same seed gives the same random streams each
// time. It is often all that Config.Eval needs:
//
//	Eval: func(ctx context.Context, _ int64) (map[string]float64, error) {
//		_, m, err := rl.EvaluateProblems(ctx, engine, test, seed)
//		return m, err
//	},
//
// Of a MixedEngine it is Policy that is evaluated.
func EvaluateProblems(ctx context.Context, e rollout.Engine, problems []Problem, seed uint64, opts ...CollectOption) (*Rollouts, map[string]float64, error) {
	if m, ok := e.(*MixedEngine); ok {
		if err := m.Validate(); err != nil {
			return nil, nil, err
		}
		e = m.Policy
	}
	r, err := Collect(ctx, e, problems, [2]uint64{seed, math.MaxUint64}, opts...)
	if err != nil {
		return nil, nil, err
	}
	return r, Summarize(r), nil
}

// Pairs returns the labels of the rollouts as package eval takes them: one pair per
// completion, in the order of the groups. labels are all labels in ascending order,
// and a pair holds indices of them. A final answer that is broken or no label is -1,
// which counts as wrong in eval.Accuracy; eval.Answered leaves such pairs out for
// metrics that take labels as numbers. gold returns a problem's true label, for a
// problem of package task from its example:
//
//	gold := func(p rl.Problem) string { return p.(*task.Bound[pair]).Example().Label }
//
// A true label that is not in the list, and a completion that was never parsed, are
// errors that name the request.
func (r *Rollouts) Pairs(labels []string, gold func(Problem) string) ([]eval.Pair, error) {
	var pairs []eval.Pair
	for g, p := range r.Problems {
		label := gold(p)
		pair := eval.Pair{Gold: slices.Index(labels, label)}
		if pair.Gold < 0 {
			return nil, fmt.Errorf("rl: the true label of %s is %q, want one of %q", r.name(g), label, labels)
		}
		for i := range r.Groups[g] {
			c := &r.Groups[g][i]
			if c.Trace == nil {
				return nil, fmt.Errorf("rl: sample %d of %s has no trace: its problem does not parse completions", c.Index, r.name(g))
			}
			pair.Pred = -1
			if answer, ok := c.Trace.FinalAnswer(); ok {
				pair.Pred = slices.Index(labels, answer)
			}
			pairs = append(pairs, pair)
		}
	}
	return pairs, nil
}
