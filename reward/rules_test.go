package reward_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
)

type example struct {
	gold  string
	place bool
}

var parser = prompt.Boxed{}.Parser([]prompt.StepSpec{{Name: "topic"}, {Name: "grade", Answers: []string{"-1", "0", "1", "2", "3", "x"}}})

// parse parses a completion whose tokens are single bytes.
func parse(text string) *prompt.Trace {
	ends := make([]int, len(text))
	for i := range ends {
		ends[i] = i + 1
	}
	t := parser.Parse(text, ends)
	return &t
}

func score(t *testing.T, rule reward.Rule[example], e example, text string, step int) reward.Score {
	t.Helper()
	s, err := rule.Score(context.Background(), e, parse(text), step)
	require.NoError(t, err)
	return s
}

func value(v float64) reward.Score { return reward.Score{Value: v} }

func gold(e example) string { return e.gold }

func TestExactLabel(t *testing.T) {
	rule := reward.ExactLabel(gold)
	assert.Equal(t, value(1), score(t, rule, example{gold: "2"}, `\boxed{a}\boxed{2}`, reward.WholeCompletion))
	assert.Equal(t, value(0), score(t, rule, example{gold: "3"}, `\boxed{a}\boxed{2}`, reward.WholeCompletion))
	assert.Equal(t, value(1), score(t, rule, example{gold: "a"}, `\boxed{a}\boxed{2}`, 0))
	for _, label := range []string{"2\r", " 2", "2\r\n", "\n2\t", "\u00a02\u2028"} {
		assert.Equal(t, value(1), score(t, rule, example{gold: label}, `\boxed{a}\boxed{ 2 }`, reward.WholeCompletion), "%q", label)
	}
	assert.Equal(t, value(0), score(t, rule, example{gold: "a b"}, `\boxed{ab}\boxed{2}`, 0), "white space inside counts")
	assert.Equal(t, reward.Unscorable("no gold label"), score(t, rule, example{gold: " \r\n"}, `\boxed{a}\boxed{2}`, reward.WholeCompletion))
	assert.Equal(t, reward.Unscorable("no gold label"), score(t, rule, example{}, `\boxed{a}\boxed{2}`, reward.WholeCompletion))
	assert.Equal(t, reward.Unscorable("broken step: missing"), score(t, rule, example{gold: "2"}, `\boxed{a}`, reward.WholeCompletion))
	assert.Equal(t, reward.Unscorable("broken step: invalid answer"), score(t, rule, example{gold: "2"}, `\boxed{a}\boxed{7}`, 1))
	for _, step := range []int{-2, 2} {
		assert.Panics(t, func() { score(t, rule, example{}, "", step) })
	}
}

func TestGradedDistance(t *testing.T) {
	rule := reward.GradedDistance(gold, -1, 3)
	for answer, want := range map[string]float64{"2": 1, "3": .75, "0": .5, "-1": .25} {
		assert.Equal(t, value(want), score(t, rule, example{gold: "2"}, `\boxed{a}\boxed{`+answer+`}`, reward.WholeCompletion), answer)
	}
	for _, answer := range []string{"good", "x", "4", "-1.01", "NaN", "nan", "Inf", "-inf", "0x1p1", "0x2", "1_0", "1e0", "2e-1", "+-2", "--2", "2,0", "1 2", "2%", "2.0.0", ".", "+", "٢", "２", "1/2", "two", "2 stars", "\\text{2}", "9999999999999999999999"} {
		assert.Equal(t, value(0), score(t, rule, example{gold: "2"}, `\boxed{`+answer+`}\boxed{1}`, 0), answer)
	}
	for _, answer := range []string{"2", "2.0", "+2", "02", " 2 ", "2.", "2.00"} {
		assert.Equal(t, value(1), score(t, rule, example{gold: "2"}, `\boxed{`+answer+`}\boxed{1}`, 0), answer)
	}
	for _, label := range []string{" 2", "2\r", "2\r\n", "\t2.0\n", "\u00a02\u3000"} {
		assert.Equal(t, value(1), score(t, rule, example{gold: label}, `\boxed{2}\boxed{1}`, 0), "%q", label)
	}
	for _, label := range []string{"", " ", "\r\n"} {
		assert.Equal(t, reward.Unscorable("no gold label"), score(t, rule, example{gold: label}, `\boxed{a}\boxed{1}`, reward.WholeCompletion), "%q", label)
	}
	for _, label := range []string{"4", "good", "NaN", "1_0", "0x1"} {
		for _, answer := range []string{"1", "good"} {
			assert.Equal(t, reward.Unscorable("gold label is not on the scale"), score(t, rule, example{gold: label}, `\boxed{`+answer+`}\boxed{1}`, 0), label)
		}
	}
	assert.Equal(t, reward.Unscorable("broken step: truncated"), score(t, rule, example{gold: "2"}, `\boxed{a}\boxed{1`, reward.WholeCompletion))
	assert.Panics(t, func() { reward.GradedDistance(gold, 1, 1) })
	assert.Panics(t, func() { reward.GradedDistance(gold, 0, math.Inf(1)) })
}

