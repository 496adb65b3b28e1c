package sample_test

import (
	"math"
	"slices"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// letters is a vocabulary: id i is the i-th letter, "" past z.
type letters struct{}

func (letters) Bytes(id int32) []byte {
	if id >= 26 {
		return nil
	}
	return []byte{'a' + byte(id)}
}

func logs(p ...float64) []float32 {
	out := make([]float32, len(p))
	for i := range p {
		out[i] = float32(math.Log(p[i]))
	}
	return out
}

// first draws the first token of n samples and returns how often each came.
func first(t *testing.T, p rollout.Params, logits []float32, n int) []int {
	p.MaxTokens = 1
	r := rollout.Request{Prompt: []int32{0}, N: n, Params: p, Stream: [3]uint64{1, 2, 3}}
	s := sample.NewSampler(letters{})
	counts := make([]int, len(logits))
	for i := range n {
		q := sample.NewSequence(0, &r, i)
		require.NoError(t, s.Next(q, logits))
		counts[q.Tokens()[0]]++
	}
	return counts
}

// What is drawn, for each way of cutting p = (.1, .4, .2, .3): the shares are
// worked out by hand, and every count lies within five standard deviations.
func TestTruncation(t *testing.T) {
	for _, c := range []struct {
		name string
		p    rollout.Params
		want []float64
	}{
		{"all", rollout.Params{Temperature: 1}, []float64{.1, .4, .2, .3}},
		{"greedy", rollout.Params{}, []float64{0, 1, 0, 0}},
		{"half temperature: squares", rollout.Params{Temperature: .5}, []float64{.01 / .3, .16 / .3, .04 / .3, .09 / .3}},
		{"top-k", rollout.Params{Temperature: 1, TopK: 2}, []float64{0, .4 / .7, 0, .3 / .7}},
		{"top-k of all", rollout.Params{Temperature: 1, TopK: 9}, []float64{.1, .4, .2, .3}},
		{"top-p reached by two", rollout.Params{Temperature: 1, TopP: .6}, []float64{0, .4 / .7, 0, .3 / .7}},
		{"top-p reached by three", rollout.Params{Temperature: 1, TopP: .71}, []float64{0, .4 / .9, .2 / .9, .3 / .9}},
		{"top-p below the best", rollout.Params{Temperature: 1, TopP: .01}, []float64{0, 1, 0, 0}},
		// .6 of the mass .7 that top-k leaves is .42: two tokens are needed.
		{"top-k, then top-p", rollout.Params{Temperature: 1, TopK: 2, TopP: .6}, []float64{0, .4 / .7, 0, .3 / .7}},
		{"top-k, then a lower top-p", rollout.Params{Temperature: 1, TopK: 2, TopP: .55}, []float64{0, 1, 0, 0}},
		// Squared the best has .16/.3 = .53 of the mass: enough for .5 alone.
		{"temperature first", rollout.Params{Temperature: .5, TopP: .5}, []float64{0, 1, 0, 0}},
	} {
		const n = 20000
		counts := first(t, c.p, logs(.1, .4, .2, .3), n)
		for id, p := range c.want {
			require.InDelta(t, n*p, counts[id], 5*math.Sqrt(n*p*(1-p)), "%s: id %d", c.name, id)
		}
	}
}

// Of equally likely tokens the lower ids are kept, and greedy takes the lowest.
func TestTies(t *testing.T) {
	logits := make([]float32, 8)
	require.Equal(t, 10, first(t, rollout.Params{}, logits, 10)[0])
	for _, p := range []rollout.Params{{Temperature: 1, TopK: 3}, {Temperature: 1, TopP: .375}} {
		counts := first(t, p, logits, 1000)
		for id, n := range counts {
			require.Equal(t, id < 3, n > 0, "id %d: %d", id, n)
		}
	}
}

// A token that the model rules out is never drawn.
func TestMinusInfinity(t *testing.T) {
	counts := first(t, rollout.Params{Temperature: 1}, []float32{float32(math.Inf(-1)), 0, float32(math.Inf(-1)), 0, float32(math.Inf(-1))}, 1000)
	require.Equal(t, 1000, counts[1]+counts[3])
}

func TestLogitsNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	r := rollout.Request{Prompt: []int32{0}, N: 1, Params: rollout.Params{Temperature: 1, MaxTokens: 4}}
	for _, c := range []struct {
		logits []float32
		want   string
	}{
		{[]float32{0, nan}, "sample: token 1: the logit of id 1 is NaN"},
		{[]float32{inf, 0}, "sample: token 1: the logit of id 0 is +Inf"},
		{[]float32{-inf, -inf}, "sample: token 1: none of 2 logits is above -Inf"},
	} {
		s := sample.NewSampler(letters{})
		q := sample.NewSequence(0, &r, 0)
		require.NoError(t, s.Next(q, []float32{0, 0}))
		err := s.Next(q, c.logits)
		require.EqualError(t, err, c.want)
		require.Len(t, q.Tokens(), 1)
		q.Fail(err)
		require.True(t, q.Done())
		require.Equal(t, rollout.Completion{Err: err}, q.Completion())
	}
}

