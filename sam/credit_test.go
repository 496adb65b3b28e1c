package sam_test

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

var everyCredit = map[string]sam.Credit{
	"outcome":              sam.Outcome{},
	"mask":                 sam.Mask{},
	"mask, leaks":          sam.Mask{LeakPositive: .25, LeakNegative: .5},
	"mask, negative leak":  sam.Mask{LeakPositive: -.5},
	"mask, positive only":  sam.Mask{Sign: sam.SignPositive},
	"mask, final":          sam.Mask{MaskFinal: true},
	"mask, rescaled":       sam.Mask{Rescale: 3},
	"prefix":               sam.Prefix{},
	"prefix, positive":     sam.Prefix{Mask: sam.Mask{Sign: sam.SignPositive, MaskFinal: true}},
	"step-group":           sam.StepGroup{Norm: advantage.GRPO{Epsilon: 1e-4}},
	"step-loo":             sam.StepGroup{Norm: advantage.RLOO{}},
	"return-to-go":         sam.ReturnToGo{Norm: advantage.GRPO{Epsilon: 1e-4}},
	"blend":                sam.Blend{A: sam.Mask{}, B: sam.StepGroup{Norm: advantage.RLOO{}}, Lambda: .5},
	"outcome plus verdict": sam.OutcomePlusVerdict{Norm: advantage.GRPO{}},
	// Fill is left out: it gives dead groups credit that Outcome does not.
}

var estimator = advantage.PerGroup(advantage.GRPO{})

// drawGroup draws completions of up to four steps with text between them.
func drawGroup(t *rapid.T, known bool) rollout.Group {
	g := make(rollout.Group, rapid.IntRange(1, 5).Draw(t, "completions"))
	for i := range g {
		c := &g[i]
		c.Rewards = []float64{rapid.SampledFrom([]float64{0, .5, 1, math.NaN()}).Draw(t, "reward")}
		steps, tokens := rapid.IntRange(0, 4).Draw(t, "steps"), 0
		for k := range steps {
			tokens += rapid.IntRange(0, 2).Draw(t, "between")
			s := rollout.Step{Name: string(rune('a' + k)), Start: tokens, Reward: math.NaN()}
			if known {
				s.Verdict = rapid.SampledFrom([]rollout.Verdict{rollout.VerdictUnknown, rollout.VerdictCorrect, rollout.VerdictIncorrect}).Draw(t, "verdict")
				if s.Verdict != rollout.VerdictUnknown {
					s.Reward = number(s.Verdict == rollout.VerdictCorrect)
				}
				if rapid.IntRange(0, 4).Draw(t, "broken") == 0 {
					s.Verdict = rollout.VerdictBroken // whatever its reward
				}
			}
			if s.Verdict != rollout.VerdictBroken || rapid.Bool().Draw(t, "present") {
				tokens += rapid.IntRange(1, 3).Draw(t, "length")
			}
			s.End = tokens
			c.Steps = append(c.Steps, s)
		}
		c.Tokens = make([]int32, tokens+rapid.IntRange(0, 2).Draw(t, "tail"))
		if n := len(c.Steps); n > 0 {
			c.Steps[n-1].Final = true
		}
	}
	return g
}

// clone copies a group as it is before the estimator.
func clone(g rollout.Group) rollout.Group {
	h := make(rollout.Group, len(g))
	for i, c := range g {
		c.Steps = append([]rollout.Step(nil), c.Steps...)
		c.Adv, c.Keep = nil, nil
		h[i] = c
	}
	return h
}

// credit runs estimator and credit on a copy and returns it.
func credit(t require.TestingT, kind sam.Credit, batch ...rollout.Group) []rollout.Group {
	out := make([]rollout.Group, len(batch))
	for gi, g := range batch {
		out[gi] = clone(g)
	}
	require.NoError(t, estimator.Estimate(out))
	_, err := kind.Assign(out)
	require.NoError(t, err)
	return out
}

func requireSameCredit(t require.TestingT, want, got *rollout.Completion, msg string) {
	require.InDeltaSlice(t, want.Adv, got.Adv, 1e-12, msg)
	require.Equal(t, want.Keep, got.Keep, msg)
}

