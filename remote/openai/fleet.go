package openai

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// fleet chooses a server for each request.
type fleet struct {
	servers  []*server
	patience time.Duration
	health   time.Duration // bound on the question whether a server is up

	mu       sync.Mutex
	changed  chan struct{} // closed, and made anew, when a server becomes free
	unplaced map[int64]int // samples of each call that have had no place yet
	lastUp   time.Time     // when a server was last up, or a call began
	*counters
}

// failuresDown is how many requests in a row must fail until a server is down. One
// whose port is closed is down at once.
const failuresDown = 3

// maxDown is the longest that a server which is down is left alone.
const maxDown = 15 * time.Second

func newFleet(servers []*server, patience, health time.Duration) *fleet {
	for _, s := range servers {
		s.byModel = map[string]int{}
		s.life, s.kill = context.WithCancel(context.Background())
		s.waits = &backoff.ExponentialBackOff{
			InitialInterval: 200 * time.Millisecond, MaxInterval: maxDown, Multiplier: 2, RandomizationFactor: 0.5,
		}
	}
	return &fleet{
		servers: servers, patience: patience, health: health,
		changed: make(chan struct{}), unplaced: map[int64]int{}, lastUp: time.Now(), counters: newCounters(),
	}
}

// notify wakes those who wait for a server. f.mu is held.
func (f *fleet) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// slots is how many requests may be under way at once.
func (f *fleet) slots() (n int) {
	for _, s := range f.servers {
		n += s.limit
	}
	return n
}

// lease is a place at a server for one request.
type lease struct {
	*server
	model, label string
	version      int64
	life         context.Context // of the weights
}

// labelOf returns the label of the weights that a server has now.
func (f *fleet) labelOf(s *server) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return label(s.last)
}

// begin tells that a call has samples that will need places, 0 if it does not matter
// how many. Calls are numbered from 1.
func (f *fleet) begin(call int64, samples int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unplaced[call] = samples
	f.lastUp = time.Now()
}

// placed tells that one of them has had its first place.
func (f *fleet) placed(call int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n, ok := f.unplaced[call]; ok {
		if f.unplaced[call] = n - 1; n == 1 {
			f.notify() // later calls
		}
	}
}

// end tells that a call needs no further places.
func (f *fleet) end(call int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.unplaced, call)
	f.notify()
}

// behind reports whether samples of an earlier call have to go first. f.mu is held.
func (f *fleet) behind(call int64) bool {
	for c, n := range f.unplaced {
		if c < call && n > 0 {
			return true
		}
	}
	return false
}