// Log-probs: of the tempered distribution before truncation, and at 1.
func TestLogProbs(t *testing.T) {
	p := []float64{.1, .4, .2, .3}
	s := sample.NewSampler(letters{})
	for _, params := range []rollout.Params{{Temperature: .5, TopK: 2}, {Temperature: 1}, {Temperature: 0}} {
		params.MaxTokens = 20
		r := rollout.Request{Prompt: []int32{0}, N: 1, Params: params, Stream: [3]uint64{7}}
		q := sample.NewSequence(0, &r, 0)
		for !q.Done() {
			require.NoError(t, s.Next(q, logs(p...)))
		}
		c := q.Completion()
		for i, id := range c.Tokens {
			want := math.Log(p[id])
			require.InDelta(t, want, c.LogPUnit[i], 1e-6)
			if params.Temperature == .5 {
				want = math.Log(p[id] * p[id] / .3)
			}
			require.InDelta(t, want, c.LogP[i], 1e-6)
		}
	}
}

// fixed makes a logits row that all but forces a token.
func fixed(id int32) []float32 {
	l := make([]float32, 27)
	l[id] = 100
	return l
}

func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		tokens string // '.' is the end-of-text token, which has no bytes
		stop   []string
		max    int
		text   string
		n      int
		finish rollout.Finish
	}{
		{"length", "abcabc", nil, 4, "abca", 4, rollout.FinishLength},
		{"end of text", "ab.cc", nil, 9, "ab", 3, rollout.FinishStop},
		{"end of text as the last token", "ab.", nil, 3, "ab", 3, rollout.FinishStop},
		{"stop string over tokens", "abcabd", []string{"abd"}, 9, "abcabd", 6, rollout.FinishStop},
		{"the first of two stop strings", "abcabd", []string{"abd", "ca"}, 9, "abca", 4, rollout.FinishStop},
		{"stop string of one byte", "abc", []string{"a"}, 9, "a", 1, rollout.FinishStop},
		{"stop string at the limit", "abc", []string{"bc"}, 3, "abc", 3, rollout.FinishStop},
	} {
		r := rollout.Request{Prompt: []int32{0}, N: 1, Params: rollout.Params{MaxTokens: c.max, Stop: c.stop}}
		s := sample.NewSampler(letters{}, 26)
		s.Version = 5
		q := sample.NewSequence(3, &r, 2)
		for i := 0; !q.Done(); i++ {
			id := int32(26)
			if c.tokens[i] != '.' {
				id = int32(c.tokens[i] - 'a')
			}
			require.NoError(t, s.Next(q, fixed(id)))
		}
		got := q.Completion()
		require.Equal(t, c.text, got.Text, c.name)
		require.Len(t, got.Tokens, c.n, c.name)
		require.Equal(t, c.finish, got.Finish, c.name)
		require.Equal(t, len(got.Text), got.Ends[len(got.Ends)-1], c.name)
		require.Equal(t, []any{3, 2, int64(5), int64(5)}, []any{got.Request, got.Index, got.FirstVersion, got.LastVersion})
	}
}

