package tinker_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// between is a server before another: it sees requests, can hold them, and can change
// answers.
type between struct {
	next http.Handler
	// hold, while set, keeps requests until the client gives up.
	hold atomic.Bool
	// change, if not nil, gets the answer to a request.
	change func(r *http.Request, body []byte, answer *httptest.ResponseRecorder)

	mu     sync.Mutex
	bodies map[string][][]byte // of requests by path
}

func newBetween(t *testing.T, next http.Handler) (*between, string) {
	b := &between{next: next, bodies: map[string][][]byte{}}
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	return b, s.URL
}

func (b *between) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if b.hold.Load() {
		<-r.Context().Done()
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/api/v1")
	b.mu.Lock()
	b.bodies[path] = append(b.bodies[path], body)
	b.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	b.next.ServeHTTP(answer, r)
	if b.change != nil {
		b.change(r, body, answer)
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// sent returns the bodies of the requests for a path.
func (b *between) sent(path string) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([][]byte(nil), b.bodies[path]...)
}

// lose resets the connections of the n-th requests for a path after the server has
// done its work.
func lose(t *testing.T, s http.Handler, path string, n ...int) string {
	script := map[int]remotetest.Fault{}
	for _, k := range n {
		script[k] = remotetest.FaultReset
	}
	p, err := remotetest.NewProxy(s, remotetest.Settings{
		Script: script, Only: func(r *http.Request) bool { return r.URL.Path == "/api/v1"+path },
	})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p.URL()
}

// A session that was dropped is an error that says so, and not a wait for ever.
func TestSessionExpires(t *testing.T) {
	t.Parallel() // most of the time is waiting
	s := newServer(t, tinkertest.Options{SessionLife: 500 * time.Millisecond})
	c, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: s.URL}, Retry: retry, Heartbeat: 600 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	p, err := tinker.NewPolicy(t.Context(), c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingSum})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		err = p.LogProbs(t.Context(), batch(), [][]float64{make([]float64, 3), nil, make([]float64, 2), make([]float64, 1)})
		return err != nil && strings.Contains(err.Error(), "the server has dropped the session")
	}, 5*time.Second, 50*time.Millisecond)
}

// A server that takes long to make the first model, longer than a poll waits, and has not
// been asked for a heartbeat yet, is waited for.
func TestSlowStart(t *testing.T) {
	t.Parallel() // most of the time is waiting
	s := newServer(t, tinkertest.Options{})
	var polls atomic.Int64
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/retrieve_future") && polls.Add(1) <= 3 {
			_, _ = io.Copy(io.Discard, r.Body) // or the end of the request goes unnoticed
			<-r.Context().Done()
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(slow.Close)
	c, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: slow.URL}, Retry: retry, Poll: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, err = tinker.NewPolicy(t.Context(), c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingSum})
	require.NoError(t, err)
	require.Greater(t, polls.Load(), int64(3))
}

// A client that repeats no request does not ask for a result without pause either.
func TestPollsAreApart(t *testing.T) {
	t.Parallel() // most of the time is waiting
	s := newServer(t, tinkertest.Options{Pending: 2})
	c, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: s.URL}, Retry: remote.Retry{Attempts: 1}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	start := time.Now()
	_, err = tinker.NewPolicy(t.Context(), c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingSum})
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 400*time.Millisecond)
}