func TestFormat(t *testing.T) {
	for text, want := range map[string]struct{ share, strict float64 }{
		`\boxed{a}\boxed{2}`:          {1, 1},
		`\boxed{a}\boxed{7}`:          {.5, 0},
		`\boxed{a}`:                   {.5, 0},
		``:                            {0, 0},
		`\boxed{a}\boxed{2}\boxed{2}`: {2. / 3, 0},
	} {
		assert.Equal(t, value(want.share), score(t, reward.FormatShare[example](), example{}, text, reward.WholeCompletion), text)
		assert.Equal(t, value(want.strict), score(t, reward.FormatStrict[example](), example{}, text, reward.WholeCompletion), text)
	}
	for _, rule := range []reward.Rule[example]{reward.FormatShare[example](), reward.FormatStrict[example]()} {
		assert.Equal(t, value(1), score(t, rule, example{}, `\boxed{a}\boxed{7}`, 0))
		assert.Equal(t, value(0), score(t, rule, example{}, `\boxed{a}\boxed{7}`, 1))
	}
}

func TestLength(t *testing.T) {
	text := `\boxed{a}\boxed{2}.` // 19 tokens, of which 9 and 9 in steps
	for want, limits := range map[float64][2]int{1: {19, 19}, 0: {18, 18}, .5: {17, 21}, .25: {10, 22}} {
		assert.Equal(t, value(want), score(t, reward.Length[example](limits[0], limits[1]), example{}, text, reward.WholeCompletion), "%v", limits)
	}
	assert.Equal(t, value(1), score(t, reward.Length[example](9, 12), example{}, text, 1))
	assert.Equal(t, value(.75), score(t, reward.Length[example](8, 12), example{}, text, 0))
	assert.Equal(t, value(1), score(t, reward.Length[example](9, 12), example{}, "", reward.WholeCompletion))
	assert.Equal(t, reward.Unscorable("broken step: missing"), score(t, reward.Length[example](9, 12), example{}, `\boxed{a}`, 1))
	trace := parser.Parse(text, nil)
	s, err := reward.Length[example](1, 2).Score(context.Background(), example{}, &trace, reward.WholeCompletion)
	assert.NoError(t, err)
	assert.Equal(t, reward.Unscorable("no token offsets"), s)
	assert.Panics(t, func() { reward.Length[example](3, 2) })
	assert.Panics(t, func() { reward.Length[example](-1, 2) })
}

// lengthOf parses a completion of n tokens.
func lengthOf(n int) *prompt.Trace { return parse(strings.Repeat(".", n)) }

func TestSoftOverlong(t *testing.T) {
	capped := reward.Overlong{Max: 100, Buffer: 20}
	uncapped := reward.Overlong{Max: 100, Buffer: 20, Factor: .5, Uncapped: true}
	for n, want := range map[int][2]float64{
		// TRL's get_soft_overlong_punishment(100, 20); verl's
		// min(-exceed/20*0.5, 0)
		0: {0, 0}, 80: {0, 0}, 81: {-.05, -.025}, 90: {-.5, -.25}, 100: {-1, -.5}, 101: {-1, -.525}, 140: {-1, -1.5},
	} {
		for i, o := range []reward.Overlong{capped, uncapped} {
			s, err := reward.SoftOverlong[example](o).Score(context.Background(), example{}, lengthOf(n), reward.WholeCompletion)
			require.NoError(t, err)
			assert.InDelta(t, want[i], s.Value, 1e-15, "%d tokens, %+v", n, o)
		}
	}
	step := reward.SoftOverlong[example](reward.Overlong{Max: 5, Factor: 2})
	for n, want := range map[int]float64{5: 0, 6: -2} {
		s, err := step.Score(context.Background(), example{}, lengthOf(n), reward.WholeCompletion)
		require.NoError(t, err)
		assert.Equal(t, want, s.Value, "without a buffer")
	}
}