// What no rule can judge gets what the outcome gives it, steps or no steps.
func TestUnknownStepsEqualOutcome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t, false)
		for i := range g { // a judge of one's own may leave the reward at 0
			for k := range g[i].Steps {
				g[i].Steps[k].Reward = rapid.SampledFrom([]float64{math.NaN(), 0, 1}).Draw(t, "reward of a step")
			}
		}
		want := credit(t, sam.Outcome{}, g)[0]
		for name, kind := range everyCredit {
			got := credit(t, kind, g)[0]
			for i := range got {
				requireSameCredit(t, &want[i], &got[i], name)
			}
		}
	})
}

// Where the outcome is the last step's verdict, a trace whose steps are all
// right has an advantage ≥ 0 and keeps it.
func TestAllCorrectEqualsOutcome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t, true)
		for i := range g {
			g[i].Rewards[0] = math.NaN()
			for k := range g[i].Steps {
				s := &g[i].Steps[k]
				if s.Verdict == rollout.VerdictUnknown {
					s.Verdict = rollout.VerdictCorrect
				}
				if i == 0 {
					s.Verdict = rollout.VerdictCorrect
				}
				g[i].Rewards[0] = number(s.Verdict == rollout.VerdictCorrect)
			}
		}
		want := credit(t, sam.Outcome{}, g)[0]
		require.GreaterOrEqual(t, want[0].Advantage, 0.)
		for _, name := range []string{"mask", "mask, leaks", "mask, negative leak", "mask, positive only", "mask, final", "mask, rescaled", "prefix"} {
			got := credit(t, everyCredit[name], g)[0]
			requireSameCredit(t, &want[0], &got[0], name)
		}
	})
}

// Outcome, Mask with leaks ≥ 0 and Prefix never flip the sign of an advantage;
// a masked token has advantage 0.
func TestSignsAreNotFlipped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t, true)
		kinds := map[string]sam.Credit{
			"outside": sam.Mask{MaskOutside: true, Broken: sam.BrokenMask},
			"keep":    sam.Prefix{Mask: sam.Mask{Broken: sam.BrokenKeep, LeakPositive: .1}},
		}
		for _, name := range []string{"outcome", "mask", "mask, leaks", "mask, positive only", "mask, final", "mask, rescaled", "prefix", "prefix, positive"} {
			kinds[name] = everyCredit[name]
		}
		for name, kind := range kinds {
			for _, c := range credit(t, kind, g)[0] {
				for tok, a := range c.Adv {
					require.GreaterOrEqual(t, a*c.Advantage, 0., "%s: token %d", name, tok)
					if !c.Keep[tok] {
						require.Zero(t, a, "%s: token %d", name, tok)
					}
					if c.Advantage == 0 {
						require.True(t, c.Keep[tok], "%s: token %d", name, tok)
					}
				}
			}
		}
	})
}

// A step that the policy broke is never credited with more than a wrong one of
// reward 0, whatever verdict and reward it carries.
func TestBrokenIsNoLoophole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t, true)
		for i := range g {
			if n := len(g[i].Steps); n > 0 {
				g[i].Steps[n-1].Final = false
			}
		}
		honest := clone(g)
		for i := range honest {
			for k := range honest[i].Steps {
				if s := &honest[i].Steps[k]; s.Verdict == rollout.VerdictBroken {
					s.Verdict, s.Reward = rollout.VerdictIncorrect, 0
				}
			}
		}
		for name, kind := range everyCredit {
			broken, wrong := credit(t, kind, g)[0], credit(t, kind, honest)[0]
			for i := range broken {
				require.Len(t, broken[i].Adv, len(wrong[i].Adv))
				for tok, a := range broken[i].Adv {
					require.LessOrEqual(t, a, wrong[i].Adv[tok]+1e-12, name)
				}
			}
		}
	})
}