// A server that answers nothing any more, heartbeats neither, is not waited for as one
// that computes: its machine may be gone.
func TestSilentServer(t *testing.T) {
	t.Parallel() // most of the time is waiting
	b, url := newBetween(t, newServer(t, tinkertest.Options{}))
	b.change = func(r *http.Request, _ []byte, _ *httptest.ResponseRecorder) {
		b.hold.Store(strings.HasSuffix(r.URL.Path, "/forward_backward"))
	}
	c, err := tinker.New(tinker.Config{
		Endpoint: remote.Endpoint{URL: url}, Heartbeat: 20 * time.Millisecond, Poll: 50 * time.Millisecond, Timeout: time.Second,
		Retry: remote.Retry{Attempts: 20, Elapsed: time.Second, Backoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond},
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	p, err := tinker.NewPolicy(t.Context(), c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingSum})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, _, err = p.ForwardBackward(ctx, batch(), objective.CrossEntropy{})
	require.ErrorContains(t, err, "tinker: forward: no result: the server has answered nothing for ")
}

// Every verb ends soon after its context. A step that was under way is finished by the
// next call, and counts once.
func TestCancel(t *testing.T) {
	s := newServer(t, tinkertest.Options{Mean: true})
	b, url := newBetween(t, s)
	c := newClient(t, url)
	p, e := newPolicy(t, c), newEngine(t, c)
	ref, err := p.Save(t.Context(), "start")
	require.NoError(t, err)
	w, err := p.Publish(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.Refresh(t.Context(), w))
	train(t, p) // so that there is something to publish
	b.hold.Store(true)
	dst := [][]float64{make([]float64, 3), nil, make([]float64, 2), make([]float64, 1)}
	for name, call := range map[string]func(ctx context.Context) error{
		"NewPolicy": func(ctx context.Context) error {
			_, err := tinker.NewPolicy(ctx, c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}})
			return err
		},
		"LogProbs": func(ctx context.Context) error { return p.LogProbs(ctx, batch(), dst) },
		"ForwardBackward": func(ctx context.Context) error {
			_, _, err := p.ForwardBackward(ctx, batch(), objective.CrossEntropy{})
			return err
		},
		"Save":    func(ctx context.Context) error { _, err := p.Save(ctx, "x"); return err },
		"Load":    func(ctx context.Context) error { return p.Load(ctx, ref) },
		"Publish": func(ctx context.Context) error { _, err := p.Publish(ctx); return err },
		"Refresh": func(ctx context.Context) error { return e.Refresh(ctx, w) },
		"Generate": func(ctx context.Context) error {
			r := make([]rollout.Request, 50)
			for i := range r {
				r[i] = rollout.Request{Prompt: []int32{1}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}
			}
			return e.Generate(ctx, r, func(rollout.Completion) error { return nil })
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		require.ErrorIs(t, call(ctx), context.Canceled, name)
	}
	b.hold.Store(false)

	want := newServer(t, tinkertest.Options{Mean: true})
	q := newPolicy(t, newClient(t, want.URL))
	for range 3 {
		train(t, q)
	}
	for i, cut := range []string{"/forward_backward", "/optim_step", "/retrieve_future", "/forward_backward", "/optim_step", "/retrieve_future"} {
		again := i >= 3 // by the same call
		require.NoError(t, p.Load(t.Context(), ref))
		train(t, p)
		_, _, err := p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
			if r.URL.Path == "/api/v1"+cut && ctx.Err() == nil {
				cancel()
				<-r.Context().Done()
			}
		}
		_, err = p.OptimStep(ctx, rl.OptimOptions{LR: 0.1})
		require.ErrorIs(t, err, context.Canceled, cut)
		if again {
			info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 0.1})
			require.NoError(t, err)
			require.EqualValues(t, 2, info.Version)
			require.Positive(t, info.GradNorm)
		}
		require.EqualValues(t, 3, train(t, p).Version, cut)
		require.Equal(t, want.Logits(), s.Logits(), cut)
	}
}

func TestMetrics(t *testing.T) {
	s := newServer(t, tinkertest.Options{Pending: 1})
	c := newClient(t, lose(t, s, "/optim_step", 2))
	p := newPolicy(t, c, func(c *tinker.PolicyConfig) { c.Scaling = tinker.ScalingMean })
	c.Metrics()
	train(t, p)
	train(t, p)
	m := c.Metrics()
	// Each step is three requests with a result, which is polled for twice.
	require.Equal(t, 6., m["tinker/results"])
	require.Equal(t, 18., m["tinker/requests"])
	require.Equal(t, 1., m["tinker/retries"])
	require.Equal(t, 7., m["tinker/failed"])
	for _, name := range []string{"in_flight", "server_seconds", "result_seconds"} {
		require.Positive(t, m["tinker/"+name])
	}
	require.Len(t, m, 7)
	m = c.Metrics()
	require.Zero(t, m["tinker/requests"])
	require.Zero(t, m["tinker/result_seconds"])
}

// A result that is asked for again and again is waited for without limit, and a server
// that only fails is not.
func TestPolling(t *testing.T) {
	s := newServer(t, tinkertest.Options{Pending: 20})
	train(t, newPolicy(t, newClient(t, s.URL), func(c *tinker.PolicyConfig) { c.Scaling = tinker.ScalingSum }))

	b, url := newBetween(t, newServer(t, tinkertest.Options{}))
	p := newPolicy(t, newClient(t, url))
	answers := []struct {
		status     int
		body, want string
		polls      int
	}{
		{500, "Internal Server Error", "no result after 8 polls", 8},
		{404, `{"detail":"Future not found"}`, "the server has lost the request", 1},
		{410, `{}`, "the server has lost the request", 1},
		{400, `<html>Bad Request</html>`, "400 Bad Request", 4},
		{400, `{"detail":"Model model_x not loaded"}`, `forward: the server says "Model model_x not loaded"`, 1},
		{200, `{"error":"bad token","category":"user"}`, `forward: the server says "bad token"`, 1},
		{200, `{"loss_fn_outputs":[]}`, "is JSON, want protobuf", 1},
		{200, `garbage`, "neither protobuf nor JSON", 8},
		{401, `{}`, "401 Unauthorized", 1},
	}
	for _, a := range answers {
		b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
			if strings.HasSuffix(r.URL.Path, "/retrieve_future") {
				answer.Code, answer.Body = a.status, bytes.NewBufferString(a.body)
				answer.Header().Set("Content-Type", "application/json")
			}
		}
		before := len(b.sent("/retrieve_future"))
		_, _, err := p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
		require.ErrorContains(t, err, a.want)
		require.Equal(t, a.polls, len(b.sent("/retrieve_future"))-before, a.body)
	}
	tries := 0
	b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
		if tries++; strings.HasSuffix(r.URL.Path, "/retrieve_future") && tries < 30 {
			answer.Code, answer.Body = 200, bytes.NewBufferString(`{"type":"try_again","queue_state":"paused_capacity"}`)
			answer.Header().Set("Content-Type", "application/json")
		}
	}
	_, _, err := p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
	require.NoError(t, err)
}

