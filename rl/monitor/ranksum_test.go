package monitor

import (
	"math"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRankSumTail(t *testing.T) {
	require.InDelta(t, 1./20, rankSumTail([]float64{1, 2, 3}, []float64{4, 5, 6}), 1e-15)
	require.InDelta(t, 1, rankSumTail([]float64{4, 5, 6}, []float64{1, 2, 3}), 1e-15)
	require.InDelta(t, 1, rankSumTail([]float64{7, 7}, []float64{7, 7, 7}), 1e-15)
	// 17 of the 20 pairs favour the recent values. The choices with at least that
	// many are the partitions of 0 to 3 into at most 4 parts of at most 5: 1+1+2+3.
	require.InDelta(t, 7./126, rankSumTail([]float64{1.2, 2.4, 3.9, 5.0, 0.7}, []float64{4.1, 5.2, 3.3, 6.7}), 1e-15)

	before, recent := make([]float64, 60), make([]float64, 20)
	for i := range recent {
		recent[i] = 1
	}
	binomial := 1.0
	for i := range 20 {
		binomial *= float64(80-i) / float64(20-i)
	}
	require.InEpsilon(t, 1/binomial, rankSumTail(before, recent), 1e-12, "all of the 20 are above")
}

// The p-value is the share of all ways to choose the recent values among all
// whose rank sum is at least as large, and it is at most α in at most a share α
// of them.
func TestRankSumTailIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.SampledFrom([]float64{0, .1, .2, .2, .5, 1}), 2, 9).Draw(t, "values")
		k := rapid.IntRange(1, len(values)-1).Draw(t, "recent")
		rank := func(v float64) (r float64) { // mid-rank
			for _, w := range values {
				if w < v {
					r++
				} else if w == v {
					r += .5
				}
			}
			return r
		}
		var ps, sums []float64
		for set := range 1 << len(values) {
			if bits.OnesCount(uint(set)) != k {
				continue
			}
			var before, recent []float64
			sum := 0.0
			for i, v := range values {
				if set>>i&1 == 1 {
					recent, sum = append(recent, v), sum+rank(v)
				} else {
					before = append(before, v)
				}
			}
			ps, sums = append(ps, rankSumTail(before, recent)), append(sums, sum)
		}
		for i := range ps {
			larger, atMost := 0, 0
			for j := range ps {
				if sums[j] >= sums[i] {
					larger++
				}
				if ps[j] <= ps[i] {
					atMost++
				}
			}
			want := float64(larger) / float64(len(ps))
			if math.Abs(ps[i]-want) > 1e-12 {
				t.Fatalf("p is %v, of %v, want %v", ps[i], values, want)
			}
			if share := float64(atMost) / float64(len(ps)); share > ps[i]+1e-12 {
				t.Fatalf("p is at most %v in a share %v", ps[i], share)
			}
		}
	})
}

func TestSignTail(t *testing.T) {
	require.InDelta(t, 1, signTail(0, 0), 0)
	require.InDelta(t, 1, signTail(0, 7), 1e-15)
	require.InDelta(t, (1+4)/16., signTail(3, 4), 1e-15)
	require.Greater(t, signTail(17, 20), .001)
	require.Less(t, signTail(18, 20), .001)
}
