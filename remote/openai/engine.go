package openai

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Engine samples from inference servers. It implements rollout.Engine,
// rollout.Checker, rollout.Refresher and, if its servers give the log-probs of
// prompts, rl.LogProber. Its methods may be called by several goroutines at once.
type Engine struct {
	config  Config // with defaults filled in
	fleet   *fleet
	context int // tokens of a prompt with its completion; 0 = no bound is known
	run     string
	calls   atomic.Int64
	refresh sync.Mutex // held by Refresh
}

var (
	_ rollout.Engine       = (*Engine)(nil)
	_ rollout.Checker      = (*Engine)(nil)
	_ rollout.Concurrent   = (*Engine)(nil)
	_ rl.LogProber         = (*Engine)(nil)
	_ rl.LogProbChecker    = (*Engine)(nil)
	_ rl.TopLogProber      = (*Engine)(nil)
	_ rl.TopLogProbChecker = (*Engine)(nil)
	_ rl.Supporter         = (*Engine)(nil)
)

// New opens the servers: it asks each who it is and probes with real generations what
// it can do, which it logs in one line per server. One that a refresh has left paused,
// because its program was killed, goes on. A server that is not up within
// Config.Patience, or answers other than its dialect says, is an error that names it.
// Close the engine in the end.
func New(ctx context.Context, c Config) (*Engine, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	e := &Engine{config: c, run: rand.Text()[:10]}
	var servers []*server
	for i := range c.Servers {
		s := &server{config: c.Servers[i], dialect: dialects[c.Servers[i].Dialect]}
		var err error
		s.client, err = transport.New(s.config.Endpoint, transport.Options{
			KeyHeader: "Authorization", KeyPrefix: "Bearer ", IDHeader: "X-Request-Id",
			Retry: remote.Retry{Attempts: c.Attempts, Elapsed: c.PhaseTimeout, Backoff: c.Backoff, MaxBackoff: c.MaxBackoff},
		})
		if err != nil {
			return nil, fmt.Errorf("openai: Config.Servers[%d]: %w", i, err)
		}
		servers = append(servers, s)
	}
	e.fleet = newFleet(servers, c.Patience, min(c.PhaseTimeout, 5*time.Second))
	defer e.Close()
	g, gctx := errgroup.WithContext(ctx)
	for _, s := range servers {
		g.Go(func() error {
			if err := e.open(gctx, s); err != nil {
				return fmt.Errorf("openai: %s (%v): %w", s, s.config.Dialect, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	e.context = c.Context
	for _, s := range servers {
		if n := s.identity.context; n > 0 && (e.context == 0 || n < e.context) {
			e.context = n
		}
	}
	return e, nil
}

// Close closes the idle connections that a call may have left. No call may be under
// way.
func (e *Engine) Close() {
	for _, s := range e.fleet.servers {
		s.client.Close()
	}
}

// Check implements rollout.Checker. It refuses token ids outside the vocabulary, what
// does not fit into the servers' context, and temperatures and truncations for which
// a server does not give the log-probs that rollout.Completion promises.
func (e *Engine) Check(r *rollout.Request) error {
	for i, id := range r.Prompt {
		if int(id) >= e.config.Vocab.VocabSize() {
			return fmt.Errorf("Prompt[%d] is %d, want an id below %d", i, id, e.config.Vocab.VocabSize())
		}
	}
	if n := len(r.Prompt) + r.Params.MaxTokens; e.context > 0 && (n > e.context || n < 0) {
		return fmt.Errorf("%d prompt tokens and MaxTokens %d exceed the servers' context, %d", len(r.Prompt), r.Params.MaxTokens, e.context)
	}
	for _, s := range e.fleet.servers {
		if p := &r.Params; s.config.Dialect == DialectSGLang && p.Temperature != 0 && p.TopK > 0 && p.TopP > 0 && p.TopP < 1 {
			return fmt.Errorf("TopP %v with TopK %d: SGLang takes TopP of the whole distribution, not of the TopK tokens; use one of them (%s)", p.TopP, p.TopK, s)
		}
		if e.config.UnitLogProbs {
			continue
		}
		if err := s.logps.refuse(&r.Params); err != nil {
			return fmt.Errorf("%w (%s)", err, s)
		}
	}
	return nil
}

// RefreshInFlight implements rollout.Concurrent. Adapters and GGUF files have names:
// samples in flight end with those that they began with. Samples of weights that change
// in place either end before that or go on with the new ones (Config.KeepInFlight).
func (e *Engine) RefreshInFlight() bool { return true }

// job is one sample to be had.
type job struct{ request, index int }

// Generate implements rollout.Engine. A sample that cannot be had in Config.Attempts
// attempts or before its deadline is emitted with an error, and counted by its reason
// (Metrics); the others of its group are not affected. What would meet every sample
// ends the call: a status such as 400 or 404, a model that ends texts with a token
// that is not among Config.EOS, or ErrNoServer.
//
// A sample is drawn with a seed made of the request's Stream and the sample's index,
// the same at each attempt. Whether a server then gives the same sample again, next to
// other requests, is the server's business.
func (e *Engine) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	if err := rollout.Validate(reqs, e.Check); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	defer e.Close()
	total := 0
	for i := range reqs {
		total += reqs[i].N
	}
	call := e.calls.Add(1)
	e.fleet.queue.add(time.Now(), total)
	e.fleet.begin(call, total)
	defer e.fleet.end(call)
	jobs := make(chan job)
	done := make(chan rollout.Completion)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(jobs)
		fed := 0
		defer func() { e.fleet.queue.add(time.Now(), fed-total) }()
		for i := range reqs {
			for n := range reqs[i].N {
				select {
				case jobs <- job{i, n}:
					fed++
				case <-gctx.Done():
					return gctx.Err()
				}
			}
		}
		return nil
	})
	var workers sync.WaitGroup
	for range min(total, e.fleet.slots()) {
		workers.Add(1)
		g.Go(func() error {
			defer workers.Done()
			for j := range jobs {
				c, err := e.sample(gctx, call, j, &reqs[j.request])
				if err != nil {
					return err
				}
				select {
				case done <- c:
				case <-gctx.Done():
					return gctx.Err()
				}
			}
			return nil
		})
	}
	g.Go(func() error { workers.Wait(); close(done); return nil })
	var failed error
	for c := range done {
		if failed == nil && gctx.Err() == nil {
			if failed = emit(c); failed != nil {
				g.Go(func() error { return failed }) // cancels the others
			}
		}
	}
	err := g.Wait()
	switch {
	case ctx.Err() != nil && failed == nil:
		return ctx.Err()
	case failed != nil:
		return failed
	}
	return err
}

// sample gets one sample. An error ends the call.
func (e *Engine) sample(ctx context.Context, call int64, j job, r *rollout.Request) (rollout.Completion, error) {
	c := e.newCall(r)
	c.seed = seed(r.Stream, j.index)
	var out rollout.Completion
	identity := fmt.Sprintf("%s-%s-%d-%d", e.run, strconv.FormatInt(call, 36), j.request, j.index)
	lost, err := e.deliver(ctx, call, identity, func(ctx context.Context, l *lease, id string) error {
		c.model, c.label, c.id, c.processed = l.model, l.label, id, l.logps.processed(&c.params)
		var err error
		out, err = e.ask(ctx, l.server, c)
		return err
	}, func(first, last int64) { out.FirstVersion, out.LastVersion = first, last })
	switch {
	case err != nil:
		return out, fmt.Errorf("openai: sample %d of request %d (%q): %w", j.index, j.request, r.ID, err)
	case lost != nil:
		reason := reasonOf(lost)
		e.fleet.count(func(c *counters) { c.losses[reason]++ })
		return rollout.Completion{Request: j.request, Index: j.index, Err: lost}, nil
	}
	out.Request, out.Index = j.request, j.index
	e.fleet.count(func(c *counters) { c.samples++; c.tokens += len(out.Tokens) })
	return out, nil
}

// deliver asks servers, one after the other, until one has answered. ask gets an id
// that names the attempt; done gets the versions of the server's weights before and
// after it. lost is why there is no answer; err ends the whole call.
func (e *Engine) deliver(ctx context.Context, call int64, identity string, ask func(ctx context.Context, l *lease, id string) error, done func(first, last int64)) (lost, err error) {
	queued := true
	unqueue := func() {
		if queued {
			queued = false
			e.fleet.queue.add(time.Now(), -1)
		}
	}
	defer unqueue()
	l, err := e.fleet.acquire(ctx, call, nil)
	if err != nil {
		return nil, err // ctx is done, or no server is left
	}
	e.fleet.placed(call)
	unqueue()
	limited, cancel := context.WithTimeout(ctx, e.config.SampleTimeout)
	defer cancel()
	wait := e.backoff()
	var last error
	var failed []*server // where it was asked for
	for faults, sent := 0, 0; faults < e.config.Attempts; sent++ {
		if sent > 0 {
			e.fleet.count(func(c *counters) { c.retries++ })
			if transport.Sleep(limited, wait.NextBackOff()) != nil {
				break
			}
			failed = append(failed, l.server)
			l, err = e.fleet.acquire(limited, call, failed)
			if limited.Err() != nil {
				if err == nil {
					e.fleet.abandon(l)
				}
				break
			}
			if err != nil {
				return nil, err // no server is left
			}
		}
		start := time.Now()
		asked, stop := context.WithCancel(limited)
		unwatch := context.AfterFunc(l.life, stop)
		err = ask(asked, l, identity+"-"+strconv.Itoa(sent))
		unwatch()
		stop()
		if l.life.Err() != nil && limited.Err() == nil {
			err = fmt.Errorf("openai: %s failed to load new weights while it drew the sample", l.server)
		}
		switch e.settle(limited, l, err) {
		case settledDone:
			seconds := time.Since(start).Seconds()
			e.fleet.count(func(c *counters) {
				c.answered++
				c.serverSeconds += seconds
				c.longestSeconds = max(c.longestSeconds, seconds)
			})
			done(l.version, e.fleet.release(l))
			return nil, nil
		case settledLost:
			if notUTF8(err) {
				err = lose(lostUTF8, fmt.Errorf("openai: %s: the sample is not valid UTF-8, for which llama.cpp has no answer; a model that is not yet trained to write text loses many samples in this way", l.server))
			}
			return err, nil
		case settledEnd:
			return nil, err
		case settledFault:
			faults++
		}
		last = err
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return lose(lostDeadline, fmt.Errorf("openai: no answer within Config.SampleTimeout, %v; the last failure: %w", e.config.SampleTimeout, last)), nil
	}
	return fmt.Errorf("openai: %d attempts failed, the last: %w", e.config.Attempts, last), nil
}

// reasonOf sorts the error of a lost sample.
func reasonOf(err error) lost {
	if l, ok := errors.AsType[*lossError](err); ok {
		return l.reason
	}
	if notUTF8(err) {
		return lostUTF8
	}
	if _, ok := errors.AsType[*transport.StatusError](err); ok {
		return lostStatus
	}
	if _, ok := errors.AsType[*answerError](err); ok {
		return lostAnswer
	}
	return lostConnection
}

// newCall returns a call for a request, with parameters that keep all tokens written
// out.
func (e *Engine) newCall(r *rollout.Request) *call {
	c := &call{prompt: r.Prompt, params: r.Params, eos: e.config.EOS, vocab: e.config.Vocab.VocabSize()}
	if c.params.TopP == 0 || c.params.Temperature == 0 {
		c.params.TopP = 1
	}
	if c.params.Temperature == 0 {
		c.params.TopK = 0
	}
	return c
}

// ask sends a call once.
func (e *Engine) ask(ctx context.Context, s *server, c *call) (out rollout.Completion, err error) {
	err = s.send(ctx, c, e.config.AttemptTimeout, s.dialect.sample, func(body []byte) error {
		a, err := s.dialect.parse(body, c)
		if err == nil {
			err = a.check(c)
		}
		if err == nil && a.version != "" && c.label != "" && a.version != c.label && a.version != e.fleet.labelOf(s) {
			err = fmt.Errorf("%w: sampled with weights labelled %.40q, want %q", errOtherWeights, a.version, c.label)
		}
		if err == nil {
			out, err = e.complete(&a, c)
		}
		if err == nil {
			s.logps.assign(&out, a.logp, &c.params, c.processed)
		}
		return err
	})
	return out, err
}

// askOften is ask, again if it fails by the server's fault or on the way.
func (e *Engine) askOften(ctx context.Context, s *server, c *call) (out rollout.Completion, err error) {
	err = e.often(ctx, func(ctx context.Context) (err error) { out, err = e.ask(ctx, s, c); return err })
	return out, err
}

// often calls f up to Config.Attempts times, for Config.PhaseTimeout at most.
func (e *Engine) often(ctx context.Context, f func(context.Context) error) error {
	return within(ctx, e.config.PhaseTimeout, func(ctx context.Context) error {
		wait := e.backoff()
		for attempt := 1; ; attempt++ {
			err := f(ctx)
			if err == nil || attempt == e.config.Attempts || reasonOf(err) == lostUTF8 || errors.Is(err, errEOS) || !transport.Retryable(err) {
				return err
			}
			if transport.Sleep(ctx, wait.NextBackOff()) != nil {
				return err
			}
		}
	})
}

// backoff returns the waits between the attempts of a sample.
func (e *Engine) backoff() backoff.BackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: e.config.Backoff, MaxInterval: e.config.MaxBackoff, Multiplier: 2, RandomizationFactor: 0.5,
	}
}

