package enginetest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rollout"
)

// several is a rollout.Concurrent of fakes, one per call; Logits needs no weights.
type several struct {
	mu     sync.Mutex
	f      *Fake
	change func(calls int, c *rollout.Completion) // that a fault makes
	ignore bool                                   // refreshes
	calls  int                                    // so far
}

func (e *several) RefreshInFlight() bool { return true }

func (e *several) Refresh(ctx context.Context, w rollout.Weights) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ignore && w.Version == 4 {
		return nil
	}
	return e.f.Refresh(ctx, w)
}

func (e *several) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	e.mu.Lock()
	f := *e.f
	e.calls++
	calls := e.calls
	e.mu.Unlock()
	return f.Generate(ctx, reqs, func(c rollout.Completion) error {
		if e.change != nil {
			e.change(calls, &c)
		}
		return emit(c)
	})
}

func TestConcurrent(t *testing.T) {
	c := config()
	c.New = func(*testing.T) rollout.Engine { return &several{f: fake()} }
	Run(t, c)

	require.ErrorContains(t, concurrent(t.Context(), newSuite(&c, fake())), "no rollout.Concurrent")
	for want, e := range map[string]*several{
		"a call alone and beside others": {change: func(calls int, c *rollout.Completion) { c.LogP[0] -= float64(calls / 5) }},
		"has versions 3 to 9":            {change: func(_ int, c *rollout.Completion) { c.LastVersion = 9 }},
		"a sample begins with version 3": {ignore: true},
	} {
		e.f = fake()
		require.ErrorContains(t, concurrent(t.Context(), newSuite(&c, e)), want)
	}
}
