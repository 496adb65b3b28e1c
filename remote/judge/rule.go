package judge

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
)

// The reasons of scores without a value.
const (
	cannotTell   = "the judge cannot tell"
	notConfident = "the judge is not confident"
	split        = "the judge's votes are split"
)

// Rule returns the rule for every step of a template, and for completions as a whole,
// that asks the judge. It scores 1 where the judge says correct and 0 where it says
// incorrect; see the package comment for all else. For UnitGroup it is a
// reward.GroupRule.
//
// A step that the policy broke is not sent and is unscorable, "broken step: ". The
// error is ErrBudget, or what Settings.Service makes of a failed judgement.
//
// The rule has a method Probe, the judge's, which relevance.Train calls before it trains.
//
// Rule panics if j or t is nil.
func Rule[E any](j *Judge, t *prompt.Template[E]) reward.Rule[E] {
	if j == nil || t == nil {
		panic("judge: Rule needs a judge and a template")
	}
	r := &rule[E]{judge: j, template: t}
	// Each vote is a rule of its own, so that the cache and the retries of the
	// service are per vote.
	for vote := range j.set.Votes {
		r.one = append(r.one, r.through(vote, func(traces []*prompt.Trace, step int) []place {
			places := make([]place, len(traces))
			for i, trace := range traces {
				places[i] = place{trace, step}
			}
			return places
		}))
		// All steps of a completion are to package reward a group of as many
		// traces.
		r.all = append(r.all, r.through(vote, func(traces []*prompt.Trace, _ int) []place {
			places := make([]place, len(traces))
			for i, trace := range traces {
				places[i] = place{trace, i}
			}
			return places
		}))
	}
	switch j.set.Unit {
	case UnitCompletion:
		return perCompletion[E]{r}
	case UnitGroup:
		return perGroup[E]{r}
	}
	return r
}

// rule asks about one step at a time.
type rule[E any] struct {
	judge    *Judge
	template *prompt.Template[E]
	// one asks about the same step of each trace, all about step i of trace i; per
	// vote.
	one, all []reward.Rule[E]
}

// place is a text to judge: a step of a trace, or all of it.
type place struct {
	trace *prompt.Trace
	step  int
}

func (p place) text() string {
	if p.step == reward.WholeCompletion {
		return p.trace.Text
	}
	s := p.trace.Steps[p.step].Bytes
	return p.trace.Text[s.Start:s.End]
}

func (p place) broken() bool {
	return p.step != reward.WholeCompletion && p.trace.Steps[p.step].Status != prompt.StatusOK
}

// through returns the rule of one vote, which makes one call, by way of the service.
func (r *rule[E]) through(vote int, places func(traces []*prompt.Trace, step int) []place) reward.Rule[E] {
	ask := func(ctx context.Context, example E, traces []*prompt.Trace, step int) ([]reward.Score, error) {
		return r.call(ctx, vote, example, places(traces, step))
	}
	key := func(example E, trace *prompt.Trace, step int) string {
		q := question{Input: quoted(r.template.Input(example))}
		how := "" // each step is, as a broken one may have the text of one that is not
		for i := range trace.Steps {
			if step == reward.WholeCompletion || i == step {
				q.Items = append(q.Items, newItem(r.template, example, trace, i))
				how += trace.Steps[i].Status.String() + "\n"
			}
		}
		if step == reward.WholeCompletion {
			q.Items = append(q.Items, newItem(r.template, example, trace, step))
		}
		return how + string(q.json())
	}
	return reward.Through(r.judge.service, reward.GroupRuleFunc[E](ask), key)
}

// call asks once about all places that there is something to ask about.
func (r *rule[E]) call(ctx context.Context, vote int, example E, places []place) ([]reward.Score, error) {
	scores := make([]reward.Score, len(places))
	q := question{Input: quoted(r.template.Input(example))}
	var at []int // the place of each item
	for i, p := range places {
		switch {
		case p.broken():
			scores[i] = reward.Unscorable("broken step: " + p.trace.Steps[p.step].Status.String())
		case len(p.text()) > r.judge.set.MaxText:
			scores[i] = reward.Score{Value: 0}
		default:
			at = append(at, i)
			q.Items = append(q.Items, newItem(r.template, example, p.trace, p.step))
		}
	}
	if len(at) == 0 {
		return scores, nil
	}
	q.number(r.judge.set.Seed + int64(vote))
	opinions, err := r.judge.ask(ctx, q, vote)
	if err != nil {
		return nil, err
	}
	for k, o := range opinions {
		if r.judge.set.Observe != nil {
			r.judge.set.Observe(o)
		}
		switch {
		case o.Verdict == rollout.VerdictUnknown:
			scores[at[k]] = reward.Unscorable(cannotTell)
		case o.Confidence < r.judge.set.MinConfidence:
			scores[at[k]] = reward.Unscorable(notConfident)
		case o.Verdict == rollout.VerdictCorrect:
			scores[at[k]] = reward.Score{Value: 1}
		}
	}
	return scores, nil
}