// settled is what an attempt has come to.
type settled uint8

const (
	settledDone  settled = iota
	settledLost          // the sample is lost
	settledEnd           // the call ends
	settledBusy          // the server asks to wait, or was not reached: no attempt
	settledFault         // the server is at fault
)

// settle gives the place at the server back after a failed attempt.
func (e *Engine) settle(ctx context.Context, l *lease, err error) settled {
	if err == nil {
		return settledDone
	}
	if notUTF8(err) {
		e.fleet.abandon(l)
		return settledLost
	}
	if _, ok := errors.AsType[*lossError](err); ok {
		e.fleet.abandon(l)
		return settledLost
	}
	if ctx.Err() != nil {
		e.fleet.abandon(l)
		return settledFault
	}
	status, _ := errors.AsType[*transport.StatusError](err)
	switch {
	case status != nil && l.model != l.identity.model && l.dialect.lacks(status, l.model):
		e.fleet.failed(l, fmt.Errorf("%w: %w", errOtherWeights, err))
		return settledFault
	case errors.Is(err, errEOS) || !transport.Retryable(err) && !errors.Is(err, transport.ErrTooLarge):
		e.fleet.abandon(l)
		return settledEnd
	case status != nil && (status.Status == 429 || status.RetryAfter > 0):
		e.fleet.count(func(c *counters) { c.busyWaits++ })
		e.fleet.busy(l, min(status.RetryAfter, e.config.SampleTimeout))
		return settledBusy
	}
	e.fleet.failed(l, err)
	if unreached(err) {
		return settledBusy
	}
	return settledFault
}

// seed makes a sample's seed, between 1 and 2^31-1: larger ones mean "random" to some
// servers.
func seed(stream [3]uint64, index int) int64 {
	var b [32]byte
	for i, v := range [4]uint64{stream[0], stream[1], stream[2], uint64(index)} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	sum := sha256.Sum256(b[:])
	return 1 + int64(binary.LittleEndian.Uint32(sum[:])%(1<<31-2))
}