// A second step of the same name cannot raise what the first one gets.
func TestDuplicateIsNoLoophole(t *testing.T) {
	step := func(start, end int, v rollout.Verdict) rollout.Step {
		return rollout.Step{Name: "rules", Start: start, End: end, Verdict: v, Reward: number(v == rollout.VerdictCorrect)}
	}
	for name, kind := range everyCredit {
		for _, reward := range []float64{0, 1} {
			g := rollout.Group{
				{Rewards: []float64{reward}, Tokens: make([]int32, 4), Steps: []rollout.Step{step(0, 2, rollout.VerdictIncorrect)}},
				{Rewards: []float64{.5}, Tokens: make([]int32, 2), Steps: []rollout.Step{step(0, 2, rollout.VerdictIncorrect)}},
				{Rewards: []float64{.5}, Tokens: make([]int32, 2), Steps: []rollout.Step{step(0, 2, rollout.VerdictCorrect)}},
			}
			alone := credit(t, kind, g)[0][0].Adv
			g[0].Steps = append(g[0].Steps, step(2, 4, rollout.VerdictBroken))
			twice := credit(t, kind, g)[0][0].Adv
			for tok := range 4 {
				most := alone[tok]
				if tok >= 2 { // outside every step, when alone
					most = max(most, 0)
				}
				require.LessOrEqual(t, twice[tok], most+1e-12, "%s, reward %v, token %d", name, reward, tok)
			}
		}
	}
}

func TestGroupOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawGroup(t, true), drawGroup(t, true)
		order := make([]int, len(a))
		for i := range order {
			order[i] = i
		}
		order = rapid.Permutation(order).Draw(t, "order")
		shuffled := make(rollout.Group, len(a))
		for i, j := range order {
			shuffled[i] = a[j]
		}
		for name, kind := range everyCredit {
			want, got := credit(t, kind, a, b), credit(t, kind, b, shuffled)
			for i, j := range order {
				requireSameCredit(t, &want[0][j], &got[1][i], name)
			}
			for i := range b {
				requireSameCredit(t, &want[1][i], &got[0][i], name)
			}
		}
	})
}

// The statistics of a batch are those of its groups, merged, and count every
// token once.
func TestStatsMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawGroup(t, true), drawGroup(t, true)
		for name, kind := range everyCredit {
			both := []rollout.Group{clone(a), clone(b)}
			require.NoError(t, estimator.Estimate(both))
			whole, err := kind.Assign(both)
			require.NoError(t, err)
			require.NoError(t, estimator.Estimate(both))
			parts, err := kind.Assign(both[:1])
			require.NoError(t, err)
			rest, err := kind.Assign(both[1:])
			require.NoError(t, err)
			parts.Merge(rest)
			require.Equal(t, whole.Names(), parts.Names(), name)

			tokens := whole.Outside.Kept + whole.Outside.Masked
			for step, s := range whole.Steps {
				p := parts.Steps[step]
				require.InDelta(t, s.MassAfter, p.MassAfter, 1e-9)
				require.InDelta(t, s.MassBefore, p.MassBefore, 1e-9)
				require.Equal(t, s.ByVerdict, p.ByVerdict)
				require.Equal(t, s.Kept, p.Kept)
				tokens += s.Kept + s.Masked
			}
			want := 0
			for _, g := range both {
				for _, c := range g {
					want += len(c.Tokens)
				}
			}
			require.Equal(t, want, tokens, name)
			require.Equal(t, 2, parts.Groups)
			require.Equal(t, len(a)+len(b), parts.Completions)
			require.Equal(t, whole.FullyMasked, parts.FullyMasked)
			require.Equal(t, whole.FlatGroups, parts.FlatGroups)
		}
	})
}

// Working memory depends on groups and steps, never on the number of tokens.
func TestNoAllocationPerToken(t *testing.T) {
	allocations := func(kind sam.Credit, length int) float64 {
		batch := benchmarkBatch(4, 4, length)
		require.NoError(t, estimator.Estimate(batch))
		return testing.AllocsPerRun(5, func() {
			if _, err := kind.Assign(batch); err != nil {
				t.Fatal(err)
			}
		})
	}
	for name, kind := range everyCredit {
		require.Equal(t, allocations(kind, 50), allocations(kind, 5000), name)
	}
	long := benchmarkBatch(4, 4, 5000)
	require.NoError(t, estimator.Estimate(long))
	require.LessOrEqual(t, testing.AllocsPerRun(5, func() { _ = estimator.Estimate(long) }), 1.)
}

