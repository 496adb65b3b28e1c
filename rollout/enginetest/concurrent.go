package enginetest

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/stepwise-rl/stepwise/rollout"
)

// concurrent checks that calls of Generate may overlap, and that Refresh may be called
// meanwhile if the engine says so.
func concurrent(ctx context.Context, s *suite) error {
	e, ok := s.engine.(rollout.Concurrent)
	if !ok {
		return skip("the engine is no rollout.Concurrent")
	}
	const calls, samples = 4, 3
	requests := func(i int) rollout.Request {
		q := s.request(i%2, samples, rollout.Params{Temperature: 1})
		q.Stream[1] += uint64(i / 2)
		return q
	}
	var alone, together [calls][]rollout.Completion
	for i := range alone {
		got, err := s.collect(ctx, requests(i))
		if err != nil {
			return err
		}
		alone[i] = got[0]
	}
	group, gctx := errgroup.WithContext(ctx)
	for i := range together {
		group.Go(func() error {
			got, err := s.collect(gctx, requests(i))
			if err != nil {
				return fmt.Errorf("call %d of %d at once: %w", i, calls, err)
			}
			together[i] = got[0]
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i := range alone {
		for n := range alone[i] {
			if s.BatchDependent {
				break
			}
			if err := same(&alone[i][n], &together[i][n]); err != nil {
				return fmt.Errorf("sample %d of a call alone and beside others: %w", n, err)
			}
		}
	}
	if !e.RefreshInFlight() || s.Weights == nil {
		return nil
	}
	return inFlight(ctx, s, e)
}

// inFlight checks a refresh while samples are in flight.
func inFlight(ctx context.Context, s *suite, e rollout.Concurrent) error {
	if err := e.Refresh(ctx, s.Weights(3)); err != nil {
		return err
	}
	q, first := s.request(0, 64, rollout.Params{Temperature: 1}), make(chan struct{})
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		emitted := 0
		return s.engine.Generate(gctx, []rollout.Request{q}, func(c rollout.Completion) error {
			if emitted++; emitted == 1 {
				close(first)
			}
			if c.FirstVersion < 3 || c.FirstVersion > c.LastVersion || c.LastVersion > 4 {
				return fmt.Errorf("a sample in flight during a refresh from version 3 to 4 has versions %d to %d", c.FirstVersion, c.LastVersion)
			}
			return s.sound(&q, &c)
		})
	})
	group.Go(func() error {
		select {
		case <-first:
		case <-gctx.Done():
			return nil
		}
		if err := e.Refresh(gctx, s.Weights(4)); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("a refresh while samples are in flight: %w", err)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	got, err := s.collect(ctx, s.request(1, 1, rollout.Params{Temperature: 1}))
	if err != nil {
		return err
	}
	if c := got[0][0]; c.FirstVersion != 4 {
		return fmt.Errorf("after a refresh to version 4 in flight, a sample begins with version %d", c.FirstVersion)
	}
	return nil
}