func TestSoftOverlongOfAStep(t *testing.T) {
	rule := reward.SoftOverlong[example](reward.Overlong{Max: 10, Buffer: 2})
	assert.Equal(t, value(-.5), score(t, rule, example{}, `\boxed{a}\boxed{2}`, 1)) // 9 tokens
	assert.Equal(t, reward.Unscorable("broken step: missing"), score(t, rule, example{}, `\boxed{a}`, 1))
	trace := parser.Parse("text", nil)
	s, err := rule.Score(context.Background(), example{}, &trace, reward.WholeCompletion)
	require.NoError(t, err)
	assert.Equal(t, reward.Unscorable("no token offsets"), s)
}

func TestInvalidOverlong(t *testing.T) {
	for _, o := range []reward.Overlong{
		{}, {Max: 5, Buffer: 6}, {Max: 5, Buffer: -1}, {Max: 5, Factor: -1}, {Max: 5, Factor: math.NaN()}, {Max: 5, Factor: math.Inf(1)}, {Max: 5, Uncapped: true},
	} {
		assert.Error(t, o.Validate(), "%+v", o)
		assert.Panics(t, func() { reward.SoftOverlong[example](o) }, "%+v", o)
	}
}

func TestArithmetic(t *testing.T) {
	rule := reward.Arithmetic[example]()
	text := `6*2=12, 6+2=9 \boxed{a} so 12+1=13 \boxed{2}`
	assert.Equal(t, value(.5), score(t, rule, example{}, text, 0))
	assert.Equal(t, value(1), score(t, rule, example{}, text, 1))
	assert.Equal(t, value(2./3), score(t, rule, example{}, text, reward.WholeCompletion))
	assert.Equal(t, reward.Unscorable("no equation"), score(t, rule, example{}, `\boxed{a}\boxed{2}`, 0))
	assert.Equal(t, reward.Unscorable("broken step: truncated"), score(t, rule, example{}, `6*2=12`, 0))
	assert.Equal(t, value(1), score(t, rule, example{}, `6*2=12`, reward.WholeCompletion))
}

func TestPredicate(t *testing.T) {
	rule := reward.Predicate(
		prompt.Criterion[example]{Name: "place", When: func(e example) bool { return e.place }},
		func(e example, s *prompt.Span, text string) bool { return s.Answer == e.gold && text != "" },
	)
	assert.Equal(t, value(1), score(t, rule, example{gold: "a", place: true}, `\boxed{a}\boxed{2}`, 0))
	assert.Equal(t, value(0), score(t, rule, example{gold: "a", place: true}, `\boxed{a}\boxed{2}`, reward.WholeCompletion))
	assert.Equal(t, reward.Unscorable("criterion does not apply"), score(t, rule, example{gold: "a"}, `\boxed{a}\boxed{2}`, 0))
	assert.Equal(t, reward.Unscorable("broken step: missing"), score(t, rule, example{place: true}, "", 0))
}

// constant is a rule that says the same of everything.
func constant(s reward.Score, err error) reward.Rule[example] {
	return reward.RuleFunc[example](func(context.Context, example, *prompt.Trace, int) (reward.Score, error) { return s, err })
}

