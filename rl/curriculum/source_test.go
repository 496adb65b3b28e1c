package curriculum_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/curriculum"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// problem is known by its number.
type problem struct{ id int }

func (p *problem) Request() (rollout.Request, error) {
	return rollout.Request{ID: fmt.Sprint(p.id), N: 1}, nil
}
func (*problem) Judge(context.Context, *rollout.Completion) error { return nil }

func list(n int) (ps []rl.Problem) {
	for i := range n {
		ps = append(ps, &problem{i})
	}
	return ps
}

func source(t testing.TB, n int, o curriculum.Options) (*curriculum.Source, []rl.Problem) {
	ps := list(n)
	s, err := curriculum.New(ps, o)
	require.NoError(t, err)
	return s, ps
}

func next(t testing.TB, s *curriculum.Source) int {
	p, err := s.Next(context.Background())
	require.NoError(t, err)
	return p.(*problem).id
}

// group has that many right and wrong completions.
func group(right, wrong int) (g rollout.Group) {
	for i := range right + wrong {
		r := 0.0
		if i < right {
			r = 1
		}
		g = append(g, rollout.Completion{Rewards: []float64{r}})
	}
	return g
}

func observe(t testing.TB, s *curriculum.Source, p rl.Problem, g rollout.Group) {
	require.NoError(t, s.Observe([]rl.Problem{p}, []rollout.Group{g}))
}

func TestRateIsTheDiscountedPosteriorMean(t *testing.T) {
	s, ps := source(t, 2, curriculum.Options{Decay: .25, PriorRate: .2, PriorWeight: 5})
	rate, trials := s.Rate(0)
	require.Equal(t, []float64{.2, 0}, []float64{rate, trials})
	observe(t, s, ps[0], group(6, 2))
	rate, trials = s.Rate(0)
	require.InDelta(t, (6+1)/(8+5.), rate, 1e-15)
	require.Equal(t, 8.0, trials)
	g := append(group(1, 3), rollout.Completion{Rewards: []float64{math.NaN()}}, rollout.Completion{})
	observe(t, s, ps[0], g) // unscorable completions are no trials
	rate, trials = s.Rate(0)
	require.InDelta(t, (6*.25+1+1)/(8*.25+4+5), rate, 1e-15)
	require.Equal(t, 6.0, trials)
	observe(t, s, ps[0], nil)
	_, trials = s.Rate(0)
	require.Equal(t, 6.0, trials, "a group that failed forgets nothing")
	rate, _ = s.Rate(1)
	require.Equal(t, .2, rate)
}

// Drawn one at a time, a problem has the probability ε/N + (1−ε)·w/Σw.
func TestDrawsFollowTheWeights(t *testing.T) {
	const n, draws = 4, 40000
	for name, c := range map[string]struct {
		weight  func(float64) float64
		explore float64
		want    [n]float64
	}{
		// rates .1, .3, .5, .9 after the prior
		"variance":       {nil, -1, [n]float64{.09 / .64, .21 / .64, .25 / .64, .09 / .64}},
		"with a floor":   {nil, .5, [n]float64{.125 + .045/.64, .125 + .105/.64, .125 + .125/.64, .125 + .045/.64}},
		"default floor":  {nil, 0, [n]float64{.025 + .081/.64, .025 + .189/.64, .025 + .225/.64, .025 + .081/.64}},
		"uniform":        {nil, 1, [n]float64{.25, .25, .25, .25}},
		"band":           {curriculum.Band(.25, .75), -1, [n]float64{0, .5, .5, 0}},
		"band and floor": {curriculum.Band(.25, .75), .1, [n]float64{.025, .475, .475, .025}},
		"no weight":      {curriculum.Band(2, 3), -1, [n]float64{.25, .25, .25, .25}},
		"live":           {curriculum.LiveProbability(2), -1, [n]float64{.09 / .64, .21 / .64, .25 / .64, .09 / .64}},
	} {
		t.Run(name, func(t *testing.T) {
			s, ps := source(t, n, curriculum.Options{Seed: 3, Weight: c.weight, Explore: c.explore})
			for i, right := range []int{0, 2, 4, 8} { // (right+1)/(8+2)
				observe(t, s, ps[i], group(right, 8-right))
			}
			var got [n]float64
			for range draws {
				got[next(t, s)] += 1. / draws
				require.NoError(t, s.Observe(nil, nil)) // no longer waits
			}
			for i := range got {
				sd := math.Sqrt(c.want[i] * (1 - c.want[i]) / draws)
				require.InDelta(t, c.want[i], got[i], 4.5*sd+1e-12, "problem %d", i)
			}
		})
	}
}