// benchmarkBatch has five steps per completion with verdicts of all kinds.
func benchmarkBatch(groups, size, tokens int) []rollout.Group {
	batch := make([]rollout.Group, groups)
	names := []string{"intent", "category", "attributes", "rules", "grade"}
	n := 0
	for gi := range batch {
		batch[gi] = make(rollout.Group, size)
		for i := range batch[gi] {
			c := &batch[gi][i]
			*c = rollout.Completion{Rewards: []float64{number(n%3 == 0)}, Tokens: make([]int32, tokens)}
			for k, name := range names {
				right := (n+k)%2 == 0
				c.Steps = append(c.Steps, rollout.Step{
					Name: name, Start: tokens * k / len(names), End: tokens * (k + 1) / len(names),
					Verdict: verdictOf(right), Reward: number(right), Final: k == len(names)-1,
				})
				n++
			}
		}
	}
	return batch
}

func BenchmarkMask(b *testing.B) {
	batch := benchmarkBatch(128, 8, 1024)
	for b.Loop() {
		if err := estimator.Estimate(batch); err != nil {
			b.Fatal(err)
		}
		if _, err := (sam.Mask{}).Assign(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(128*8*1024*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// Credit written on Measure has the statistics of the one that it repeats.
func TestMeasureCountsAlike(t *testing.T) {
	estimated := func() []rollout.Group {
		batch := append(twoCompletions(), twoCompletions()...)
		require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
		return batch
	}
	a, b := estimated(), estimated()
	want, err := sam.Mask{}.Assign(a)
	require.NoError(t, err)
	got, err := sam.Measure(b, func(g rollout.Group) error {
		_, err := sam.Mask{}.Assign([]rollout.Group{g})
		return err
	})
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, a, b)
}

// Credit that only clears Keep is credit all the same: its masked tokens have
// no advantage, alone and in a blend.
func TestMeasureClearsWhatIsMasked(t *testing.T) {
	batch := twoCompletions()
	require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
	stats, err := sam.Blend{A: deaf{}, B: sam.Outcome{}, Lambda: .5}.Assign(batch)
	require.NoError(t, err)
	require.Equal(t, []float64{.5, .5, 1, 1}, batch[0][0].Adv)
	require.Equal(t, 2., stats.Steps["rules"].MassAfter)
}

// deaf masks the first two tokens.
type deaf struct{}

func (deaf) Validate() error { return nil }

func (deaf) Assign(batch []rollout.Group) (sam.Stats, error) {
	return sam.Measure(batch, func(g rollout.Group) error {
		for _, c := range g {
			c.Keep[0], c.Keep[1] = false, false
		}
		return nil
	})
}

func TestMeasureErrors(t *testing.T) {
	batch := append(twoCompletions(), twoCompletions()...)
	_, err := sam.Measure(batch, func(rollout.Group) error { return nil })
	require.ErrorContains(t, err, "sam: group 0, completion 0", "no estimator ran")

	require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
	calls, reason := 0, errors.New("no idea")
	_, err = sam.Measure(batch, func(rollout.Group) error { calls++; return reason })
	require.ErrorIs(t, err, reason)
	require.EqualError(t, err, "sam: group 0: no idea")
	require.Equal(t, 1, calls)

	for want, spoil := range map[string]func(c *rollout.Completion){
		"sam: group 0: completion 1: the credit left Tokens, Adv and Keep with lengths 4, 4 and 3, want 4 as before": func(c *rollout.Completion) { c.Keep = c.Keep[:3] },
		"sam: group 0: completion 1: the credit left Tokens, Adv and Keep with lengths 3, 4 and 4, want 4 as before": func(c *rollout.Completion) { c.Tokens = c.Tokens[:3] },
		"sam: group 0: completion 1: the credit gave token 2 the advantage NaN, want a finite number":                func(c *rollout.Completion) { c.Adv[2] = math.NaN() },
	} {
		batch := twoCompletions()
		require.NoError(t, advantage.PerGroup(advantage.RLOO{}).Estimate(batch))
		_, err := sam.Measure(batch, func(g rollout.Group) error { spoil(&g[1]); return nil })
		require.EqualError(t, err, want)
	}
}
