package reward_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("connection refused")

func service(t require.TestingT, s reward.ServiceSettings) *reward.Service {
	s.Name = "judge"
	v, err := reward.NewService(s)
	require.NoError(t, err)
	return v
}

// after answers with 1 once it has failed n times.
func after(n int, err error) (rule reward.Rule[example], calls *atomic.Int64) {
	calls = new(atomic.Int64)
	return reward.RuleFunc[example](func(context.Context, example, *prompt.Trace, int) (reward.Score, error) {
		if calls.Add(1) <= int64(n) {
			return reward.Score{}, err
		}
		return value(1), nil
	}), calls
}

func byText(_ example, trace *prompt.Trace, _ int) string { return trace.Text }

func TestServiceSettings(t *testing.T) {
	valid := reward.ServiceSettings{
		Name: "judge", Timeout: time.Second, Retries: 2, Backoff: time.Second, MaxBackoff: time.Minute,
		Concurrency: 4, RatePerSecond: 0.5, Burst: 1, CacheSize: 10,
		OnFailure: reward.OnFailureDrop, Budget: reward.FailureBudget{Failures: 3, Window: 4},
	}
	require.NoError(t, valid.Validate())
	for want, spoil := range map[string]func(*reward.ServiceSettings){
		`Name is "", want 1 to 64 bytes`:                              func(s *reward.ServiceSettings) { s.Name = "" },
		`x", want 1 to 64 bytes`:                                      func(s *reward.ServiceSettings) { s.Name = strings.Repeat("x", 65) },
		"Timeout is -1ns, must not be negative":                       func(s *reward.ServiceSettings) { s.Timeout = -1 },
		"Retries is -1, must not be negative":                         func(s *reward.ServiceSettings) { s.Retries = -1 },
		"Backoff is 0, but Retries is 2: retries need a wait":         func(s *reward.ServiceSettings) { s.Backoff = 0 },
		"MaxBackoff is 0s, want at least Backoff, 1s":                 func(s *reward.ServiceSettings) { s.MaxBackoff = 0 },
		"Concurrency is -1, must not be negative":                     func(s *reward.ServiceSettings) { s.Concurrency = -1 },
		"RatePerSecond is -1, want 0 or more":                         func(s *reward.ServiceSettings) { s.RatePerSecond = -1 },
		"Burst is 0 at a RatePerSecond of 0.5":                        func(s *reward.ServiceSettings) { s.Burst = 0 },
		"Burst is 1 at a RatePerSecond of 0,":                         func(s *reward.ServiceSettings) { s.RatePerSecond = 0 },
		"CacheSize is -1, must not be negative":                       func(s *reward.ServiceSettings) { s.CacheSize = -1 },
		"OnFailure is reward.OnFailure(3), want end, drop or unscora": func(s *reward.ServiceSettings) { s.OnFailure = 3 },
		"Budget is 4 of 4, want a Window greater than Failures":       func(s *reward.ServiceSettings) { s.Budget.Failures = 4 },
		"with OnFailure end the first failure ends the run":           func(s *reward.ServiceSettings) { s.OnFailure = reward.OnFailureEnd },
	} {
		s := valid
		spoil(&s)
		_, err := reward.NewService(s)
		assert.ErrorContains(t, err, want)
	}

	text, err := json.Marshal(valid)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"on_failure":"drop"`)
	var back reward.ServiceSettings
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, valid, back)
	assert.Panics(t, func() { reward.Through[example](nil, constant(value(1), nil), nil) })
	assert.Panics(t, func() { reward.Through[example](service(t, reward.ServiceSettings{}), nil, nil) })
}

func TestServiceRetries(t *testing.T) {
	for _, c := range []struct {
		fails int
		err   error
		calls int64
		want  string
	}{
		{0, nil, 1, ""},
		{3, errDown, 4, ""},
		{4, errDown, 4, `reward: service "judge" failed after 4 calls: connection refused`},
		{1, context.DeadlineExceeded, 2, ""}, // of the service's client, not of the run
		{9, fmt.Errorf("no key: %w", reward.Permanent(errDown)), 1, `reward: service "judge" failed: no key: connection refused`},
	} {
		synctest.Test(t, func(t *testing.T) {
			rule, calls := after(c.fails, c.err)
			judge := service(t, reward.ServiceSettings{Retries: 3, Backoff: time.Second, MaxBackoff: 3 * time.Second})
			rule = reward.Through(judge, rule, nil)
			start := time.Now()
			got, err := rule.Score(t.Context(), example{}, parse(""), reward.WholeCompletion)
			assert.Equal(t, c.calls, calls.Load())
			assert.LessOrEqual(t, time.Since(start), (1+2+3)*time.Second)
			stats := reward.ServiceStats{Questions: 1, Calls: c.calls, FailedCalls: min(c.calls, int64(c.fails))}
			if c.want != "" {
				stats.Failures = 1
			}
			assert.Equal(t, stats, judge.Stats())
			if c.want == "" {
				assert.NoError(t, err)
				assert.Equal(t, value(1), got)
				return
			}
			assert.EqualError(t, err, c.want)
			assert.ErrorIs(t, err, errDown)
		})
	}
	assert.NoError(t, reward.Permanent(nil))
}

// The waits of the k-th retry are spread over 0 to min(MaxBackoff, Backoff·2^k).
func TestServiceBackoff(t *testing.T) {
	limits := []float64{1, 2, 4, 7, 7} // seconds
	const trials = 300
	sums := make([]float64, len(limits))
	synctest.Test(t, func(t *testing.T) {
		for range trials {
			var at []time.Time
			rule := reward.Through(service(t, reward.ServiceSettings{Retries: len(limits), Backoff: time.Second, MaxBackoff: 7 * time.Second}),
				reward.RuleFunc[example](func(context.Context, example, *prompt.Trace, int) (reward.Score, error) {
					at = append(at, time.Now())
					return reward.Score{}, errDown
				}), nil)
			_, err := rule.Score(t.Context(), example{}, parse(""), 0)
			require.ErrorIs(t, err, errDown)
			require.Len(t, at, len(limits)+1)
			for k, limit := range limits {
				wait := at[k+1].Sub(at[k]).Seconds()
				require.Less(t, wait, limit)
				sums[k] += wait
			}
		}
	})
	for k, limit := range limits {
		// The mean of a uniform variable: limit/2, with a standard error of
		// limit/√(12·300) = limit/60.
		assert.InDelta(t, limit/2, sums[k]/trials, 6*limit/60, "retry %d", k)
	}
}

func TestServiceTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		hangs := reward.RuleFunc[example](func(ctx context.Context, _ example, _ *prompt.Trace, _ int) (reward.Score, error) {
			if calls++; calls == 1 {
				<-ctx.Done()
				return reward.Score{}, ctx.Err()
			}
			time.Sleep(time.Second)
			return value(1), nil
		})
		settings := reward.ServiceSettings{Timeout: 2 * time.Second, Retries: 1, Backoff: 1, MaxBackoff: 1}
		start := time.Now()
		got, err := reward.Through(service(t, settings), hangs, nil).Score(t.Context(), example{}, parse(""), 0)
		require.NoError(t, err)
		assert.Equal(t, value(1), got)
		assert.Equal(t, 3*time.Second, time.Since(start).Round(time.Second))

		calls, settings.Retries = 0, 0
		_, err = reward.Through(service(t, settings), hangs, nil).Score(t.Context(), example{}, parse(""), 0)
		assert.EqualError(t, err, `reward: service "judge" failed: no answer within 2s: context deadline exceeded`)
	})
}

// Wherever a judgement waits (for a slot, its turn, a retry, another's answer, the
// call itself), the end of its context ends it, and is no failure of the service.
func TestServiceIsCancelled(t *testing.T) {
	blocks := reward.RuleFunc[example](func(ctx context.Context, _ example, _ *prompt.Trace, _ int) (reward.Score, error) {
		<-ctx.Done()
		return reward.Score{}, fmt.Errorf("get: %w", ctx.Err())
	})
	fails, _ := after(1000, errDown)
	for name, c := range map[string]struct {
		settings reward.ServiceSettings
		rule     reward.Rule[example]
	}{
		"slot":    {reward.ServiceSettings{Concurrency: 1}, blocks},
		"turn":    {reward.ServiceSettings{RatePerSecond: 1e-6, Burst: 1}, blocks},
		"retry":   {reward.ServiceSettings{Retries: 1, Backoff: 1e6 * time.Hour, MaxBackoff: 1e6 * time.Hour}, fails},
		"timeout": {reward.ServiceSettings{Timeout: time.Hour}, blocks},
	} {
		for _, key := range []func(example, *prompt.Trace, int) string{nil, byText} {
			synctest.Test(t, func(t *testing.T) {
				c.settings.OnFailure, c.settings.Budget = reward.OnFailureUnscorable, reward.FailureBudget{Window: 1}
				rule := reward.Through(service(t, c.settings), c.rule, key)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						_, err := rule.Score(ctx, example{}, parse(""), 0)
						assert.Equal(t, context.DeadlineExceeded, err, name)
					})
				}
				wg.Wait()
			})
		}
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	rule, calls := after(0, nil)
	_, err := reward.Through(service(t, reward.ServiceSettings{}), rule, nil).Score(done, example{}, parse(""), 0)
	assert.Equal(t, context.Canceled, err)
	assert.Zero(t, calls.Load())
}

func TestServiceOnFailure(t *testing.T) {
	secret, _ := after(1000, errors.New("the service's own words"))
	ask := func(s reward.ServiceSettings) (reward.Score, error) {
		return reward.Through(service(t, s), secret, nil).Score(t.Context(), example{}, parse(""), 0)
	}
	_, err := ask(reward.ServiceSettings{})
	require.ErrorContains(t, err, "own words")
	assert.NotErrorIs(t, err, reward.ErrDrop)

	_, err = ask(reward.ServiceSettings{OnFailure: reward.OnFailureDrop})
	require.ErrorIs(t, err, reward.ErrDrop)
	assert.EqualError(t, err, `reward: dropped, the judgement failed: reward: service "judge" failed: the service's own words`)

	s, err := ask(reward.ServiceSettings{OnFailure: reward.OnFailureUnscorable})
	require.NoError(t, err)
	assert.Equal(t, "judge failed", s.Reason)
	assert.EqualError(t, s.Cause(), `judge failed: reward: service "judge" failed: the service's own words`)

	for _, answer := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		rule := reward.Through(service(t, reward.ServiceSettings{}), constant(value(answer), nil), nil)
		_, err = rule.Score(t.Context(), example{}, parse(""), 0)
		assert.ErrorContains(t, err, "is not finite")
	}
}

