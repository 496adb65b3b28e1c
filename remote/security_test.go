package remote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/openai"
	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What holds for all drivers. The judge's own tests are in its package.

const canary = "sk-canary-0123456789abcdef"

// letters is a vocabulary: a, b, c, …
type letters struct{}

func (letters) Bytes(id int32) []byte { return []byte{byte('a' + id)} }
func (letters) VocabSize() int        { return 12 }

// output collects what is logged.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

// check fails if the log has the key, or anything that a terminal would act on.
func (o *output) check(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	require.NotContains(t, o.b.String(), canary)
	require.False(t, strings.ContainsFunc(o.b.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }), "%q", o.b.String())
}

func endpoint(t *testing.T, h http.Handler) remote.Endpoint {
	t.Setenv("CANARY_KEY", canary)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return remote.Endpoint{URL: server.URL, Key: remote.Key{Env: "CANARY_KEY"}}
}

// within bounds what a driver may take to give up.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var twice = remote.Retry{Attempts: 2, Elapsed: time.Second, Backoff: time.Millisecond, MaxBackoff: time.Millisecond}

// No hostile server gets more out of a driver than an error.
func TestHostile(t *testing.T) {
	for name, h := range remotetest.Hostile() {
		t.Run(name, func(t *testing.T) {
			dialects := []openai.Dialect{openai.DialectVLLM, openai.DialectLlamaCPP, openai.DialectSGLang}
			if name == "large" || name == "packed" {
				dialects = dialects[:1] // size is bounded below the dialects, and takes time
			}
			for _, dialect := range dialects {
				var log output
				ctx := within(t)
				_, err := openai.New(ctx, openai.Config{
					Servers: []openai.Server{{Endpoint: endpoint(t, h), Dialect: dialect}}, Vocab: letters{}, EOS: []int32{11},
					Attempts: 2, Backoff: time.Millisecond, Patience: 100 * time.Millisecond, PhaseTimeout: 10 * time.Second,
					Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				})
				require.NoError(t, remotetest.CheckError(err, canary), "%v: %v", dialect, err)
				require.NoError(t, ctx.Err())
				log.check(t)
			}

			// The Tinker server turns hostile in the middle of a run.
			good := tinkertest.NewServer(tinkertest.Options{})
			defer good.Close()
			var hostile atomic.Bool
			var log output
			c, err := tinker.New(tinker.Config{
				Endpoint: endpoint(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if hostile.Load() {
						h.ServeHTTP(w, r)
						return
					}
					good.ServeHTTP(w, r)
				})),
				Retry: twice, Heartbeat: time.Second,
				Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			require.NoError(t, err)
			defer c.Close()
			p, err := tinker.NewPolicy(t.Context(), c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}})
			require.NoError(t, err)
			e, err := tinker.NewEngine(c, letters{}, tinker.EngineConfig{Model: "table", VocabSize: 12, EOS: []int32{11}})
			require.NoError(t, err)
			batch, err := rl.DemonstrationBatch([]rl.Demonstration{{Prompt: []int32{1}, Tokens: []int32{2, 3}}}, objective.TokenMean{})
			require.NoError(t, err)
			hostile.Store(true)
			ctx := within(t)
			_, updated := rl.Update(ctx, p, batch, objective.CrossEntropy{}, 1, rl.OptimOptions{LR: 1})
			_, published := p.Publish(ctx)
			sampled := e.Generate(ctx, []rollout.Request{{Prompt: []int32{1}, N: 1, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}}, func(c rollout.Completion) error { return c.Err })
			for _, err := range []error{updated, published, sampled} {
				require.NoError(t, remotetest.CheckError(err, canary), "%v", err)
			}
			require.NoError(t, ctx.Err())
			log.check(t)
		})
	}
}

// counted rewards a's.
type counted struct{ id int32 }

func (p counted) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: []int32{p.id}, N: 4, Params: rollout.Params{Temperature: 1, MaxTokens: 4}}, nil
}

func (p counted) Judge(_ context.Context, c *rollout.Completion) error {
	c.Rewards = []float64{float64(strings.Count(c.Text, "a"))}
	return nil
}