func TestLiveProbability(t *testing.T) {
	for _, p := range []float64{0, .3, 1} {
		want := 0.0 // of three completions: one or two right
		for k, ways := range map[float64]float64{1: 3, 2: 3} {
			want += ways * math.Pow(p, k) * math.Pow(1-p, 3-k)
		}
		require.InDelta(t, want, curriculum.LiveProbability(3)(p), 1e-15)
	}
	require.Panics(t, func() { curriculum.LiveProbability(1) })
	require.Panics(t, func() { curriculum.Band(.7, .2) })
}

func TestNoProblemTwiceBeforeItsResults(t *testing.T) {
	s, ps := source(t, 7, curriculum.Options{Seed: 1})
	observe(t, s, ps[3], group(8, 0))
	for range 3 { // without results, the list is gone through
		seen := map[int]bool{}
		for range 7 {
			seen[next(t, s)] = true
		}
		require.Len(t, seen, 7)
	}
	require.NoError(t, s.Observe(ps, make([]rollout.Group, 7)))
	a := next(t, s)
	for range 5 {
		require.NotEqual(t, a, next(t, s))
	}
}

// A source that is restored at any moment goes on as the one that was saved.
func TestRestoreContinuesBitForBit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "problems")
		o := curriculum.Options{Seed: rapid.Uint64().Draw(t, "seed"), Decay: .3, Explore: .2}
		ps := list(n)
		mk := func() *curriculum.Source {
			s, err := curriculum.New(ps, o)
			require.NoError(t, err)
			return s
		}
		s := mk()
		step := func(s *curriculum.Source, draws, right, wrong int) (ids []int) {
			var drawn []rl.Problem
			var groups []rollout.Group
			for range draws {
				p, err := s.Next(context.Background())
				require.NoError(t, err)
				drawn, groups = append(drawn, p), append(groups, group(right, wrong))
				ids = append(ids, p.(*problem).id)
			}
			if right+wrong > 0 {
				require.NoError(t, s.Observe(drawn, groups))
			}
			return ids
		}
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [3]int {
			return [3]int{rapid.IntRange(0, 12).Draw(t, "draws"), rapid.IntRange(0, 3).Draw(t, "right"), rapid.IntRange(0, 3).Draw(t, "wrong")}
		}), 2, 8).Draw(t, "steps")
		half := len(steps) / 2
		for _, st := range steps[:half] {
			step(s, st[0], st[1], st[2])
		}
		saved, err := s.State()
		require.NoError(t, err)
		again := mk()
		step(again, 3, 1, 1) // whatever it did before
		require.NoError(t, again.Restore(saved))
		for _, st := range steps[half:] {
			a, b := step(s, st[0], st[1], st[2]), step(again, st[0], st[1], st[2])
			if fmt.Sprint(a) != fmt.Sprint(b) {
				t.Fatalf("draws %v, after restoring %v", a, b)
			}
		}
		a, _ := s.State()
		b, _ := again.State()
		if string(a) != string(b) {
			t.Fatalf("state %s, after restoring %s", a, b)
		}
	})
}