// The budget, against counting: a judgement ends the run if it fails and more than
// Failures of the last Window, itself included, have failed.
func TestServiceBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(1, 6).Draw(t, "window")
		b := reward.FailureBudget{Failures: rapid.IntRange(0, window-1).Draw(t, "failures"), Window: window}
		fails := rapid.SliceOfN(rapid.Bool(), 0, 30).Draw(t, "fails")
		k := 0
		rule := reward.Through(service(t, reward.ServiceSettings{OnFailure: reward.OnFailureDrop, Budget: b}),
			reward.RuleFunc[example](func(context.Context, example, *prompt.Trace, int) (reward.Score, error) {
				if fails[k] {
					return reward.Score{}, errDown
				}
				return value(1), nil
			}), nil)
		for k = range fails {
			n := 0
			for _, f := range fails[max(0, k+1-window) : k+1] {
				if f {
					n++
				}
			}
			_, err := rule.Score(context.Background(), example{}, parse(""), 0)
			switch {
			case !fails[k]:
				require.NoError(t, err)
			case n <= b.Failures:
				require.ErrorIs(t, err, reward.ErrDrop)
			default:
				require.NotErrorIs(t, err, reward.ErrDrop)
				require.EqualError(t, err, fmt.Sprintf(`reward: service "judge" failed: connection refused; `+
					`that makes %d of the last %d judgements, the budget is %d`, n, window, b.Failures))
			}
		}
	})
}

