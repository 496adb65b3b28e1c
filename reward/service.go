package reward

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/prompt"
)

// ErrDrop, wrapped in the error of a rule, asks the caller to drop the completion
// instead of ending the run. The completion is counted and then left out of its
// group.
//
// Dropping completions selects which ones are trained on. So whether a rule fails
// must not depend on what the policy wrote, or the policy learns to write texts on
// which it fails. A text that the service refuses, for example because it is too
// long, should get a score.
var ErrDrop = errors.New("reward: dropped, the judgement failed")

// Permanent marks an error that another call would meet again, such as a refused
// key or a malformed question. A [Service] does not retry after it. Permanent(nil)
// is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// OnFailure says what becomes of a judgement that failed.
type OnFailure uint8

const (
	// OnFailureEnd returns the error, which ends the run.
	OnFailureEnd OnFailure = iota
	// OnFailureDrop returns an error that wraps ErrDrop and the failure. See
	// ErrDrop for what this demands of a rule.
	OnFailureDrop
	// OnFailureUnscorable returns an unscorable score with the reason "NAME failed", where
	// NAME is the service's, and the failure in Score.Err. A step is then unknown, and an
	// outcome reward NaN. What ErrDrop says about selection holds here too.
	OnFailureUnscorable
)

var onFailureNames = []string{OnFailureEnd: "end", OnFailureDrop: "drop", OnFailureUnscorable: "unscorable"}

// String returns "end", "drop" or "unscorable".
func (o OnFailure) String() string { return settings.EnumString(onFailureNames, o) }

// MarshalText returns the name that String returns. An invalid value is an error.
func (o OnFailure) MarshalText() ([]byte, error) { return settings.EnumText(onFailureNames, o) }

// UnmarshalText is the inverse of MarshalText. An unknown name is an error.
func (o *OnFailure) UnmarshalText(text []byte) error {
	return settings.ParseEnum(onFailureNames, text, o)
}

// FailureBudget says how many judgements may fail before the run ends whatever
// OnFailure says, so that a run does not continue without its judge.
type FailureBudget struct {
	// Failures is how many of the last Window judgements may fail; the next
	// failure ends the run. 0 allows none.
	Failures int `json:"failures"`
	// Window is how many judgements are looked back on. It must be greater than
	// Failures; 0 turns the budget off. An answer of the cache is no judgement,
	// and questions that share a call share one.
	Window int `json:"window"`
}

// ServiceSettings say how a [Service] is asked and what becomes of a judgement that
// fails. Only Name is required: with zeros elsewhere, a judgement is one call, and
// a failure ends the run.
type ServiceSettings struct {
	// Name appears in errors and in the reasons of unscorable scores. It is
	// required and has at most 64 bytes.
	Name string `json:"name"`
	// Timeout bounds each call; 0 = no bound.
	Timeout time.Duration `json:"timeout"`
	// Retries is how often a failed call is repeated. There is no retry after an
	// error marked as Permanent or once the context is done.
	Retries int `json:"retries"`
	// Backoff and MaxBackoff bound the wait before retry k = 0, 1, …: a random time
	// between 0 and min(MaxBackoff, Backoff·2^k) ("full jitter", Brooker,
	// Exponential Backoff And Jitter, AWS 2015). Retries need both.
	Backoff    time.Duration `json:"backoff"`
	MaxBackoff time.Duration `json:"max_backoff"`
	// Concurrency is how many calls may run at once; 0 = no limit. The
	// trainer's setting rl.Config.Judges limits it as well.
	Concurrency int `json:"concurrency"`
	// RatePerSecond is how many calls may start per second on average; 0 = no
	// limit.
	RatePerSecond float64 `json:"rate_per_second"`
	// Burst is how many calls may start at once, after a pause. It must be at least
	// 1 if there is a rate, else 0.
	Burst int `json:"burst"`
	// CacheSize is how many answers are kept for rules with a key (see Through);
	// the least recently used is dropped first. 0 keeps none. Failures are never
	// kept.
	CacheSize int `json:"cache_size"`
	// OnFailure says what becomes of a judgement that failed.
	OnFailure OnFailure `json:"on_failure"`
	// Budget limits how many failures OnFailure may let pass.
	Budget FailureBudget `json:"budget"`
}

// maxServiceName bounds what a service adds to the reasons that are counted.
const maxServiceName = 64