func TestCombine(t *testing.T) {
	part := func(name string, weight float64, optional bool, s reward.Score) reward.Part[example] {
		return reward.Part[example]{Name: name, Rule: constant(s, nil), Weight: weight, Optional: optional}
	}
	none := reward.Unscorable("no gold label")
	failed := reward.Score{Reason: "judge failed", Err: errDown}
	for name, c := range map[string]struct {
		parts []reward.Part[example]
		want  reward.Score
	}{
		"weighted mean":             {[]reward.Part[example]{part("a", 3, false, value(1)), part("b", 1, false, value(0))}, value(.75)},
		"all ones stay one":         {[]reward.Part[example]{part("a", .1, false, value(1)), part("b", .2, true, value(1))}, value(1)},
		"optional leaves both sums": {[]reward.Part[example]{part("a", 3, false, value(.5)), part("b", 1, true, none)}, value(.5)},
		"required is passed on":     {[]reward.Part[example]{part("a", 3, false, value(1)), part("b", 1, false, none)}, reward.Unscorable("b: no gold label")},
		"nothing left":              {[]reward.Part[example]{part("a", 3, true, none), part("b", 1, true, none)}, reward.Unscorable("no part is scorable")},
		"a failure is passed on":    {[]reward.Part[example]{part("a", 3, false, failed)}, reward.Score{Reason: "a: judge failed", Err: errDown}},
		"nothing left but failures": {[]reward.Part[example]{part("a", 3, true, none), part("b", 1, true, failed)}, reward.Score{Reason: "no part is scorable", Err: errDown}},
	} {
		assert.Equal(t, c.want, score(t, reward.Combine(c.parts...), example{}, "", reward.WholeCompletion), name)
	}
}

// A policy must not escape an optional part by breaking its answer.
func TestCombineKeepsBrokenParts(t *testing.T) {
	inner := reward.Combine(reward.Part[example]{Name: "exact", Rule: reward.ExactLabel(gold), Weight: 1, Optional: true})
	for name, rule := range map[string]reward.Rule[example]{"grade": reward.GradedDistance(gold, 0, 3), "inner": inner} {
		combined := reward.Combine(
			reward.Part[example]{Name: "form", Rule: reward.FormatShare[example](), Weight: 1},
			reward.Part[example]{Name: name, Rule: rule, Weight: 9, Optional: true},
		)
		assert.Equal(t, value(1), score(t, combined, example{gold: "2"}, `\boxed{a}\boxed{2}`, reward.WholeCompletion))
		assert.Equal(t, value(1), score(t, combined, example{}, `\boxed{a}\boxed{2}`, reward.WholeCompletion), "no gold label")
		s := score(t, combined, example{gold: "2"}, `\boxed{a}\boxed{7}`, reward.WholeCompletion)
		assert.False(t, s.Scorable())
		assert.Contains(t, s.Reason, "broken step: invalid answer")
	}
}

// ranks scores completions by the length of their text, the longest 1.
var ranks = reward.GroupRuleFunc[example](func(_ context.Context, _ example, traces []*prompt.Trace, _ int) ([]reward.Score, error) {
	scores := make([]reward.Score, len(traces))
	for i, a := range traces {
		longest := 1.
		for _, b := range traces {
			if len(b.Text) > len(a.Text) {
				longest = 0
			}
		}
		scores[i] = value(longest)
	}
	return scores, nil
})

func TestScoreGroup(t *testing.T) {
	group := []*prompt.Trace{parse(`\boxed{a}\boxed{2}`), parse(`so \boxed{a}\boxed{3}`), parse(`\boxed{a}`)}
	ctx := context.Background()
	scores, err := reward.ScoreGroup[example](ctx, ranks, example{}, group, reward.WholeCompletion)
	require.NoError(t, err)
	assert.Equal(t, []reward.Score{value(0), value(1), value(0)}, scores)
	alone, err := ranks.Score(ctx, example{}, group[2], reward.WholeCompletion)
	require.NoError(t, err)
	assert.Equal(t, value(1), alone, "the longest of one")

	scores, err = reward.ScoreGroup(ctx, reward.ExactLabel(gold), example{gold: "2"}, group, reward.WholeCompletion)
	require.NoError(t, err)
	assert.Equal(t, []reward.Score{value(1), value(0), reward.Unscorable("broken step: missing")}, scores)

	down := errors.New("service down")
	for want, rule := range map[string]reward.Rule[example]{
		"returned 1 scores for 3 completions": reward.GroupRuleFunc[example](func(context.Context, example, []*prompt.Trace, int) ([]reward.Score, error) {
			return make([]reward.Score, 1), nil
		}),
		"completion 2 the score NaN": reward.GroupRuleFunc[example](func(context.Context, example, []*prompt.Trace, int) ([]reward.Score, error) {
			return []reward.Score{{}, {}, value(math.NaN())}, nil
		}),
		"completion 0: service down": constant(reward.Score{}, down),
		"service down": reward.GroupRuleFunc[example](func(context.Context, example, []*prompt.Trace, int) ([]reward.Score, error) {
			return nil, down
		}),
	} {
		_, err := reward.ScoreGroup(ctx, rule, example{}, group, reward.WholeCompletion)
		assert.ErrorContains(t, err, want)
	}
	assert.Panics(t, func() { reward.Combine(reward.Part[example]{Name: "rank", Rule: ranks, Weight: 1}) })
}