// majority asks the rules of the votes, one after the other, until every score is
// decided.
func (r *rule[E]) majority(ctx context.Context, votes []reward.Rule[E], example E, traces []*prompt.Trace, step int) ([]reward.Score, error) {
	if len(traces) == 0 {
		return nil, nil
	}
	for _, trace := range traces {
		if len(trace.Steps) != len(r.template.Steps) {
			panic(fmt.Sprintf("judge: the trace has %d steps, but the template %d", len(trace.Steps), len(r.template.Steps)))
		}
	}
	var tally [][]reward.Score // per vote
	for left := len(votes) - 1; left >= 0; left-- {
		scores, err := reward.ScoreGroup(ctx, votes[len(tally)], example, traces, step)
		if r.judge.spent.Load() && (err != nil || slices.ContainsFunc(scores, func(s reward.Score) bool { return !s.Scorable() })) {
			// Whatever the service makes of a failure.
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if !errors.Is(err, ErrBudget) || errors.Is(err, reward.ErrDrop) {
				err = ErrBudget
			}
		}
		if err != nil {
			return nil, err
		}
		tally = append(tally, scores)
		decided := true
		for i := range traces {
			_, done := decide(tally, i, len(votes))
			decided = decided && done
		}
		if decided {
			break
		}
	}
	out := make([]reward.Score, len(traces))
	for i := range out {
		out[i], _ = decide(tally, i, len(votes))
	}
	return out, nil
}

// decide returns the score of item i after the votes of the tally, and whether further
// votes cannot change it.
func decide(tally [][]reward.Score, i, votes int) (reward.Score, bool) {
	var correct, incorrect int
	for _, scores := range tally {
		switch {
		case !scores[i].Scorable():
		case scores[i].Value == 1:
			correct++
		default:
			incorrect++
		}
	}
	left := votes - len(tally)
	switch {
	case 2*correct > votes:
		return reward.Score{Value: 1}, true
	case 2*incorrect > votes:
		return reward.Score{Value: 0}, true
	case correct+incorrect == 0:
		return tally[len(tally)-1][i], 2*left <= votes
	}
	return reward.Unscorable(split), 2*(max(correct, incorrect)+left) <= votes
}

// Probe is the judge's.
func (r *rule[E]) Probe(ctx context.Context) error { return r.judge.Probe(ctx) }

// Score implements reward.Rule.
func (r *rule[E]) Score(ctx context.Context, example E, trace *prompt.Trace, step int) (reward.Score, error) {
	scores, err := r.majority(ctx, r.one, example, []*prompt.Trace{trace}, step)
	if err != nil {
		return reward.Score{}, err
	}
	return scores[0], nil
}

type perCompletion[E any] struct{ *rule[E] }

// Score asks about all steps at once. The other steps' scores wait in the cache, or are
// asked for at the same time and shared.
func (r perCompletion[E]) Score(ctx context.Context, example E, trace *prompt.Trace, step int) (reward.Score, error) {
	if step == reward.WholeCompletion {
		return r.rule.Score(ctx, example, trace, step)
	}
	traces := slices.Repeat([]*prompt.Trace{trace}, len(trace.Steps))
	scores, err := r.majority(ctx, r.all, example, traces, reward.WholeCompletion)
	if err != nil {
		return reward.Score{}, err
	}
	return scores[step], nil
}

type perGroup[E any] struct{ *rule[E] }

// ScoreGroup implements reward.GroupRule.
func (r perGroup[E]) ScoreGroup(ctx context.Context, example E, traces []*prompt.Trace, step int) ([]reward.Score, error) {
	return r.majority(ctx, r.one, example, traces, step)
}