// The cache, against the plainest one: a list of keys, the last used at the end.
func TestServiceCache(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 4).Draw(t, "size")
		calls := 0
		counts := func(v float64) reward.Rule[example] {
			return reward.RuleFunc[example](func(_ context.Context, _ example, trace *prompt.Trace, step int) (reward.Score, error) {
				calls++
				if trace.Text == "down" {
					return reward.Score{}, errDown
				}
				return value(v + float64(len(trace.Text)+100*step)), nil
			})
		}
		s := service(t, reward.ServiceSettings{CacheSize: size})
		rules := []reward.Rule[example]{reward.Through(s, counts(0), byText), reward.Through(s, counts(1000), byText)}
		var model []string
		n := rapid.IntRange(0, 40).Draw(t, "questions")
		for range n {
			text := rapid.SampledFrom([]string{"", "a", "bb", "down"}).Draw(t, "text")
			step, r := rapid.IntRange(0, 1).Draw(t, "step"), rapid.IntRange(0, 1).Draw(t, "rule")
			key := fmt.Sprint(text, step, r)
			at, before := slices.Index(model, key), calls
			got, err := rules[r].Score(context.Background(), example{}, parse(text), step)
			if text == "down" {
				require.ErrorIs(t, err, errDown)
				require.Equal(t, before+1, calls)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, value(float64(1000*r+len(text)+100*step)), got)
			if at >= 0 {
				require.Equal(t, before, calls, "%s is kept", key)
				model = slices.Delete(model, at, at+1)
			} else {
				require.Equal(t, before+1, calls, "%s is not kept", key)
			}
			if model = append(model, key); len(model) > size {
				model = model[1:]
			}
		}
		stats := s.Stats()
		require.EqualValues(t, n, stats.Questions)
		require.EqualValues(t, calls, stats.Calls)
		require.Equal(t, stats.FailedCalls, stats.Failures) // without retries
	})
}

