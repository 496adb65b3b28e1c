package curriculum

import (
	"testing"

	"pgregory.net/rapid"
)

// The tree finds the leaf that a walk along the cumulated weights finds.
func TestTreeFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(0, 4), 1, 40).Draw(t, "weights")
		tr, sum := newTree(len(weights)), 0
		for i, w := range weights {
			tr.set(i, 9) // overwritten
			tr.set(i, float64(w))
			sum += w
		}
		if tr.total() != float64(sum) {
			t.Fatalf("total %v, want %d", tr.total(), sum)
		}
		if sum == 0 {
			return
		}
		at := rapid.IntRange(0, sum-1).Draw(t, "at")
		want, left := 0, at
		for left >= weights[want] {
			left -= weights[want]
			want++
		}
		if got := tr.find((float64(at) + .5) / float64(sum)); got != want {
			t.Fatalf("leaf %d, want %d", got, want)
		}
	})
}
