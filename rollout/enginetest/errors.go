package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/rollout"
)

// many is more samples than an engine can finish before it notices that it should
// stop.
const many = 5000

func invalidRequests(ctx context.Context, s *suite) error {
	fine := s.request(0, 2, rollout.Params{Temperature: 1})
	for _, c := range []struct {
		name  string
		spoil func(*rollout.Request)
	}{
		{"no prompt", func(r *rollout.Request) { r.Prompt = nil }},
		{"a negative token id", func(r *rollout.Request) { r.Prompt = []int32{-1} }},
		{"a huge token id", func(r *rollout.Request) { r.Prompt = []int32{math.MaxInt32} }},
		{"N 0", func(r *rollout.Request) { r.N = 0 }},
		{"N -1", func(r *rollout.Request) { r.N = -1 }},
		{"MaxTokens 0", func(r *rollout.Request) { r.Params.MaxTokens = 0 }},
		{"a negative temperature", func(r *rollout.Request) { r.Params.Temperature = -1 }},
		{"temperature NaN", func(r *rollout.Request) { r.Params.Temperature = math.NaN() }},
		{"temperature +Inf", func(r *rollout.Request) { r.Params.Temperature = math.Inf(1) }},
		{"TopP 1.5", func(r *rollout.Request) { r.Params.TopP = 1.5 }},
		{"TopP NaN", func(r *rollout.Request) { r.Params.TopP = math.NaN() }},
		{"TopK -1", func(r *rollout.Request) { r.Params.TopK = -1 }},
		{"an empty stop string", func(r *rollout.Request) { r.Params.Stop = []string{"x", ""} }},
	} {
		wrong := s.request(1, 2, rollout.Params{Temperature: 1})
		wrong.ID = "the-wrong-one"
		c.spoil(&wrong)
		emitted := 0
		err := s.engine.Generate(ctx, []rollout.Request{fine, wrong}, func(rollout.Completion) error {
			emitted++
			return nil
		})
		switch {
		case err == nil:
			return fmt.Errorf("a request with %s is no error", c.name)
		case emitted > 0:
			return fmt.Errorf("a request with %s: %d completions are emitted before the error", c.name, emitted)
		case !strings.Contains(err.Error(), wrong.ID):
			return fmt.Errorf("a request with %s: the error does not name the request's ID: %w", c.name, err)
		}
	}
	return nil
}

// used returns the names of the parameters that a refusal can be due to.
func used(p *rollout.Params) (names []string) {
	if p.Temperature != 1 {
		names = append(names, "Temperature")
	}
	if p.TopK > 0 {
		names = append(names, "TopK")
	}
	if p.TopP > 0 {
		names = append(names, "TopP")
	}
	if len(p.Stop) > 0 {
		names = append(names, "Stop")
	}
	return names
}

// namesOne reports whether an error names one of the parameters.
func namesOne(err error, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.Contains(err.Error(), n) })
}

