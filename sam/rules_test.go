package sam_test

import (
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
		c.Final = len(c.Steps) - 1
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

// credit runs estimator and rule on a copy and returns it.
func credit(t require.TestingT, rule sam.Credit, batch ...rollout.Group) []rollout.Group {
	out := make([]rollout.Group, len(batch))
	for gi, g := range batch {
		out[gi] = clone(g)
	}
	require.NoError(t, estimator.Estimate(out))
	_, err := rule.Assign(out)
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
		want := credit(t, sam.Outcome{}, g)[0]
		for name, rule := range everyCredit {
			got := credit(t, rule, g)[0]
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
		require.GreaterOrEqual(t, want[0].Scalar, 0.)
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
		rules := map[string]sam.Credit{
			"outside": sam.Mask{MaskOutside: true, Broken: sam.BrokenMask},
			"keep":    sam.Prefix{Mask: sam.Mask{Broken: sam.BrokenKeep, LeakPositive: .1}},
		}
		for _, name := range []string{"outcome", "mask", "mask, leaks", "mask, positive only", "mask, final", "mask, rescaled", "prefix", "prefix, positive"} {
			rules[name] = everyCredit[name]
		}
		for name, rule := range rules {
			for _, c := range credit(t, rule, g)[0] {
				for tok, a := range c.Adv {
					require.GreaterOrEqual(t, a*c.Scalar, 0., "%s: token %d", name, tok)
					if !c.Keep[tok] {
						require.Zero(t, a, "%s: token %d", name, tok)
					}
					if c.Scalar == 0 {
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
			g[i].Final = -1
		}
		honest := clone(g)
		for i := range honest {
			for k := range honest[i].Steps {
				if s := &honest[i].Steps[k]; s.Verdict == rollout.VerdictBroken {
					s.Verdict, s.Reward = rollout.VerdictIncorrect, 0
				}
			}
		}
		for name, rule := range everyCredit {
			broken, wrong := credit(t, rule, g)[0], credit(t, rule, honest)[0]
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
	for name, rule := range everyCredit {
		for _, reward := range []float64{0, 1} {
			g := rollout.Group{
				{Rewards: []float64{reward}, Tokens: make([]int32, 4), Final: -1, Steps: []rollout.Step{step(0, 2, rollout.VerdictIncorrect)}},
				{Rewards: []float64{.5}, Tokens: make([]int32, 2), Final: -1, Steps: []rollout.Step{step(0, 2, rollout.VerdictIncorrect)}},
				{Rewards: []float64{.5}, Tokens: make([]int32, 2), Final: -1, Steps: []rollout.Step{step(0, 2, rollout.VerdictCorrect)}},
			}
			alone := credit(t, rule, g)[0][0].Adv
			g[0].Steps = append(g[0].Steps, step(2, 4, rollout.VerdictBroken))
			twice := credit(t, rule, g)[0][0].Adv
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
		for name, rule := range everyCredit {
			want, got := credit(t, rule, a, b), credit(t, rule, b, shuffled)
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
		for name, rule := range everyCredit {
			both := []rollout.Group{clone(a), clone(b)}
			require.NoError(t, estimator.Estimate(both))
			whole, err := rule.Assign(both)
			require.NoError(t, err)
			require.NoError(t, estimator.Estimate(both))
			parts, err := rule.Assign(both[:1])
			require.NoError(t, err)
			rest, err := rule.Assign(both[1:])
			require.NoError(t, err)
			parts.Merge(rest)
			require.Equal(t, whole.Names(), parts.Names(), name)

			tokens := whole.Outside.Kept + whole.Outside.Masked
			for step, s := range whole.Steps {
				p := parts.Steps[step]
				require.InDelta(t, s.MassAfter, p.MassAfter, 1e-9)
				require.InDelta(t, s.MassBefore, p.MassBefore, 1e-9)
				require.Equal(t, s.Outcome, p.Outcome)
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
			require.Equal(t, whole.DeadGroups, parts.DeadGroups)
		}
	})
}

// Working memory depends on groups and steps, never on the number of tokens.
func TestNoAllocationPerToken(t *testing.T) {
	allocations := func(rule sam.Credit, length int) float64 {
		batch := benchmarkBatch(4, 4, length)
		require.NoError(t, estimator.Estimate(batch))
		return testing.AllocsPerRun(5, func() {
			if _, err := rule.Assign(batch); err != nil {
				t.Fatal(err)
			}
		})
	}
	for name, rule := range everyCredit {
		require.Equal(t, allocations(rule, 50), allocations(rule, 5000), name)
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
			*c = rollout.Completion{Rewards: []float64{number(n%3 == 0)}, Tokens: make([]int32, tokens), Final: len(names) - 1}
			for k, name := range names {
				right := (n+k)%2 == 0
				c.Steps = append(c.Steps, rollout.Step{
					Name: name, Start: tokens * k / len(names), End: tokens * (k + 1) / len(names),
					Verdict: verdictOf(right), Reward: number(right),
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