// Equal questions at the same time share one call, and its failure. If the one who
// asks is interrupted, another asks.
func TestServiceSharesCalls(t *testing.T) {
	for _, fails := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			answer, calls := after(fails, errDown)
			slow := reward.RuleFunc[example](func(ctx context.Context, e example, trace *prompt.Trace, step int) (reward.Score, error) {
				select {
				case <-time.After(time.Minute):
					return answer.Score(ctx, e, trace, step)
				case <-ctx.Done():
					return reward.Score{}, ctx.Err()
				}
			})
			rule := reward.Through(service(t, reward.ServiceSettings{}), slow, byText)
			leader, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := rule.Score(leader, example{}, parse(""), 0)
				assert.Equal(t, context.DeadlineExceeded, err)
			})
			synctest.Wait()
			for range 5 {
				wg.Go(func() {
					_, err := rule.Score(t.Context(), example{}, parse(""), 0)
					assert.Equal(t, fails > 0, errors.Is(err, errDown))
				})
			}
			wg.Wait()
			assert.Equal(t, int64(1), calls.Load())
			_, err := rule.Score(t.Context(), example{}, parse(""), 0)
			require.NoError(t, err, "nothing is kept")
			assert.Equal(t, int64(2), calls.Load())
		})
	}

	rule := reward.Through(service(t, reward.ServiceSettings{Concurrency: 1}), reward.RuleFunc[example](
		func(_ context.Context, e example, _ *prompt.Trace, _ int) (reward.Score, error) {
			if e.place {
				panic("bug")
			}
			return value(1), nil
		}), byText)
	assert.PanicsWithValue(t, "bug", func() { _, _ = rule.Score(t.Context(), example{place: true}, parse(""), 0) })
	_, err := rule.Score(t.Context(), example{}, parse(""), 0)
	require.NoError(t, err, "a panic holds nothing")
}

// No more calls run at once than Concurrency, and no more than Burst +
// RatePerSecond·d begin within any d seconds.
func TestServiceLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Rapid must not see t.Deadline, which cannot be called here.
		rapid.Check(struct{ testing.TB }{t}, func(t *rapid.T) {
			settings := reward.ServiceSettings{Concurrency: rapid.IntRange(0, 4).Draw(t, "concurrency")}
			if rapid.Bool().Draw(t, "limit the rate") {
				settings.RatePerSecond = rapid.Float64Range(0.1, 10).Draw(t, "rate")
				settings.Burst = rapid.IntRange(1, 5).Draw(t, "burst")
			}
			took := rapid.SliceOfN(rapid.IntRange(0, 3000), 1, 20).Draw(t, "milliseconds")
			var mu sync.Mutex
			var starts []time.Time
			running, most := 0, 0
			step := func(by int) {
				mu.Lock()
				defer mu.Unlock()
				if running += by; by > 0 {
					starts = append(starts, time.Now())
				}
				most = max(most, running)
			}
			rule := reward.Through(service(t, settings), reward.RuleFunc[example](
				func(_ context.Context, _ example, _ *prompt.Trace, k int) (reward.Score, error) {
					step(1)
					defer step(-1)
					time.Sleep(time.Duration(took[k]) * time.Millisecond)
					return value(float64(k)), nil
				}), nil)
			var wg sync.WaitGroup
			for k := range took {
				wg.Go(func() {
					got, err := rule.Score(context.Background(), example{}, parse(""), k)
					assert.NoError(t, err)
					assert.Equal(t, value(float64(k)), got)
				})
			}
			wg.Wait()
			if settings.Concurrency > 0 {
				require.LessOrEqual(t, most, settings.Concurrency)
			}
			if settings.RatePerSecond > 0 {
				for i := range starts {
					for j := i; j < len(starts); j++ {
						d := starts[j].Sub(starts[i]).Seconds()
						require.LessOrEqual(t, float64(j-i+1), float64(settings.Burst)+settings.RatePerSecond*d+1e-6)
					}
				}
			}
		})
	})
}

