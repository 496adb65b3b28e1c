package openai

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// long runs what takes longer than a few seconds, as .ci/full does.
var long = flag.Bool("long", false, "draw the distributions of all dialects, and 10,000 samples under faults")

// behind puts a peer behind a proxy that hits its generations.
func behind(t testing.TB, p *peer, s remotetest.Settings) (Server, *remotetest.Proxy) {
	path := dialects[p.dialect].samplePath()
	only := s.Only
	s.Only = func(r *http.Request) bool {
		return r.Method == http.MethodPost && r.URL.Path == path && (only == nil || only(r))
	}
	proxy, err := remotetest.NewProxy(p, s)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	c := p.config()
	c.Endpoint.URL = proxy.URL()
	return c, proxy
}

// requests asks for n samples of each of two prompts.
func requests(n int) []rollout.Request {
	p := rollout.Params{Temperature: 1, MaxTokens: 6, Stop: []string{"e>"}}
	return []rollout.Request{
		{ID: "a", Prompt: []int32{0, 1}, N: n, Params: p, Stream: [3]uint64{1, 2, 3}},
		{ID: "b", Prompt: []int32{3}, N: n, Params: p, Stream: [3]uint64{1, 2, 4}},
	}
}

// sampleAll returns the completions by request and index, and fails if one comes twice
// or not at all.
func sampleAll(t testing.TB, e *Engine, reqs []rollout.Request) [][]rollout.Completion {
	t.Helper()
	got, err := trySampleAll(t.Context(), e, reqs)
	require.NoError(t, err)
	return got
}

func trySampleAll(ctx context.Context, e *Engine, reqs []rollout.Request) ([][]rollout.Completion, error) {
	got := make([][]rollout.Completion, len(reqs))
	arrived := make([]map[int]bool, len(reqs))
	for i := range reqs {
		got[i], arrived[i] = make([]rollout.Completion, reqs[i].N), map[int]bool{}
	}
	err := e.Generate(ctx, reqs, func(c rollout.Completion) error {
		if arrived[c.Request][c.Index] {
			return fmt.Errorf("sample %d of request %d is delivered twice", c.Index, c.Request)
		}
		arrived[c.Request][c.Index] = true
		got[c.Request][c.Index] = c
		return nil
	})
	for i := range reqs {
		if err == nil && len(arrived[i]) != reqs[i].N {
			err = fmt.Errorf("request %d has %d of %d samples", i, len(arrived[i]), reqs[i].N)
		}
	}
	return got, err
}

// Under each fault, every sample is the one of a run without faults, or is delivered
// with an error that says what broke. The servers stay the same two, so a sample that
// was hit at one is had from the other.
func TestFaults(t *testing.T) {
	plain := sampleAll(t, open(t, config(newPeer(t, DialectVLLM))), requests(40))
	for _, fault := range remotetest.Faults() {
		if fault == remotetest.FaultLogProbs {
			continue // TestWrongLogProbs
		}
		for _, dialect := range []Dialect{DialectVLLM, DialectLlamaCPP, DialectSGLang} {
			t.Run(fmt.Sprintf("%v/%v", fault, dialect), func(t *testing.T) {
				t.Parallel()
				c := config()
				c.AttemptTimeout, c.Attempts = 100*time.Millisecond, 12
				var proxies []*remotetest.Proxy
				var opened atomic.Bool
				for seed := range uint64(2) {
					s := remotetest.Settings{Seed: seed, Faults: []remotetest.Fault{fault}, Rate: 0.3}
					switch fault {
					case remotetest.FaultTrickle, remotetest.FaultHang: // each takes an attempt's timeout
						s.Rate, s.Script = 0, map[int]remotetest.Fault{3: fault, 13: fault, 14: fault}
					case remotetest.FaultDoom:
						s.Rate = 0 // it would soon have both
						if seed == 0 {
							s.Script = map[int]remotetest.Fault{3: fault}
							s.Only = func(*http.Request) bool { return opened.Load() }
						}
					}
					server, proxy := behind(t, newPeer(t, dialect), s)
					c.Servers, proxies = append(c.Servers, server), append(proxies, proxy)
				}
				e := open(t, c)
				opened.Store(true)
				e.Metrics()
				got := sampleAll(t, e, requests(40))
				lostSamples := 0
				for i := range got {
					for n := range got[i] {
						if err := got[i][n].Err; err != nil {
							require.Equal(t, rollout.Completion{Request: i, Index: n, Err: err}, got[i][n])
							require.Contains(t, err.Error(), "openai: ")
							t.Log(err)
							lostSamples++
							continue
						}
						requireSame(t, plain[i][n], got[i][n])
					}
				}
				m := e.Metrics()
				require.EqualValues(t, lostSamples, m["engine/lost"])
				require.EqualValues(t, 80-lostSamples, m["engine/samples"])
				require.Zero(t, lostSamples)
				hit := 0
				for _, p := range proxies {
					for _, n := range p.Counts().Faults {
						hit += n
					}
				}
				require.Positive(t, hit)
			})
		}
	}
}

