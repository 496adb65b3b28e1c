package arithmetic_test

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/examples/internal/arithmetic"
)

func TestPartialSums(t *testing.T) {
	s := arithmetic.Sum{Numbers: []int{17, 5, 23}}
	require.Equal(t, "17+5+23", s.Text())
	require.Equal(t, 22, s.Partial(0))
	require.Equal(t, "45", s.Answer())
}

// A teacher that never slips is right in every step; one that always does, and glances,
// is right in the last alone.
func TestTeacher(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 50 {
		s := arithmetic.Example(3, i, 4)
		require.Len(t, s.Numbers, 5)
		require.Equal(t, s, arithmetic.Example(3, i, 4))
		good := arithmetic.Teacher{}.Trace(s, rng)
		for k, w := range good {
			require.Equal(t, s.Partial(k), atoi(t, w.Answer))
		}
		bad := arithmetic.Teacher{Slip: 1, Glance: 1}.Trace(s, rng)
		require.NotEqual(t, s.Partial(0), atoi(t, bad[0].Answer))
		require.Equal(t, s.Answer(), bad[3].Answer)
	}
}

// No test sum is one of training, even where there are but 39³ sums.
func TestSetsAreApart(t *testing.T) {
	const seed, steps = 7, 2
	in := map[string]string{}
	for i := range 20_000 {
		in[arithmetic.Draw(seed, arithmetic.Train, i, steps).Text()] = arithmetic.Train
	}
	for _, set := range []string{arithmetic.Random, arithmetic.LongTail} {
		for i := range 1000 {
			s := arithmetic.Draw(seed, set, i, steps)
			other, seen := in[s.Text()]
			require.False(t, seen && other != set, "%s is in %q and %q", s.Text(), other, set)
			in[s.Text()] = set
			large := 0
			for _, n := range s.Numbers {
				large += n / 30 // of at most 39
			}
			require.Equal(t, set == arithmetic.LongTail, large >= 2, s.Text())
		}
	}
	// The study's rows were made with these.
	require.Equal(t, "16+1+31+7+34", arithmetic.Draw(seed, arithmetic.Train, 3, 4).Text())
}

func atoi(t *testing.T, text string) int {
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}