func TestErrors(t *testing.T) {
	for want, o := range map[string]curriculum.Options{
		"Explore is 1.5":    {Explore: 1.5},
		"Decay is 2":        {Decay: 2},
		"Decay is NaN":      {Decay: math.NaN()},
		"PriorRate is -1":   {PriorRate: -1, PriorWeight: 1},
		"PriorWeight is 0":  {PriorRate: .5},
		"PriorWeight is -2": {PriorWeight: -2},
	} {
		_, err := curriculum.New(list(1), o)
		require.ErrorContains(t, err, want)
	}
	_, err := curriculum.New(nil, curriculum.Options{})
	require.ErrorContains(t, err, "no problems")
	p := &problem{}
	_, err = curriculum.New([]rl.Problem{p, p}, curriculum.Options{})
	require.ErrorContains(t, err, "problems 0 and 1 are equal")
	_, err = curriculum.New([]rl.Problem{p, uncomparable{}}, curriculum.Options{})
	require.ErrorContains(t, err, "problem 1, a curriculum_test.uncomparable, cannot be compared")
	_, err = curriculum.New([]rl.Problem{nil}, curriculum.Options{})
	require.ErrorContains(t, err, "problem 0")
	require.Panics(t, func() {
		curriculum.New(list(1), curriculum.Options{Weight: func(float64) float64 { return math.NaN() }})
	})

	s, ps := source(t, 2, curriculum.Options{})
	before, err := s.State()
	require.NoError(t, err)
	groups := []rollout.Group{group(1, 0), group(1, 0)}
	require.ErrorContains(t, s.Observe([]rl.Problem{ps[0], p}, groups), "problem 1 of the collection")
	require.ErrorContains(t, s.Observe([]rl.Problem{ps[0], uncomparable{}}, groups), "problem 1 of the collection")
	require.ErrorContains(t, s.Observe([]rl.Problem{nil}, groups[:1]), "problem 0 of the collection")
	after, err := s.State()
	require.NoError(t, err)
	require.Equal(t, before, after, "nothing is counted")
	require.Panics(t, func() { s.Observe(ps, nil) })

	bad, ps := source(t, 1, curriculum.Options{Success: func(*rollout.Completion) float64 { return 2 }})
	require.ErrorContains(t, bad.Observe(ps, groups[:1]), "success 2, want 0 to 1")

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = s.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

type uncomparable map[string]int

func (uncomparable) Request() (rollout.Request, error)                { return rollout.Request{}, nil }
func (uncomparable) Judge(context.Context, *rollout.Completion) error { return nil }

func TestRestoreRefusesForeignState(t *testing.T) {
	s, _ := source(t, 2, curriculum.Options{})
	want, err := s.State()
	require.NoError(t, err)
	for _, bad := range []string{"{", "[]"} {
		require.ErrorContains(t, s.Restore([]byte(bad)), "curriculum: state")
	}
	for change, message := range map[string]string{
		`{"format":1}`:                   "format is 1, want 2",
		`{"successes":[0],"trials":[]}`:  "of 1 and 0 problems, the source has 2",
		`{"random":""}`:                  "random is missing",
		`{"random":"eA=="}`:              "random: ",
		`{"successes":[0,2]}`:            "problem 1 has 2 successes in 0 trials",
		`{"successes":[0,-1]}`:           "problem 1 has -1 successes",
		`{"trials":[0,1e999]}`:           "1e999",
		`{"drawn":[2]}`:                  "drawn problem 2",
		`{"drawn":[1,1]}`:                "drawn problem 1",
		`{"drawn":["first"]}`:            "drawn",
		`{"seed":7}`:                     "it is of seed 7, Options.Seed is 0",
		`{"decay":0.25}`:                 "it is of Explore 0.1, Decay 0.25",
		`{"prior":[0.1,2]}`:              "PriorRate and PriorWeight [0.1 2]; the source has 0.1, 0.5 and [0.5 2]",
		`{"digest":"0123456789abcdef0"}`: "it is of other problems, or another order of them: their digest is 0123456789ab…",
	} {
		var state, changes map[string]json.RawMessage
		require.NoError(t, errors.Join(json.Unmarshal(want, &state), json.Unmarshal([]byte(change), &changes)))
		maps.Copy(state, changes)
		text, err := json.Marshal(state)
		require.NoError(t, err)
		require.ErrorContains(t, s.Restore(text), message)
	}
	got, err := s.State()
	require.NoError(t, err)
	require.Equal(t, want, got, "the source is as it was")
}

// Counts belong to problems by their place in the list.
func TestRestoreRefusesAnotherOrder(t *testing.T) {
	ps := []rl.Problem{&problem{0}, &problem{1}}
	s, err := curriculum.New(ps, curriculum.Options{})
	require.NoError(t, err)
	saved, err := s.State()
	require.NoError(t, err)
	other, err := curriculum.New([]rl.Problem{ps[1], ps[0]}, curriculum.Options{})
	require.NoError(t, err)
	require.ErrorContains(t, other.Restore(saved), "another order of them")
}

func FuzzRestore(f *testing.F) {
	s, ps := source(f, 3, curriculum.Options{})
	observe(f, s, ps[1], group(3, 1))
	next(f, s)
	saved, err := s.State()
	require.NoError(f, err)
	f.Add(saved)
	f.Add([]byte(`{"format":2,"drawn":[0,2]}`))
	f.Fuzz(func(t *testing.T, state []byte) {
		s, _ := source(t, 3, curriculum.Options{})
		if s.Restore(state) != nil {
			return
		}
		for range 5 {
			next(t, s)
		}
		again, err := s.State()
		require.NoError(t, err)
		require.NoError(t, s.Restore(again))
	})
}

func TestSummary(t *testing.T) {
	s, ps := source(t, 5, curriculum.Options{})
	require.True(t, math.IsNaN(s.Summary().Rate))
	observe(t, s, ps[0], group(28, 0)) // 29/30
	observe(t, s, ps[1], group(0, 28)) // 1/30
	observe(t, s, ps[3], group(14, 14))
	require.Equal(t, curriculum.Summary{Problems: 5, Seen: 3, Solved: 1, Hopeless: 1, Rate: .5}, s.Summary())
}

// A run with curriculum and dynamic sampling that is stopped and resumed ends
// with the same bits as one that is not.
func TestATrainerResumesBitForBit(t *testing.T) {
	var problems []rl.Problem
	for letter := range int32(12) {
		problems = append(problems, &guess{letter, (letter + 5) % 12})
	}
	train := func(p *policytest.TablePolicy, steps int64, from []byte) []byte {
		source, err := curriculum.New(problems, curriculum.Options{Seed: 2})
		require.NoError(t, err)
		trainer, err := rl.NewTrainer(rl.Config{
			Policy: p, Engine: p, Source: source,
			Estimator:   advantage.PerGroup(advantage.RLOO{}),
			Credit:      sam.Outcome{},
			Objective:   objective.PPO{ClipLow: 0.2, ClipHigh: 0.2},
			Aggregation: objective.TokenMean{},
			Batching:    rl.Batching{Prompts: 3},
			Dynamic:     rl.DynamicSampling{Rounds: 3, OnShortage: rl.ShortageTrain},
			LR:          rl.Constant{LR: 5},
			Steps:       steps,
		})
		require.NoError(t, err)
		if from != nil {
			require.NoError(t, trainer.Restore(t.Context(), from))
		}
		require.NoError(t, trainer.Run(t.Context()))
		saved, err := trainer.Save(t.Context(), "end")
		require.NoError(t, err)
		return saved
	}
	whole, parts := policytest.NewTablePolicy(12, nil, -1), policytest.NewTablePolicy(12, nil, -1)
	want := train(whole, 30, nil)
	got := train(parts, 30, train(parts, 13, nil))
	require.Equal(t, string(want), string(got))
	for letter := range int32(12) {
		require.Equal(t, whole.Logits(letter), parts.Logits(letter))
	}
}
