package reward

import (
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/prompt"
)

// GroupRule is an optional interface of a Rule that must see all completions of
// an example at once, such as a judge that ranks them. Ask rules through
// [ScoreGroup], which finds it.
type GroupRule[E any] interface {
	Rule[E]
	// ScoreGroup judges the same step of every trace, or each trace as a whole if
	// step is WholeCompletion, and returns one score per trace, in the same order.
	// The rules of Rule.Score apply. A trace whose step is broken gets an
	// unscorable score and must not change the scores of the others.
	ScoreGroup(ctx context.Context, example E, traces []*prompt.Trace, step int) ([]Score, error)
}

// GroupRuleFunc makes a GroupRule of a function.
type GroupRuleFunc[E any] func(ctx context.Context, example E, traces []*prompt.Trace, step int) ([]Score, error)

// ScoreGroup calls f.
func (f GroupRuleFunc[E]) ScoreGroup(ctx context.Context, example E, traces []*prompt.Trace, step int) ([]Score, error) {
	return f(ctx, example, traces, step)
}

// Score calls f with a group of one.
func (f GroupRuleFunc[E]) Score(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
	scores, err := ScoreGroup[E](ctx, f, example, []*prompt.Trace{trace}, step)
	if err != nil {
		return Score{}, err
	}
	return scores[0], nil
}

// ScoreGroup returns a rule's score of the same step for every trace: in one call
// if the rule is a [GroupRule], else one by one. It is an error if a GroupRule
// returns another number of scores, or a score that is not finite.
func ScoreGroup[E any](ctx context.Context, rule Rule[E], example E, traces []*prompt.Trace, step int) ([]Score, error) {
	if g, ok := rule.(GroupRule[E]); ok {
		scores, err := g.ScoreGroup(ctx, example, traces, step)
		if err != nil {
			return nil, err
		}
		if len(scores) != len(traces) {
			return nil, fmt.Errorf("reward: a GroupRule returned %d scores for %d completions", len(scores), len(traces))
		}
		for i, s := range scores {
			if s.Scorable() && (math.IsNaN(s.Value) || math.IsInf(s.Value, 0)) {
				return nil, fmt.Errorf("reward: a GroupRule gave completion %d the score %v, which is not finite", i, s.Value)
			}
		}
		return scores, nil
	}
	scores := make([]Score, len(traces))
	for i, trace := range traces {
		s, err := rule.Score(ctx, example, trace, step)
		if err != nil {
			return nil, fmt.Errorf("reward: completion %d: %w", i, err)
		}
		scores[i] = s
	}
	return scores, nil
}