// Validate returns an error that names every invalid setting.
func (s *ServiceSettings) Validate() error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("reward: ServiceSettings."+format, args...))
		}
	}
	require(s.Name != "" && len(s.Name) <= maxServiceName, "Name is %.80q, want 1 to %d bytes", s.Name, maxServiceName)
	require(s.Timeout >= 0, "Timeout is %v, must not be negative", s.Timeout)
	require(s.Retries >= 0, "Retries is %d, must not be negative", s.Retries)
	require(s.Backoff >= 0, "Backoff is %v, must not be negative", s.Backoff)
	require(s.Retries <= 0 || s.Backoff != 0, "Backoff is 0, but Retries is %d: retries need a wait", s.Retries)
	require(s.MaxBackoff >= s.Backoff, "MaxBackoff is %v, want at least Backoff, %v", s.MaxBackoff, s.Backoff)
	require(s.Concurrency >= 0, "Concurrency is %d, must not be negative", s.Concurrency)
	require(s.RatePerSecond >= 0 && !math.IsInf(s.RatePerSecond, 1), "RatePerSecond is %v, want 0 or more", s.RatePerSecond)
	require(s.Burst >= 0 && (s.Burst > 0) == (s.RatePerSecond > 0), "Burst is %d at a RatePerSecond of %v, want 1 or more if there is a rate, else 0", s.Burst, s.RatePerSecond)
	require(s.CacheSize >= 0, "CacheSize is %d, must not be negative", s.CacheSize)
	if err := settings.CheckEnum("reward: ServiceSettings.OnFailure", onFailureNames, s.OnFailure); err != nil {
		errs = append(errs, err)
	}
	b := s.Budget
	require(b.Failures >= 0 && (b.Window > b.Failures || b == FailureBudget{}), "Budget is %d of %d, want a Window greater than Failures, or 0 and 0", b.Failures, b.Window)
	require(s.OnFailure != OnFailureEnd || b == FailureBudget{}, "Budget is set, but with OnFailure %v the first failure ends the run", s.OnFailure)
	return errors.Join(errs...)
}

// Service is a judge that is slow, sometimes fails, and limits how much it is
// asked: usually a program at the other end of a network. Rules made by [Through]
// share its limits, cache and budget. It is safe for concurrent use and starts no
// goroutine, and every wait ends when the context does.
type Service struct {
	set     ServiceSettings
	slots   *semaphore.Weighted // nil = no limit
	rate    *rate.Limiter       // nil = no limit
	answers answers
	rules   atomic.Int64 // how many Through has made

	questions, calls, failedCalls, failures atomic.Int64 // as ServiceStats counts them

	mu         sync.Mutex
	judgements int   // how many have ended
	failed     []int // the numbers of those that failed within the budget's window
}

// NewService returns a service, or the error of ServiceSettings.Validate.
func NewService(s ServiceSettings) (*Service, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	v := &Service{set: s, answers: newAnswers(s.CacheSize)}
	if s.Concurrency > 0 {
		v.slots = semaphore.NewWeighted(int64(s.Concurrency))
	}
	if s.RatePerSecond > 0 {
		v.rate = rate.NewLimiter(rate.Limit(s.RatePerSecond), s.Burst)
	}
	return v, nil
}

// ServiceStats counts what a service was asked since it was made.
type ServiceStats struct {
	// Questions were asked by rules. Those that neither the cache nor a question
	// asked at the same time answered led to Calls, retries included, of which
	// FailedCalls failed. Failures is the number of judgements that failed after
	// all retries. What the end of a context cut short counts as a failed call,
	// not as a failure.
	Questions, Calls, FailedCalls, Failures int64
}

// Stats returns the counts so far. A recorder that adds them to the metrics of each
// training step shows a judge that gets worse before a budget ends the run.
func (s *Service) Stats() ServiceStats {
	return ServiceStats{s.questions.Load(), s.calls.Load(), s.failedCalls.Load(), s.failures.Load()}
}

// Through returns a rule that asks service s by way of the given rule, whose Score
// makes one call. That call must end when its context does, because the context
// carries the timeout. If the rule is a [GroupRule], so is the result; a judgement
// is then of the whole group, and so is a failure.
//
// key, if not nil, returns everything that the rule's answer depends on apart from
// the step's number; often this is the text that the rule sends. Questions of one
// rule with equal keys share an answer: no call is made while the answer is in the
// cache (ServiceSettings.CacheSize), and questions asked at the same time share one
// call.
//
// Through panics if s or rule is nil.
func Through[E any](s *Service, rule Rule[E], key func(example E, trace *prompt.Trace, step int) string) Rule[E] {
	if s == nil || rule == nil {
		panic("reward: Through needs a service and a rule")
	}
	r := served[E]{service: s, rule: rule, key: key, id: s.rules.Add(1)}
	if g, ok := rule.(GroupRule[E]); ok {
		return &servedGroup[E]{r, g}
	}
	return &r
}

type served[E any] struct {
	service *Service
	rule    Rule[E]
	key     func(E, *prompt.Trace, int) string
	id      int64 // keeps the keys of rules apart
}

func (r *served[E]) Score(ctx context.Context, example E, trace *prompt.Trace, step int) (Score, error) {
	scores, err := r.judge(ctx, example, []*prompt.Trace{trace}, step, func(ctx context.Context) ([]Score, error) {
		s, err := r.rule.Score(ctx, example, trace, step)
		return []Score{s}, err
	})
	if err != nil {
		return Score{}, err
	}
	return scores[0], nil
}

