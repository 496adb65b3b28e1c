package cpu

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every task runs once, and its writes are seen when the operation ends, for
// more and fewer workers than processors and tasks, after pauses too, in which
// helpers leave.
func TestCrewRunsEveryTaskOnce(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 9} {
		b, err := New(Options{Workers: workers})
		require.NoError(t, err)
		done := make([]int, 40)
		for round := range 300 {
			tasks := round % len(done)
			clear(done)
			b.run(tasks*grain, tasks, func(s *scratch, i int) {
				s.take(1 + i)
				done[i]++
			})
			for i, n := range done {
				want := 0
				if i < tasks {
					want = 1
				}
				require.Equal(t, want, n, "%d workers, task %d of %d", workers, i, tasks)
			}
			if round%50 == 0 {
				time.Sleep(2 * patience)
			}
		}
	}
}

// The caller sleeps when helpers take long for their last tasks.
func TestCrewWaitsForSlowHelpers(t *testing.T) {
	b, err := New(Options{Workers: 4})
	require.NoError(t, err)
	var done atomic.Int64
	for range 20 {
		done.Store(0)
		b.run(4*grain, 4, func(*scratch, int) {
			time.Sleep(5 * patience)
			done.Add(1)
		})
		assert.EqualValues(t, 4, done.Load())
	}
}

// Helpers end when nothing comes.
func TestCrewGoesHome(t *testing.T) {
	b, err := New(Options{Workers: 4})
	require.NoError(t, err)
	b.run(4*grain, 4, func(*scratch, int) {})
	for slices.ContainsFunc(b.crew.helpers, func(h *helper) bool { return h.alive.Load() }) {
		time.Sleep(patience)
	}
}

// BenchmarkCrew is the time that it takes to hand out an operation and to
// collect it.
func BenchmarkCrew(bench *testing.B) {
	b, err := New(Options{})
	require.NoError(bench, err)
	tasks := b.maxWorkers()
	for bench.Loop() {
		b.run(tasks*grain, tasks, func(*scratch, int) {})
	}
}