// Every sample has its own stream; the same stream gives the same sample.
func TestStreams(t *testing.T) {
	seen := map[string][]uint64{}
	s := sample.NewSampler(letters{})
	for a := range uint64(3) {
		for b := range uint64(3) {
			for c := range uint64(3) {
				for i := range 3 {
					r := rollout.Request{Prompt: []int32{0}, N: 3, Stream: [3]uint64{a, b, c}, Params: rollout.Params{Temperature: 1, MaxTokens: 12}}
					var text string
					for range 2 {
						q := sample.NewSequence(0, &r, i)
						for !q.Done() {
							require.NoError(t, s.Next(q, make([]float32, 26)))
						}
						require.Contains(t, []string{"", text}, text)
						text = q.Completion().Text
					}
					require.NotContains(t, seen, text)
					seen[text] = []uint64{a, b, c, uint64(i)}
				}
			}
		}
	}
	require.Len(t, seen, 81)
}

// Truncation against sorting everything.
func TestTruncationAsSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.SampledFrom([]float64{.25, .5, 1, 2, 3, 5}), 1, 40).Draw(t, "weights")
		k := rapid.IntRange(0, 42).Draw(t, "k")
		p := rapid.SampledFrom([]float64{0, .1, .25, .5, .9, 1}).Draw(t, "p")
		got := sample.Kept(weights, k, p)
		slices.Sort(got)

		order := make([]int, len(weights))
		for i := range order {
			order[i] = i
		}
		sort.SliceStable(order, func(i, j int) bool { return weights[order[i]] > weights[order[j]] })
		if k > 0 && k < len(order) {
			order = order[:k]
		}
		if p > 0 {
			var total, mass float64
			for _, i := range order {
				total += weights[i]
			}
			for n, i := range order {
				if mass += weights[i]; mass >= p*total {
					order = order[:n+1]
					break
				}
			}
		}
		var want []int32
		for _, i := range order {
			want = append(want, int32(i))
		}
		slices.Sort(want)
		require.Equal(t, want, got)
	})
}

// A token costs no memory but what the completion keeps.
func TestNoAllocationPerToken(t *testing.T) {
	s := sample.NewSampler(noBytes{})
	r := rollout.Request{Prompt: []int32{0}, N: 1, Params: rollout.Params{Temperature: .7, TopK: 50, TopP: .9, MaxTokens: 4096, Stop: []string{"x"}}}
	q := sample.NewSequence(0, &r, 0)
	logits := make([]float32, 1000)
	for range 1100 {
		require.NoError(t, s.Next(q, logits))
	}
	// The slices that grow have room for 100 more: their capacity has doubled
	// past 1100, or grows once.
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = s.Next(q, logits) }), 0.1)
}

type noBytes struct{}

func (noBytes) Bytes(int32) []byte { return nil }

// A token that was drawn elsewhere, from the sequence's own random numbers, makes the
// same completion as one that Next draws.
func TestAccept(t *testing.T) {
	r := rollout.Request{Prompt: []int32{0}, N: 1, Stream: [3]uint64{4, 5, 6}, Params: rollout.Params{Temperature: 1, MaxTokens: 30, Stop: []string{"ba"}}}
	p := []float64{.3, .4, .2, .1}
	s := sample.NewSampler(letters{}, 3)
	s.Version = 8
	drawn, accepted := sample.NewSequence(0, &r, 0), sample.NewSequence(0, &r, 0)
	for !drawn.Done() {
		require.NoError(t, s.Next(drawn, logs(p...)))
		u, token := accepted.Uniform(), int32(0)
		for u >= p[token] {
			u -= p[token]
			token++
		}
		s.Accept(accepted, token, math.Log(p[token]), math.Log(p[token]))
	}
	require.True(t, accepted.Done())
	want, got := drawn.Completion(), accepted.Completion()
	require.InDeltaSlice(t, want.LogP, got.LogP, 1e-6)
	want.LogP, want.LogPUnit, got.LogP, got.LogPUnit = nil, nil, nil, nil
	require.Equal(t, want, got)
	require.Panics(t, func() { s.Accept(accepted, 0, 0, 0) })
}
