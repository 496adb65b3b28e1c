package openai

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stepwise-rl/stepwise/rollout"
)

// refresh is a weight refresh, as a dialect sees it.
type refresh struct {
	weights rollout.Weights
	run     string        // names the engine
	keep    bool          // requests are in flight, and shall go on
	timeout time.Duration // of a phase
	// loaded is called when weights have been loaded in place, before samples in flight
	// go on with them.
	loaded func()
}

// label is what the server is told about the weights' version.
func (r *refresh) label() string { return label(r.weights.Version) }

func label(version int64) string { return strconv.FormatInt(version, 10) }

// phase runs a part of the refresh within its deadline.
func (r *refresh) phase(ctx context.Context, name string, f func(ctx context.Context) error) error {
	if err := within(ctx, r.timeout, f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// within calls f, whose context ends after the time of Config.PhaseTimeout.
func within(ctx context.Context, timeout time.Duration, f func(ctx context.Context) error) error {
	inner, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := f(inner)
	if err != nil && inner.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("not done within Config.PhaseTimeout, %v: %w", timeout, err)
	}
	return err
}

// named reports whether weights of the form get a name of their own, so that requests
// choose between the old ones and the new.
func named(f rollout.Form) bool { return f == rollout.FormAdapter || f == rollout.FormGGUF }

// Refresh implements rollout.Refresher: it loads w.Ref, a path as the servers see it,
// into every server, all at once, and checks each with a generation.
//
//	folder    vLLM and SGLang stop, load it in place, and clear their caches
//	adapter   vLLM loads it beside its model
//	gguf      llama.cpp as a router loads it; its folder must be the --models-dir
//
// A form that one of the servers cannot load is an error, and nothing has changed. A
// server that fails is out: whatever it has then is not to be sampled from. The next
// Refresh takes it in if the weights had a name of their own (adapters, GGUF files), for
// these harm no others; otherwise once it was started anew (it did not answer at a Refresh
// and does so again, or it labels its weights as a new process does). An error is returned
// if no server is left, or if ctx is done.
func (e *Engine) Refresh(ctx context.Context, w rollout.Weights) error {
	for _, s := range e.fleet.servers {
		if forms := s.dialect.forms(); !slices.Contains(forms, w.Form) {
			var names []string
			for _, f := range forms {
				names = append(names, f.String())
			}
			hint := ""
			if w.Form == rollout.FormOwn {
				hint = ": wrap the policy in local.NewExporter, which writes them as files"
			}
			return fmt.Errorf("openai: %s (%v) cannot load weights of the form %v, want %s%s", s, s.config.Dialect, w.Form, strings.Join(names, " or "), hint)
		}
	}
	if w.Ref == "" {
		return errors.New("openai: Weights.Ref is empty, want the path of the weights")
	}
	e.refresh.Lock()
	defer e.refresh.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	defer e.Close()
	start := time.Now()
	defer func() {
		seconds := time.Since(start).Seconds()
		e.fleet.count(func(c *counters) { c.refreshSeconds += seconds })
	}()
	var all sync.WaitGroup
	errs := make([]error, len(e.fleet.servers))
	for i, s := range e.fleet.servers {
		all.Go(func() {
			if err := e.refreshServer(ctx, s, w); err != nil {
				errs[i] = fmt.Errorf("%s: %w", s, err)
			}
		})
	}
	all.Wait()
	left := 0
	for _, err := range errs {
		if err == nil {
			left++
			continue
		}
		e.config.Logger.WarnContext(ctx, "openai: a server is out after a weight refresh", "version", w.Version, "error", err.Error())
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if left == 0 {
		return fmt.Errorf("openai: refresh to version %d: %w", w.Version, noServer(errs))
	}
	return nil
}

// refreshServer gives one server new weights. After an error it is out.
func (e *Engine) refreshServer(ctx context.Context, s *server, w rollout.Weights) (err error) {
	f := e.fleet
	r := &refresh{weights: w, run: e.run, keep: e.config.KeepInFlight, timeout: e.config.PhaseTimeout, loaded: func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		s.last = w.Version
	}}
	if err := e.startedAnew(ctx, s); err != nil {
		return err
	}
	f.mu.Lock()
	if s.state == stateUp && s.loaded == loaded(w) {
		label, model := s.label, s.model
		f.mu.Unlock()
		if !errors.Is(s.healthyWithin(ctx, f.health, label, model), errOtherWeights) {
			return nil
		}
		f.mu.Lock()
	}
	s.tried = r.label()
	if !named(w.Form) || s.state != stateUp {
		s.state = stateRefreshing
	}
	f.mu.Unlock()
	defer func() {
		if err == nil {
			return
		}
		// Weights that were to get a name have harmed no others: it may be given the next.
		gone := named(w.Form) || s.healthyWithin(ctx, f.health, "", s.identity.model) != nil
		f.mu.Lock()
		defer f.mu.Unlock()
		s.state, s.lastErr, s.gone = stateDead, err, gone
		if !named(w.Form) {
			s.kill() // samples that would go on, with nobody knows what
		}
		f.notify()
	}()
	if !named(w.Form) && !r.keep {
		// It takes AttemptTimeout at most.
		if err := f.drained(ctx, s); err != nil {
			return fmt.Errorf("wait for the samples in flight: %w", err)
		}
	}
	e.dropReplaced(ctx, s, r)
	model, err := s.dialect.refresh(ctx, s, r)
	if err != nil {
		return err
	}
	if err := r.phase(ctx, "probe", func(ctx context.Context) error {
		_, _, err := e.probe(ctx, s, model, 0)
		return err
	}); err != nil {
		return err
	}
	f.mu.Lock()
	if s.model != model && (w.Form != rollout.FormAdapter || s.model != s.identity.model) {
		s.replaced = append(s.replaced, s.model)
	}
	s.replaced = slices.DeleteFunc(s.replaced, func(name string) bool { return name == model })
	s.model, s.version, s.last, s.state, s.failures, s.gone = model, w.Version, w.Version, stateUp, 0, false
	s.loaded = loaded(w)
	s.label = ""
	if !named(w.Form) {
		s.label = r.label()
	}
	if s.life.Err() != nil {
		s.life, s.kill = context.WithCancel(context.Background())
	}
	f.notify()
	f.mu.Unlock()
	e.dropReplaced(ctx, s, r)
	return nil
}

// dropReplaced makes a server forget the weights that others have replaced, unless a
// sample in flight is drawn from them: then the next refresh does. They are in the way
// only, so failing is no error.
func (e *Engine) dropReplaced(ctx context.Context, s *server, r *refresh) {
	e.fleet.mu.Lock()
	var idle []string
	s.replaced = slices.DeleteFunc(s.replaced, func(model string) bool {
		if s.byModel[model] > 0 {
			return false
		}
		idle = append(idle, model)
		return true
	})
	e.fleet.mu.Unlock()
	for _, model := range idle {
		err := r.phase(ctx, "drop the old weights", func(ctx context.Context) error { return s.dialect.drop(ctx, s, model) })
		if err != nil {
			e.config.Logger.WarnContext(ctx, "openai: weight refresh", "url", s.String(), "error", err.Error())
		}
	}
}

// loaded returns the part of weights that a server knows.
func loaded(w rollout.Weights) rollout.Weights {
	w.Local = nil
	return w
}

// startedAnew returns an error for a server that is out, unless it answers and has
// been seen not to answer since.
func (e *Engine) startedAnew(ctx context.Context, s *server) error {
	f := e.fleet
	f.mu.Lock()
	dead, gone, cause := s.state == stateDead, s.gone, s.lastErr
	f.mu.Unlock()
	if !dead {
		return nil
	}
	answers := s.healthyWithin(ctx, f.health, "", s.identity.model) == nil
	if answers && (gone || e.hasOthers(ctx, s)) {
		return nil
	}
	f.mu.Lock()
	s.gone = s.gone || !answers
	f.mu.Unlock()
	return fmt.Errorf("out since it failed, and not started anew: %w", cause)
}

// hasOthers reports whether a server that is out labels its weights otherwise than
// before the refresh that failed, and than that would have done: a new process.
func (e *Engine) hasOthers(ctx context.Context, s *server) bool {
	e.fleet.mu.Lock()
	before, tried := s.label, s.tried
	e.fleet.mu.Unlock()
	if before == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, e.fleet.health)
	defer cancel()
	label, err := s.dialect.version(ctx, s)
	return err == nil && label != "" && label != before && label != tried
}

func (s *server) healthyWithin(ctx context.Context, d time.Duration, label, model string) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.healthy(ctx, label, model)
}

// drained waits until a server has no sample in flight.
func (f *fleet) drained(ctx context.Context, s *server) error {
	for {
		f.mu.Lock()
		ok, changed := s.inFlight == 0, f.changed
		f.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