func TestCombineErrors(t *testing.T) {
	down := errors.New("service down")
	combined := reward.Combine(reward.Part[example]{Name: "svc", Rule: constant(reward.Score{}, down), Weight: 1})
	_, err := combined.Score(context.Background(), example{}, parse(""), reward.WholeCompletion)
	assert.ErrorIs(t, err, down)
	assert.ErrorContains(t, err, `part "svc"`)

	combined = reward.Combine(reward.Part[example]{Name: "nan", Rule: constant(value(math.NaN()), nil), Weight: 1})
	_, err = combined.Score(context.Background(), example{}, parse(""), reward.WholeCompletion)
	assert.ErrorContains(t, err, `part "nan": the score NaN is not finite`)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = combined.Score(ctx, example{}, parse(""), reward.WholeCompletion)
	assert.ErrorIs(t, err, context.Canceled)

	rule := constant(value(1), nil)
	for _, bad := range [][]reward.Part[example]{
		nil, {{Rule: rule, Weight: 1}}, {{Name: "a", Weight: 1}}, {{Name: "a", Rule: rule}}, {{Name: "a", Rule: rule, Weight: math.NaN()}},
		{{Name: "a", Rule: rule, Weight: math.Inf(1)}}, {{Name: "a", Rule: rule, Weight: 1}, {Name: "a", Rule: rule, Weight: 1}},
	} {
		assert.Panics(t, func() { reward.Combine(bad...) })
	}
}

// A run that goes on in another process goes on counting.
func TestCounterIsRestored(t *testing.T) {
	var first, second reward.Counter
	first.Add("topic", reward.Unscorable("no truth"), nil)
	first.Add("topic", reward.Score{Value: 1}, nil)
	saved := first.Tallies()
	second.Add("place", reward.Score{}, errors.New("lost"))
	second.Restore(saved)
	second.Add("topic", reward.Unscorable("no truth"), nil)
	require.Equal(t, map[string]reward.Tally{"topic": {Scored: 1, Unscorable: map[string]int{"no truth": 2}}}, second.Tallies())
	require.Equal(t, 1, saved["topic"].Unscorable["no truth"], "the caller's map stays as it is")
}

func TestCounter(t *testing.T) {
	var c reward.Counter
	assert.Empty(t, c.Tallies())
	rules := map[string]reward.Rule[example]{"exact": reward.ExactLabel(gold), "failing": constant(reward.Score{}, errors.New("down"))}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			text := `\boxed{a}\boxed{2}`
			if i < 10 {
				text = ""
			}
			label := "2"
			if i >= 70 {
				label = ""
			}
			for name, rule := range rules {
				s, err := rule.Score(context.Background(), example{gold: label}, parse(text), reward.WholeCompletion)
				c.Add(name, s, err)
			}
			c.Tallies()
		})
	}
	wg.Wait()
	want := map[string]reward.Tally{
		"exact":   {Scored: 60, Unscorable: map[string]int{"no gold label": 30, "broken step: missing": 10}},
		"failing": {Failed: 100},
	}
	assert.Equal(t, want, c.Tallies())
	c.Tallies()["exact"].Unscorable["no gold label"] = 0
	assert.Equal(t, want, c.Tallies(), "the caller's copy is its own")
}

func TestUnscorableNeedsAReason(t *testing.T) {
	assert.Panics(t, func() { reward.Unscorable("") })
	assert.False(t, reward.Unscorable("x").Scorable())
	assert.EqualError(t, reward.Unscorable("x").Cause(), "x")
	assert.NoError(t, value(0).Cause())
	assert.True(t, reward.Score{}.Scorable())
}