// requireSame compares all that a sample is but for the last bits of log-probs, which
// dialects write differently.
func requireSame(t testing.TB, want, got rollout.Completion) {
	t.Helper()
	require.InDeltaSlice(t, want.LogP, got.LogP, 1e-6)
	got.LogP, got.LogPUnit = want.LogP, want.LogPUnit
	require.Equal(t, want, got)
}

// A log-prob that is wrong but possible cannot be told from one answer. It shows
// against the policy's, which the trainer compares it with (objective/engine_mismatch).
func TestWrongLogProbs(t *testing.T) {
	plain := sampleAll(t, open(t, config(newPeer(t, DialectVLLM))), requests(20))
	server, _ := behind(t, newPeer(t, DialectVLLM), remotetest.Settings{Rate: 1, Faults: []remotetest.Fault{remotetest.FaultLogProbs}})
	c := config()
	c.Servers = []Server{server}
	got := sampleAll(t, open(t, c), requests(20))
	for i := range got {
		for n := range got[i] {
			require.Equal(t, plain[i][n].Tokens, got[i][n].Tokens)
			for k, p := range got[i][n].LogP {
				require.InDelta(t, plain[i][n].LogP[k]-1, p, 1e-6)
			}
		}
	}
	// Where only some answers are wrong, the probes at start can meet the contradiction.
	script := map[int]remotetest.Fault{} // none of the first two
	for i := range 100 {
		script[3+i] = remotetest.FaultLogProbs
	}
	c.Servers[0], _ = behind(t, newPeer(t, DialectVLLM), remotetest.Settings{Script: script})
	_, err := New(t.Context(), c)
	require.ErrorContains(t, err, "none of the meanings that are known")
}

// Many requests, a tenth of them with faults of all kinds: each sample is delivered
// once, and memory does not grow with their number.
func TestManyRequestsUnderFaults(t *testing.T) {
	n := 500
	if *long {
		n = 5000
	}
	faults := slices.DeleteFunc(remotetest.Faults(), func(f remotetest.Fault) bool {
		return f == remotetest.FaultDoom || f == remotetest.FaultLogProbs
	})
	c := config()
	c.AttemptTimeout, c.Attempts = 250*time.Millisecond, 10
	var proxies []*remotetest.Proxy
	for seed := range uint64(3) {
		s, proxy := behind(t, newPeer(t, DialectVLLM), remotetest.Settings{Seed: seed, Rate: 0.1, Faults: faults})
		s.Concurrency = 32
		c.Servers, proxies = append(c.Servers, s), append(proxies, proxy)
	}
	e := open(t, c)
	plain := open(t, config(newPeer(t, DialectVLLM)))
	e.Metrics()
	const size = 100
	var heap [2]uint64
	for round := range 2 * n / size {
		reqs := requests(size / 2)
		for i := range reqs {
			reqs[i].Stream[1] = uint64(round)
		}
		got := sampleAll(t, e, reqs)
		if round%10 == 0 {
			want := sampleAll(t, plain, reqs)
			for i := range want {
				for k := range want[i] {
					require.NoError(t, got[i][k].Err)
					requireSame(t, want[i][k], got[i][k])
				}
			}
		}
		if round == n/size || round == 2*n/size-1 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap[round/(2*n/size-1)] = m.HeapAlloc
		}
	}
	m := e.Metrics()
	require.EqualValues(t, 2*n, m["engine/samples"]+m["engine/lost"])
	require.Zero(t, m["engine/lost"])
	hit := 0
	for _, p := range proxies {
		for _, n := range p.Counts().Faults {
			hit += n
		}
	}
	t.Logf("%d samples, %d faults, %v retries, heap %d KiB in the middle and %d KiB at the end", 2*n, hit, m["engine/retries"], heap[0]>>10, heap[1]>>10)
	require.Greater(t, hit, n/10)
	require.Less(t, heap[1], heap[0]+8<<20)
}