// The timeout is the call's alone, and who waits for a retry holds nobody up.
func TestServiceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := reward.Through(service(t, reward.ServiceSettings{
			Timeout: 2 * time.Second, Concurrency: 1, Retries: 1, Backoff: 1e3 * time.Hour, MaxBackoff: 1e3 * time.Hour,
		}), reward.RuleFunc[example](func(ctx context.Context, _ example, _ *prompt.Trace, step int) (reward.Score, error) {
			if step == 0 {
				return reward.Score{}, errDown
			}
			time.Sleep(1900 * time.Millisecond)
			return value(1), ctx.Err()
		}), nil)
		ctx, cancel := context.WithCancel(t.Context())
		var failing, answered sync.WaitGroup
		failing.Go(func() {
			_, err := rule.Score(ctx, example{}, parse(""), 0)
			assert.Equal(t, context.Canceled, err)
		})
		synctest.Wait()
		start := time.Now()
		for range 3 {
			answered.Go(func() {
				_, err := rule.Score(t.Context(), example{}, parse(""), 1)
				assert.NoError(t, err)
			})
		}
		answered.Wait()
		assert.Equal(t, 5700*time.Millisecond, time.Since(start))
		cancel()
		failing.Wait()
	})
}

func TestServiceGivesItsTurnBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := reward.Through(service(t, reward.ServiceSettings{RatePerSecond: 1. / 3600, Burst: 1}), constant(value(1), nil), nil)
		start := time.Now()
		for k, want := range []error{nil, context.DeadlineExceeded, nil} {
			patience := []time.Duration{2 * time.Hour, time.Second, 2 * time.Hour}[k]
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			_, err := rule.Score(ctx, example{}, parse(""), 0)
			cancel()
			assert.Equal(t, want, err)
		}
		assert.Equal(t, time.Hour, time.Since(start).Round(time.Second))
	})
}

func TestServiceGroup(t *testing.T) {
	calls, fail := 0, false
	counted := reward.GroupRuleFunc[example](func(ctx context.Context, e example, traces []*prompt.Trace, step int) ([]reward.Score, error) {
		if calls++; fail {
			return nil, errDown
		}
		return ranks(ctx, e, traces, step)
	})
	group := []*prompt.Trace{parse(`\boxed{a}\boxed{2}`), parse(`so \boxed{a}\boxed{3}`)}
	s := service(t, reward.ServiceSettings{CacheSize: 8, OnFailure: reward.OnFailureUnscorable})
	rule := reward.Through[example](s, counted, byText)
	ask := func(traces ...*prompt.Trace) []reward.Score {
		scores, err := reward.ScoreGroup(t.Context(), rule, example{}, traces, reward.WholeCompletion)
		require.NoError(t, err)
		return scores
	}
	got := ask(group...)
	assert.Equal(t, []reward.Score{value(0), value(1)}, got)
	got[0] = value(7)
	assert.Equal(t, []reward.Score{value(0), value(1)}, ask(group...), "the cache is not the caller's")
	assert.Equal(t, 1, calls)
	assert.Equal(t, []reward.Score{value(1)}, ask(group[0]), "another group, another question")
	assert.Equal(t, 2, calls)
	fail = true
	got = ask(group[1], group[0])
	assert.Len(t, got, 2)
	for _, s := range got {
		assert.Equal(t, "judge failed", s.Reason)
		assert.ErrorIs(t, s.Err, errDown)
	}
}