// acquire waits for a place at the least loaded server. Those of avoid, where the sample
// has failed, are used only if no other is well, and then the first of them first. Samples
// of earlier calls go first; call 0 is before all.
func (f *fleet) acquire(ctx context.Context, call int64, avoid []*server) (*lease, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f.mu.Lock()
		now := time.Now()
		var s *server
		var trial bool
		var err error
		wait := time.Second
		if !f.behind(call) {
			s, trial, wait, err = f.choose(avoid, now)
		}
		var l *lease
		switch {
		case trial:
			s.state = stateTrial
		case s != nil:
			s.inFlight++
			s.byModel[s.model]++
			f.inFlight.add(now, 1)
			l = &lease{s, s.model, s.label, s.version, s.life}
		}
		changed := f.changed
		f.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case trial:
			f.try(ctx, s)
			continue
		case l != nil:
			return l, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// choose returns the server to use, or to try whether it is up again, or how long to
// wait at most. f.mu is held.
func (f *fleet) choose(avoid []*server, now time.Time) (best *server, trial bool, wait time.Duration, err error) {
	wait = time.Second
	dead := 0
	for len(avoid) > 0 && !f.well(now, avoid...) {
		avoid = avoid[1:]
	}
	for _, s := range f.servers {
		switch s.state {
		case stateDead:
			dead++
			continue
		case stateDown:
			if until := s.notBefore.Sub(now); until > 0 {
				wait = min(wait, until)
				continue
			}
			return s, true, 0, nil
		case stateUp:
			f.lastUp = now
		case stateTrial, stateRefreshing:
			if s.state == stateRefreshing {
				f.lastUp = now // it has a deadline of its own
			}
			continue
		}
		if until := s.notBefore.Sub(now); until > 0 {
			wait = min(wait, until)
			continue
		}
		if s.inFlight >= s.limit || slices.Contains(avoid, s) || s.inFlight > 0 && s.sick() && f.well(now, s) {
			continue
		}
		if best == nil || s.inFlight*best.limit < best.inFlight*s.limit {
			best = s
		}
	}
	if best == nil && (dead == len(f.servers) || now.Sub(f.lastUp) > f.patience) {
		return nil, false, 0, f.none()
	}
	return best, false, wait, nil
}

// sick reports whether a server has failed and not answered a sample since. What it says of
// its health is not believed then, as long as others are well: it gets one at a time.
// f.mu is held.
func (s *server) sick() bool { return s.failures >= failuresDown }

// well reports whether a server besides some is up, not sick, and has not asked to wait.
// f.mu is held.
func (f *fleet) well(now time.Time, besides ...*server) bool {
	return slices.ContainsFunc(f.servers, func(s *server) bool {
		return s.state == stateUp && !s.sick() && !s.notBefore.After(now) && !slices.Contains(besides, s)
	})
}

// none is the error when no server is left. f.mu is held.
func (f *fleet) none() error {
	var errs []error
	for _, s := range f.servers {
		if s.lastErr != nil {
			errs = append(errs, s.lastErr)
		}
	}
	return fmt.Errorf("openai: %w", noServer(errs))
}

// noServer returns ErrNoServer with the first of the servers' errors, on one line.
func noServer(errs []error) error {
	err := ErrNoServer
	const most = 3
	for i, e := range errs {
		switch {
		case i < most:
			err = fmt.Errorf("%w; %w", err, e)
		case i == most:
			err = fmt.Errorf("%w; and %d more", err, len(errs)-most)
		}
	}
	return err
}

// ErrNoServer is in the error of a call that ends because no server is left: all are
// out since a weight refresh, or none has answered for Config.Patience.
var ErrNoServer = errors.New("no server is left")

// try asks a server that is down whether it is up again.
func (f *fleet) try(ctx context.Context, s *server) {
	f.mu.Lock()
	label, model := s.label, s.model
	f.mu.Unlock()
	err := s.healthyWithin(ctx, f.health, label, model)
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.notify()
	if s.state != stateTrial {
		return // a refresh has taken it meanwhile
	}
	switch {
	case err == nil:
		s.state, s.notBefore = stateUp, time.Time{}
		if !f.well(time.Now(), s) {
			s.failures = 0
			s.waits.Reset()
		}
	case errors.Is(err, errOtherWeights):
		s.state, s.lastErr, s.gone = stateDead, err, true
	default:
		s.state = stateDown
		if ctx.Err() == nil {
			s.lastErr = err
			s.notBefore = time.Now().Add(s.waits.NextBackOff())
		}
	}
}

// release gives a place back after a request that was answered, and returns the version
// that its last token may have.
func (f *fleet) release(l *lease) (last int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.failures = 0
	l.waits.Reset()
	f.free(l)
	if l.model != l.server.model {
		return l.version // by their name, they were the same to the end
	}
	return l.last
}

// free gives a place back. f.mu is held.
func (f *fleet) free(l *lease) {
	l.inFlight--
	if l.byModel[l.model]--; l.byModel[l.model] == 0 {
		delete(l.byModel, l.model)
	}
	f.inFlight.add(time.Now(), -1)
	f.notify()
}

// abandon gives a place back after a request that the caller has ended.
func (f *fleet) abandon(l *lease) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free(l)
}

// busy gives a place back after an answer that asks to wait.
func (f *fleet) busy(l *lease, after time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := time.Now().Add(after); after > 0 && t.After(l.notBefore) && l.state == stateUp {
		l.notBefore = t
	}
	f.free(l)
}

// unreached reports whether there was no connection, so that the server got nothing.
func unreached(err error) bool {
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial"
}

// failed gives a place back after a request that failed by the server's fault.
func (f *fleet) failed(l *lease, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.failures++
	if l.state != stateDead { // which has a cause
		l.lastErr = err
	}
	if l.state == stateUp {
		f.lastUp = time.Now()
	}
	switch {
	case l.state != stateUp:
	case errors.Is(err, errOtherWeights):
		l.state, l.notBefore = stateDown, time.Now() // trying it finds out the same
	case l.failures >= failuresDown || unreached(err):
		l.state, l.notBefore = stateDown, time.Now().Add(l.waits.NextBackOff())
	}
	f.free(l)
}