// Servers that say that they are well and answer every sample with an error take none from
// the others: a sample that was hit at one and at another goes to a third, though these
// are always free.
func TestSickServers(t *testing.T) {
	well, sick := newPeer(t, DialectVLLM), []*peer{newPeer(t, DialectVLLM), newPeer(t, DialectVLLM)}
	e := open(t, config(append(sick, well)...))
	well.setHook(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		time.Sleep(5 * time.Millisecond) // its places are taken
		return false
	})
	var at, most [2]atomic.Int64
	for i, p := range sick {
		p.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path != "/v1/completions" {
				return false
			}
			if n := at[i].Add(1); n > most[i].Load() {
				most[i].Store(n)
			}
			time.Sleep(time.Millisecond)
			p.fail(w, 500, "CUDA error")
			at[i].Add(-1)
			return true
		})
	}
	for round := range 3 {
		for _, all := range sampleAll(t, e, requests(60)) {
			for _, c := range all {
				require.NoError(t, c.Err, "round %d", round)
			}
		}
		for i := range sick {
			if round > 0 { // one at a time, until it answers
				require.LessOrEqual(t, most[i].Load(), int64(1))
			}
			most[i].Store(0)
		}
		e.fleet.mu.Lock()
		for _, s := range e.fleet.servers {
			s.notBefore = time.Time{} // it is asked again
		}
		e.fleet.mu.Unlock()
	}
	for _, p := range sick {
		p.setHook(nil)
	}
	sampleAll(t, e, requests(60))
	require.EqualValues(t, 3, e.Metrics()["engine/servers_up"])
	for _, s := range e.fleet.servers {
		require.Zero(t, s.failures)
	}
}

// A call that is cancelled while all servers hang returns.
func TestCancelledWhileServersHang(t *testing.T) {
	var hanging atomic.Int64
	hung := make(chan struct{})
	p := newPeer(t, DialectVLLM)
	e := open(t, config(p))
	p.setHook(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if hanging.Add(1) == 8 {
			close(hung)
		}
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-hung; cancel() }()
	_, err := trySampleAll(ctx, e, requests(20))
	require.ErrorIs(t, err, context.Canceled)
}

// A sample that exceeds its deadline is lost, and the rest of its group is not.
func TestDeadline(t *testing.T) {
	p := newPeer(t, DialectSGLang)
	c := config(p)
	c.SampleTimeout = 2 * time.Second
	e := open(t, c)
	slow := seed(requests(1)[0].Stream, 2)
	p.setHook(func(_ http.ResponseWriter, r *http.Request, body []byte) bool {
		if !strings.Contains(string(body), fmt.Sprintf(`"sampling_seed":%d,`, slow)) {
			return false
		}
		<-r.Context().Done()
		return true
	})
	e.Metrics()
	got := sampleAll(t, e, requests(5))
	for i := range got {
		for n, c := range got[i] {
			if i == 0 && n == 2 {
				require.ErrorContains(t, c.Err, "no answer within Config.SampleTimeout, 2s; the last failure: ")
				continue
			}
			require.NoError(t, c.Err)
		}
	}
	m := e.Metrics()
	require.EqualValues(t, 1, m["engine/lost"])
	require.EqualValues(t, 1, m["engine/lost_deadline"])
	require.EqualValues(t, 9, m["engine/samples"])
}

// What every sample would meet ends the call.
func TestEndOfCall(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(p *peer, c *Config)
	}{
		{"a status", "400 Bad Request", func(p *peer, _ *Config) {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.weights, model)
		}},
		{"another end of text", "the model ends a text with id 7: want it in Config.EOS", func(_ *peer, c *Config) { c.EOS = []int32{6} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, DialectLlamaCPP)
			e := open(t, config(p))
			c.change(p, &e.config)
			_, err := trySampleAll(t.Context(), e, requests(40))
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, p.URL)
		})
	}
}

// llama.cpp's error for output that is not UTF-8 loses the sample without another
// attempt: the same seed gives it again.
func TestNotUTF8(t *testing.T) {
	p := newPeer(t, DialectLlamaCPP)
	e := open(t, config(p))
	bad := seed(requests(1)[1].Stream, 0)
	var asked atomic.Int64
	p.setHook(func(w http.ResponseWriter, _ *http.Request, body []byte) bool {
		if !strings.Contains(string(body), fmt.Sprintf(`"seed":%d,`, bad)) {
			return false
		}
		asked.Add(1)
		p.fail(w, 500, "The model produced output that does not match the expected Content-only format")
		return true
	})
	got := sampleAll(t, e, requests(3))
	require.ErrorContains(t, got[1][0].Err, "the sample is not valid UTF-8, for which llama.cpp has no answer")
	require.EqualValues(t, 1, asked.Load())
	require.EqualValues(t, 1, e.Metrics()["engine/lost_utf8"])
}