// A server that asks for more time than Config.Retry allows is not waited for.
func TestRetryAfterIsBounded(t *testing.T) {
	b, url := newBetween(t, newServer(t, tinkertest.Options{}))
	p := newPolicy(t, newClient(t, url))
	busy := "/retrieve_future"
	b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
		if strings.HasSuffix(r.URL.Path, busy) {
			answer.Code = 503
			answer.Header().Set("Retry-After", "86400")
		}
	}
	_, _, err := p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
	require.ErrorContains(t, err, "no result after 1 polls")
	require.ErrorContains(t, err, "Retry-After 24h0m0s")
	busy = "/create_model"
	_, err = tinker.NewPolicy(t.Context(), newClient(t, url), tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingSum})
	require.ErrorContains(t, err, "Retry-After 24h0m0s")
}

// The key goes to the server as X-API-Key and appears nowhere else.
func TestKey(t *testing.T) {
	t.Setenv("STEPWISE_TEST_KEY", "tml-very-secret")
	s := newServer(t, tinkertest.Options{MaxModels: 1})
	var seen []string
	b, url := newBetween(t, s)
	b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
		seen = append(seen, r.Header.Get("X-API-Key"))
		if strings.HasSuffix(r.URL.Path, "/save_weights") { // as some servers do
			answer.Code, answer.Body = http.StatusForbidden, bytes.NewBufferString("key tml-very-secret may not save")
		}
	}
	var log bytes.Buffer
	c, err := tinker.New(tinker.Config{
		Endpoint: remote.Endpoint{URL: url, Key: remote.Key{Env: "STEPWISE_TEST_KEY"}}, Retry: retry,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	p := newPolicy(t, c)
	_, err = p.Save(t.Context(), "x")
	require.ErrorContains(t, err, "403 Forbidden")
	require.NotContains(t, err.Error()+log.String()+fmt.Sprintf("%+v", c), "very-secret")
	require.NotEmpty(t, seen)
	for _, k := range seen {
		require.Equal(t, "tml-very-secret", k)
	}
}

// Settings are read from JSON with durations and scalings as text; what is invalid is
// named.
func TestSettings(t *testing.T) {
	config, err := settings.Decode([]byte(`{"endpoint":{"url":"https://x"},"poll":"45s"}`), tinker.Config{})
	require.NoError(t, err)
	require.Equal(t, tinker.Config{Endpoint: remote.Endpoint{URL: "https://x"}, Poll: 45 * time.Second}, config)
	p, err := settings.Decode([]byte(`{"model":"m","lora":{"rank":8},"scaling":"mean"}`), tinker.PolicyConfig{})
	require.NoError(t, err)
	require.Equal(t, tinker.PolicyConfig{Model: "m", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingMean}, p)
	_, err = settings.Decode([]byte(`{"scaling":"median"}`), tinker.PolicyConfig{})
	require.ErrorContains(t, err, "want detect, sum or mean")

	for want, v := range map[string]interface{ Validate() error }{
		"Endpoint.URL is empty":                  tinker.Config{},
		"Config.Heartbeat is -1ns":               tinker.Config{Endpoint: remote.Endpoint{URL: "http://x"}, Heartbeat: -1},
		"URL ends in /api/v1, which the client ": tinker.Config{Endpoint: remote.Endpoint{URL: "http://x/a/api/v1/"}},
		"Retry.Attempts is -1":                   tinker.Config{Endpoint: remote.Endpoint{URL: "http://x"}, Retry: remote.Retry{Attempts: -1}},
		"PolicyConfig.Model is missing":          tinker.PolicyConfig{},
		"PolicyConfig.LoRA.Rank is 0":            tinker.PolicyConfig{Model: "m"},
		"PolicyConfig.Adam.Beta2 is 1":           tinker.PolicyConfig{Model: "m", LoRA: tinker.LoRA{Rank: 1}, Adam: tinker.Adam{Beta2: 1}},
		"PolicyConfig.Scaling":                   tinker.PolicyConfig{Model: "m", LoRA: tinker.LoRA{Rank: 1}, Scaling: 9},
		"EngineConfig.Model is missing":          tinker.EngineConfig{},
		"EngineConfig.VocabSize is 0":            tinker.EngineConfig{Model: "m"},
		"EngineConfig.EOS has id 5, want 0 to 4": tinker.EngineConfig{Model: "m", VocabSize: 5, EOS: []int32{5}},
		"EngineConfig.MaxSeq is -1":              tinker.EngineConfig{Model: "m", VocabSize: 5, MaxSeq: -1},
	} {
		require.ErrorContains(t, v.Validate(), want)
	}
	require.NoError(t, tinker.Config{Endpoint: remote.Endpoint{URL: "http://x"}}.Validate())
}