type servedGroup[E any] struct {
	served[E]
	group GroupRule[E]
}

func (r *servedGroup[E]) ScoreGroup(ctx context.Context, example E, traces []*prompt.Trace, step int) ([]Score, error) {
	scores, err := r.judge(ctx, example, traces, step, func(ctx context.Context) ([]Score, error) {
		return ScoreGroup(ctx, r.group, example, traces, step)
	})
	return slices.Clone(scores), err // the cache keeps its own
}

// judge asks for one score per trace, unless that is known, and applies OnFailure.
func (r *served[E]) judge(ctx context.Context, example E, traces []*prompt.Trace, step int, call func(context.Context) ([]Score, error)) ([]Score, error) {
	r.service.questions.Add(1)
	ask := func() ([]Score, error) { return r.service.ask(ctx, call) }
	var scores []Score
	var err error
	if r.key == nil {
		scores, err = ask()
	} else {
		keys := make([]string, len(traces))
		for i, trace := range traces {
			keys[i] = r.key(example, trace, step)
		}
		scores, err = r.service.answers.get(ctx, newQuestion(r.id, step, keys), ask)
	}
	_, exhausted := errors.AsType[*budgetError](err)
	switch {
	case err == nil:
		return scores, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case exhausted || r.service.set.OnFailure == OnFailureEnd:
		return nil, err
	case r.service.set.OnFailure == OnFailureDrop:
		return nil, fmt.Errorf("%w: %w", ErrDrop, err)
	}
	return slices.Repeat([]Score{{Reason: r.service.set.Name + " failed", Err: err}}, len(traces)), nil
}

// ask is one judgement: calls until one succeeds, or none is left.
func (s *Service) ask(ctx context.Context, call func(context.Context) ([]Score, error)) ([]Score, error) {
	for k := 0; ; k++ {
		scores, err := s.call(ctx, call)
		if err == nil {
			s.count(false)
			return scores, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if _, permanent := errors.AsType[*permanentError](err); permanent || k == s.set.Retries {
			after := ""
			if k > 0 {
				after = fmt.Sprintf(" after %d calls", k+1)
			}
			err = fmt.Errorf("reward: service %q failed%s: %w", s.set.Name, after, err)
			if failed := s.count(true); s.set.Budget.Window > 0 && failed > s.set.Budget.Failures {
				err = &budgetError{s.set.Budget, failed, err}
			}
			return nil, err
		}
		if err := sleep(ctx, s.set.backoff(k)); err != nil {
			return nil, err
		}
	}
}

// call makes one call as soon as the limits allow it.
func (s *Service) call(ctx context.Context, call func(context.Context) ([]Score, error)) (scores []Score, err error) {
	if s.slots != nil {
		if err := s.slots.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer s.slots.Release(1)
	}
	if s.rate != nil {
		turn := s.rate.Reserve()
		if err := sleep(ctx, turn.Delay()); err != nil {
			turn.Cancel()
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	bounded := ctx
	if s.set.Timeout > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, s.set.Timeout)
		defer cancel()
	}
	s.calls.Add(1)
	defer func() {
		if err != nil {
			s.failedCalls.Add(1)
		}
	}()
	scores, err = call(bounded)
	if err != nil && bounded.Err() != nil {
		return nil, fmt.Errorf("no answer within %v: %w", s.set.Timeout, err)
	}
	if err != nil {
		return nil, err
	}
	for _, score := range scores {
		if score.Scorable() && (math.IsNaN(score.Value) || math.IsInf(score.Value, 0)) {
			return nil, fmt.Errorf("the score %v is not finite", score.Value)
		}
	}
	return scores, nil
}

// count notes how a judgement ended and returns how many of the last
// Budget.Window failed.
func (s *Service) count(failed bool) int {
	if failed {
		s.failures.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judgements++
	if failed {
		s.failed = append(s.failed, s.judgements)
	}
	for len(s.failed) > 0 && s.failed[0] <= s.judgements-s.set.Budget.Window {
		s.failed = s.failed[1:]
	}
	return len(s.failed)
}

// budgetError is a failure beyond the budget.
type budgetError struct {
	budget FailureBudget
	failed int
	err    error
}

func (e *budgetError) Error() string {
	return fmt.Sprintf("%v; that makes %d of the last %d judgements, the budget is %d", e.err, e.failed, e.budget.Window, e.budget.Failures)
}

func (e *budgetError) Unwrap() error { return e.err }

// backoff draws the wait before retry k.
func (s *ServiceSettings) backoff(k int) time.Duration {
	limit := s.Backoff
	for range k {
		if limit > s.MaxBackoff/2 {
			limit = s.MaxBackoff
			break
		}
		limit *= 2
	}
	return rand.N(limit)
}

// sleep waits, unless ctx is done before.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
