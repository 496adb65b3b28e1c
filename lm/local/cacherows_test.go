package local

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Rows are never handed out twice, and when all are back they are one range.
func TestCacheRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 40
		r := newCacheRows(n)
		owner := make([]int, n)
		var taken []tensor.Range
		mark := func(s tensor.Range, was, is int) {
			for i := s.Start; i < s.End; i++ {
				require.Equal(t, was, owner[i])
				owner[i] = is
			}
		}
		for range rapid.IntRange(0, 60).Draw(t, "operations") {
			if len(taken) > 0 && rapid.Bool().Draw(t, "give") {
				i := rapid.IntRange(0, len(taken)-1).Draw(t, "which")
				mark(taken[i], 1, 0)
				r.give(taken[i])
				taken = append(taken[:i], taken[i+1:]...)
				continue
			}
			want := rapid.IntRange(0, 12).Draw(t, "rows")
			s, ok := r.take(want)
			if ok {
				require.Equal(t, want, s.End-s.Start)
				mark(s, 0, 1)
				taken = append(taken, s)
				continue
			}
			for i, run := 0, 0; i < n; i++ { // there really is no such range
				if run++; owner[i] != 0 {
					run = 0
				}
				require.Less(t, run, want)
			}
		}
		for _, s := range taken {
			r.give(s)
		}
		require.Equal(t, []tensor.Range{{Start: 0, End: n}}, r.free)
	})
}
