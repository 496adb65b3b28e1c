package bench

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// A quick run fills every section, and its table has all of them.
func TestRun(t *testing.T) {
	r, err := Run(t.Context(), Options{Quick: true})
	require.NoError(t, err)
	require.Positive(t, r.FMAPeakGFLOPS)
	require.Positive(t, r.MemoryGBps)
	require.Len(t, r.GEMM, 2)
	require.Positive(t, r.GEMM[1].MemoryFraction)
	require.Len(t, r.Train, 1)
	require.Positive(t, r.Train[0].TokensPerSecond)
	require.Len(t, r.Sample, 3)
	require.Positive(t, r.Sample[1].TokensPerSecond)
	require.Len(t, r.Shared, 1)
	// 32 + 4·7 rows instead of 4·39.
	require.Less(t, 2*r.Shared[0].ActivationBytes, r.Shared[0].UnsharedActivationBytes)
	if r.Cores.Workers > 1 {
		require.Len(t, r.Cores.Uses, 2)
		for _, u := range r.Cores.Uses {
			var sum [2]float64
			for _, o := range u.Operations {
				sum[0], sum[1] = sum[0]+o.Seconds[0], sum[1]+o.Seconds[1]
			}
			require.InEpsilonSlice(t, u.Seconds[:], sum[:], 1e-9)
		}
	}
	require.Positive(t, r.PeakRSSBytes)

	var table strings.Builder
	require.NoError(t, r.Print(&table))
	for _, heading := range []string{"FMA peak", "gemm", "train", "sample", "shared prompt"} {
		require.Contains(t, table.String(), heading)
	}
}

// A backend that measures no limits has figures without fractions of them, and one
// that packs no weights is measured without.
func TestRunOnAnotherBackend(t *testing.T) {
	r, err := Run(t.Context(), Options{Quick: true, Backend: "reference"})
	require.NoError(t, err)
	require.Contains(t, r.Machine, "backend reference, precision float32")
	require.Zero(t, r.FMAPeakGFLOPS)
	require.Equal(t, "NT", r.GEMM[1].Op)
	require.Positive(t, r.Train[0].TFLOPS)
	require.Zero(t, r.Train[0].FLOPsUtilization)
	require.Len(t, r.Sample, 2, "float32 only")
	require.Empty(t, r.Cores.Uses)
	_, err = Run(t.Context(), Options{Backend: "reference", CPU: cpu.Options{Workers: 1}})
	require.ErrorContains(t, err, "options of the backend cpu with backend reference")
	_, err = Run(t.Context(), Options{Backend: "cpu:1"})
	require.ErrorContains(t, err, "it has one device")
}

func TestRunRefuses(t *testing.T) {
	_, err := Run(t.Context(), Options{Sections: []string{"gemm", "cooking"}})
	require.ErrorContains(t, err, `no section "cooking"`)
	_, err = Run(t.Context(), Options{Models: []string{"2T"}})
	require.ErrorContains(t, err, `no model "2T"`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := Run(ctx, Options{Quick: true, Sections: []string{"train"}})
	require.ErrorIs(t, err, context.Canceled)
	require.Positive(t, r.FMAPeakGFLOPS, "the report so far")
}

// A million parameters, and 6 operations each, with what attention needs: for
// one key per token, 12 per layer and dimension.
func TestTrainFLOPs(t *testing.T) {
	s := (&runner{quick: true}).shapes()[0]
	require.InDelta(t, 6e6+12*float64(s.Layers*s.Dim), s.trainFLOPs(1e6, 1), 1e-6)
}

// A third of the time is serial: of four cores, three save half.
func TestSerialShare(t *testing.T) {
	require.InDelta(t, 1./3, serialShare([2]float64{12, 6}, 4), 1e-15)
	require.Zero(t, serialShare([2]float64{8, 2}, 4))
	require.InDelta(t, 1, serialShare([2]float64{8, 8}, 4), 1e-15)
}

func TestFaster(t *testing.T) {
	least := []call{{"a", 3, 1}, {"b", 1, 2}}
	require.NoError(t, faster(least, []call{{"a", 2, 2}, {"b", 4, 1}}))
	require.Equal(t, []call{{"a", 2, 1}, {"b", 1, 1}}, least)
	require.ErrorContains(t, faster(least, []call{{"a", 2, 2}, {"c", 4, 1}}), "call 1 is b in one round and c in another")
	require.ErrorContains(t, faster(least, nil), "2 calls in one round and 0 in another")
}