// When no server answers, the call ends with the reasons.
func TestNoServer(t *testing.T) {
	c := config()
	c.Servers = make([]Server, 2)
	c.Patience = 100 * time.Millisecond
	var proxies [2]*remotetest.Proxy
	for i := range proxies {
		c.Servers[i], proxies[i] = behind(t, newPeer(t, DialectVLLM), remotetest.Settings{})
	}
	e := open(t, c)
	proxies[0].Stop()
	proxies[1].Stop()
	_, err := trySampleAll(t.Context(), e, requests(5))
	require.ErrorIs(t, err, ErrNoServer)
	require.ErrorContains(t, err, "dial tcp")
	require.ErrorContains(t, err, proxies[0].URL())
	require.ErrorContains(t, err, proxies[1].URL())

	// They come back, and the engine with them.
	require.NoError(t, proxies[1].Start())
	for i := range e.fleet.servers {
		e.fleet.servers[i].notBefore = time.Time{}
	}
	e.fleet.lastUp = time.Now().Add(-time.Hour) // as after a long training step
	sampleAll(t, e, requests(5))
}

// 429 with Retry-After: the server is left alone as long as it asks, another one is
// used meanwhile, and no attempt is counted.
func TestRetryAfter(t *testing.T) {
	busy, free := newPeer(t, DialectVLLM), newPeer(t, DialectVLLM)
	c := config(busy, free)
	c.Attempts = 1
	e := open(t, c)
	var asked atomic.Int64
	busy.setHook(func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		asked.Add(1)
		w.Header().Set("Retry-After", "3600")
		busy.fail(w, 429, "too many")
		return true
	})
	got := sampleAll(t, e, requests(30))
	for i := range got {
		for _, c := range got[i] {
			require.NoError(t, c.Err)
		}
	}
	require.LessOrEqual(t, asked.Load(), int64(busy.config().Concurrency))
	require.EqualValues(t, asked.Load(), e.Metrics()["engine/asked_to_wait"])
}

// Each server gets at most its limit at once, and work goes to the one with the least.
func TestLimits(t *testing.T) {
	c := config()
	var most [2]atomic.Int64
	for i, limit := range []int{2, 6} {
		var now atomic.Int64
		p := newPeer(t, DialectVLLM)
		p.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if n := now.Add(1); n > most[i].Load() {
				most[i].Store(n)
			}
			defer now.Add(-1)
			time.Sleep(time.Millisecond)
			return false
		})
		s := p.config()
		s.Concurrency = limit
		c.Servers = append(c.Servers, s)
	}
	e := open(t, c)
	sampleAll(t, e, requests(40))
	require.LessOrEqual(t, most[0].Load(), int64(2))
	require.LessOrEqual(t, most[1].Load(), int64(6))
	require.Greater(t, most[1].Load(), int64(2))
}

// The same sample has the same seed in each attempt and another id, and different
// samples differ in both.
func TestIdentity(t *testing.T) {
	p := newPeer(t, DialectVLLM)
	e := open(t, config(p))
	p.mu.Lock()
	clear(p.ids)
	p.mu.Unlock()
	sampleAll(t, e, requests(10))
	require.Len(t, p.ids, 20)
	for id, n := range p.ids {
		require.Equal(t, 1, n, id)
	}
	require.Equal(t, seed([3]uint64{1, 2, 3}, 4), seed([3]uint64{1, 2, 3}, 4))
	require.NotEqual(t, seed([3]uint64{1, 2, 3}, 4), seed([3]uint64{1, 2, 3}, 5))
	require.NotEqual(t, seed([3]uint64{1, 2, 3}, 4), seed([3]uint64{1, 2, 4}, 3))
}

// An error of emit ends the call even while servers hang.
func TestEmitErrorWhileServersHang(t *testing.T) {
	p := newPeer(t, DialectVLLM)
	e := open(t, config(p))
	var n atomic.Int64
	p.setHook(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if n.Add(1) == 1 {
			return false
		}
		<-r.Context().Done()
		return true
	})
	full := errors.New("full")
	require.ErrorIs(t, e.Generate(t.Context(), requests(10), func(rollout.Completion) error { return full }), full)
}