// A run on a server that quotes the key in errors and in what it names leaves the key
// in none of its files, logs, metrics and errors.
func TestRunFolder(t *testing.T) {
	good := tinkertest.NewServer(tinkertest.Options{})
	defer good.Close()
	var requests, down atomic.Int32
	e := endpoint(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := requests.Add(1); n%5 == 0 || down.Load() > 0 {
			http.Error(w, fmt.Sprintf("%v\x1b[31m %s", r.Header, r.URL), http.StatusServiceUnavailable)
			return
		}
		if r.Header.Get("X-API-Key") != canary {
			http.Error(w, "no key", http.StatusUnauthorized)
			return
		}
		good.ServeHTTP(w, r)
	}))
	var log output
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config := tinker.Config{Endpoint: e, Retry: remote.Retry{Attempts: 4, Elapsed: time.Minute, Backoff: time.Millisecond, MaxBackoff: time.Millisecond}, Log: logger}
	c, err := tinker.New(config)
	require.NoError(t, err)
	defer c.Close()
	policy, err := tinker.NewPolicy(t.Context(), c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}})
	require.NoError(t, err)
	engine, err := tinker.NewEngine(c, letters{}, tinker.EngineConfig{Model: "table", VocabSize: 12, EOS: []int32{11}})
	require.NoError(t, err)

	dir := filepath.Join(t.TempDir(), "run")
	w, err := run.Start(run.Config{Dir: dir, Settings: map[string]any{"server": config, "printed": fmt.Sprintf("%+v %#v", config.Endpoint, config.Endpoint)}, Seed: 1})
	require.NoError(t, err)
	stage, err := w.Stage("train")
	require.NoError(t, err)
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: engine, Source: &rl.SliceSource{Problems: []rl.Problem{counted{1}, counted{2}}},
		Batching: rl.Batching{Prompts: 2}, LR: rl.Constant{LR: 0.5}, Seed: 1, Steps: 4,
		Recorder: recorder{stage, c}, Logger: logger,
		OnRollouts: func(step int64, r *rl.Rollouts) error { return stage.Append(run.Rollouts, step, r.Groups) },
	})
	require.NoError(t, err)
	_, err = stage.Resume(t.Context(), trainer)
	require.NoError(t, err)
	require.NoError(t, trainer.Run(t.Context()))
	_, err = policy.Save(t.Context(), "last")
	require.NoError(t, err)

	down.Store(1)
	_, err = policy.Publish(t.Context())
	require.NoError(t, remotetest.CheckError(err, canary), "%v", err)
	require.ErrorContains(t, err, "[key]", "the server did quote it")
	require.NoError(t, stage.Append("errors", 4, err.Error()))
	down.Store(0)
	require.NoError(t, policy.Free(t.Context()))
	require.NoError(t, w.Close())
	require.Contains(t, log.b.String(), "[key]")
	log.check(t)
	leaks, err := remotetest.Leaks(dir, canary)
	require.NoError(t, err)
	require.Empty(t, leaks)
	manifest, err := os.ReadFile(filepath.Join(dir, "run.json"))
	require.NoError(t, err)
	require.Contains(t, string(manifest), "CANARY_KEY", "the settings say where the key is")
}

// recorder adds the client's metrics to those of each training step.
type recorder struct {
	*run.Stage
	client *tinker.Client
}

func (r recorder) Record(step int64, metrics map[string]float64) error {
	for name, v := range r.client.Metrics() {
		if math.IsNaN(v) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsLower(r) && r != '/' && r != '_' }) {
			return fmt.Errorf("metric %q is %v", name, v)
		}
		metrics[name] = v
	}
	return r.Stage.Record(step, metrics)
}

// A key in the place of its name, or in a URL, is refused and not repeated.
func TestMisplacedKeys(t *testing.T) {
	for _, e := range []remote.Endpoint{
		{URL: "http://user:" + canary + "@example.com"}, {URL: "http://example.com/?key=" + canary}, {URL: "http://example.com/#" + canary},
		{URL: canary}, {URL: "http://example.com", Key: remote.Key{Env: canary}},
	} {
		_, err := openai.New(t.Context(), openai.Config{Servers: []openai.Server{{Endpoint: e, Dialect: openai.DialectVLLM}}, Vocab: letters{}, EOS: []int32{1}})
		require.NoError(t, remotetest.CheckError(err, canary), "%v", err)
		_, err = tinker.New(tinker.Config{Endpoint: e})
		require.NoError(t, remotetest.CheckError(err, canary), "%v", err)
		b, err := json.Marshal(e.String())
		require.NoError(t, err)
		require.NotContains(t, string(b), canary)
	}
}