// refused checks that what the engine lacks is refused beforehand, by the name of a
// parameter.
func refused(ctx context.Context, s *suite) error {
	if s.Lacks == 0 {
		return skip("Config.Lacks is not set")
	}
	checker, ok := s.engine.(rollout.Checker)
	if !ok {
		return errors.New("Config.Lacks is set, but the engine is no rollout.Checker")
	}
	for _, p := range []rollout.Params{
		{Temperature: 0.7},
		{Temperature: 1, TopK: 3},
		{Temperature: 1, TopP: 0.6},
		{Temperature: 0.7, TopK: 3},
		{Temperature: 0.7, TopP: 0.6},
		{Temperature: 1, TopK: 3, TopP: 0.6},
		{Temperature: 1, Stop: []string{"x"}},
	} {
		names := used(&p)
		wrong := s.request(1, 2, p)
		wrong.ID = "the-refused-one"
		err := checker.Check(&wrong)
		switch lacks := s.lacks(p); {
		case !lacks && err != nil:
			return fmt.Errorf("%+v: Config.Lacks does not say so, but Check refuses it: %w", p, err)
		case !lacks:
			continue
		case err == nil:
			return fmt.Errorf("%+v: the engine lacks it, but Check does not refuse it", p)
		case !namesOne(err, names):
			return fmt.Errorf("%+v: the error of Check does not name %s: %w", p, strings.Join(names, " or "), err)
		}
		emitted := 0
		err = s.engine.Generate(ctx, []rollout.Request{s.request(0, 2, rollout.Params{Temperature: 1}), wrong}, func(rollout.Completion) error {
			emitted++
			return nil
		})
		switch {
		case err == nil || emitted > 0:
			return fmt.Errorf("%+v: Check refuses it, but Generate emits %d completions and returns %v", p, emitted, err)
		case !strings.Contains(err.Error(), wrong.ID) || !namesOne(err, names):
			return fmt.Errorf("%+v: the error of Generate does not name %s, and the request's ID: %w", p, strings.Join(names, " or "), err)
		}
	}
	return nil
}

func emitError(ctx context.Context, s *suite) error {
	for _, at := range []int{1, 2} {
		full := errors.New("no room")
		emitted := 0
		err := s.engine.Generate(ctx, []rollout.Request{s.request(0, many, rollout.Params{Temperature: 1})},
			func(rollout.Completion) error {
				if emitted++; emitted >= at {
					return full
				}
				return nil
			})
		switch {
		case !errors.Is(err, full):
			return fmt.Errorf("emit returned the error %q, Generate returned %v", full, err)
		case emitted != at:
			return fmt.Errorf("emit returned an error at its call %d, and was called %d times", at, emitted)
		}
	}
	return nil
}

func cancelledBefore(ctx context.Context, s *suite) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	emitted := 0
	err := s.engine.Generate(ctx, []rollout.Request{s.request(0, 2, rollout.Params{Temperature: 1})},
		func(rollout.Completion) error {
			emitted++
			return nil
		})
	switch {
	case !errors.Is(err, context.Canceled):
		return fmt.Errorf("the context is cancelled, Generate returned %v", err)
	case emitted > 0:
		return fmt.Errorf("the context was cancelled before the call, and %d completions are emitted", emitted)
	}
	return nil
}

func cancelledWithin(ctx context.Context, s *suite) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	emitted := 0
	err := s.engine.Generate(ctx, []rollout.Request{s.request(0, many, rollout.Params{Temperature: 1})},
		func(rollout.Completion) error {
			emitted++
			cancel()
			return nil
		})
	switch {
	case !errors.Is(err, context.Canceled):
		return fmt.Errorf("the context is cancelled, Generate returned %v", err)
	case emitted == many:
		return fmt.Errorf("the context was cancelled at the first completion, and all %d are emitted", emitted)
	}
	return nil
}

// goroutines checks that calls that succeed, fail or are cancelled leave no
// goroutine behind, those of idle HTTP connections included. It finds them by a label,
// which they inherit.
func goroutines(ctx context.Context, s *suite) error {
	const label = "enginetest"
	mark := fmt.Sprintf("%p", s)
	var err error
	pprof.Do(ctx, pprof.Labels(label, mark), func(ctx context.Context) {
		if _, err = s.collect(ctx, s.request(0, 3, rollout.Params{Temperature: 1})); err == nil {
			if err = emitError(ctx, s); err == nil {
				err = cancelledWithin(ctx, s)
			}
		}
	})
	if err != nil {
		return err
	}
	var profile bytes.Buffer
	for deadline := time.Now().Add(s.patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		profile.Reset()
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			return err
		}
		if !strings.Contains(profile.String(), mark) {
			return nil // a goroutine that has returned may take a moment to be gone
		}
	}
	return fmt.Errorf("goroutines outlive the call of Generate (those of idle HTTP connections end with a deferred CloseIdleConnections in it):\n%s", profile.String())
}
