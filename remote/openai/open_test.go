package openai

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// What the servers can do is found out and said in one line each.
func TestOpened(t *testing.T) {
	for _, c := range []struct {
		peer *peer
		want string
	}{
		{newPeer(t, DialectVLLM), `dialect=vllm model=tiny context=64 at_once=8 log_probs="at temperature 1" processed_log_probs_by_request=false prompt_log_probs=true same_seed_same_sample=true`},
		{newPeer(t, DialectVLLM, func(p *peer) { p.processed = true }), `log_probs="after truncation"`},
		{newPeer(t, DialectLlamaCPP), `dialect=llama.cpp model=tiny context=63 at_once=8 log_probs="at temperature 1" processed_log_probs_by_request=true prompt_log_probs=false same_seed_same_sample=true new_weights="none: no router (--models-dir)"`},
		{newPeer(t, DialectLlamaCPP, func(p *peer) { p.router = true }), `new_weights=gguf`},
		{newPeer(t, DialectSGLang), `dialect=sglang model=tiny context=58 at_once=8 log_probs="at the temperature"`},
	} {
		var log bytes.Buffer
		conf := config(c.peer)
		conf.Logger = slog.New(slog.NewTextHandler(&log, nil))
		open(t, conf)
		require.Contains(t, log.String(), c.want)
		require.Equal(t, 1, strings.Count(log.String(), "\n"))
	}
}

// A server that is not what it is said to be, or not fit for the engine, is an error
// that names it.
func TestNotOpened(t *testing.T) {
	for _, c := range []struct {
		name, want string
		peer       func() *peer
		change     func(c *Config)
	}{
		{"another dialect", `(sglang): the server says that it is vllm (owned_by "vllm"), want that as Server.Dialect`, func() *peer { return newPeer(t, DialectVLLM) }, func(c *Config) { c.Servers[0].Dialect = DialectSGLang }},
		{"another dialect, llama.cpp", "(vllm): the server says that it is llama.cpp", func() *peer { return newPeer(t, DialectLlamaCPP) }, func(c *Config) { c.Servers[0].Dialect = DialectVLLM }},
		{"another tokenizer", "Config.Vocab has 420 token ids, but the server's model 8", func() *peer { return newPeer(t, DialectLlamaCPP) }, func(c *Config) { c.Vocab = many{} }},
		{"another tokenizer, vLLM", "does Config.Vocab belong to this model?", func() *peer {
			p := newPeer(t, DialectVLLM)
			p.setHook(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
				long := len(body) > 400
				if long {
					p.fail(w, 400, "Prompt contains invalid tokens")
				}
				return long
			})
			return p
		}, func(*Config) {}},
		{"another model", `the server has no model "other"`, func() *peer { return newPeer(t, DialectVLLM) }, func(c *Config) { c.Servers[0].Model = "other" }},
		{"a router without a model", "the server has 2 models, want the name of one in Server.Model: b, tiny", func() *peer {
			return newPeer(t, DialectLlamaCPP, func(p *peer) { p.router, p.weights["b"] = true, 1 })
		}, func(*Config) {}},
		{"an empty router", "the server has no models", func() *peer {
			return newPeer(t, DialectLlamaCPP, func(p *peer) { p.router, p.weights = true, nil })
		}, func(*Config) {}},
		{"too small a context", "Config.Context is 100, but the server's is 64", func() *peer { return newPeer(t, DialectVLLM) }, func(c *Config) { c.Context = 100 }},
		{"another vocabulary", "want an id below 4", func() *peer { return newPeer(t, DialectVLLM) }, func(c *Config) { c.Vocab, c.EOS = few{}, []int32{3} }},
		{"a greedy server", "parameters are not respected", func() *peer {
			p := newPeer(t, DialectVLLM)
			p.setHook(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
				if !bytes.Contains(body, []byte(`"top_k":2,`)) {
					return false
				}
				p.answer(w, map[string]any{"model": model, "choices": []any{map[string]any{"token_ids": []int{0}, "logprobs": map[string]any{"token_logprobs": []float64{-1}}}}})
				return true
			})
			return p
		}, func(*Config) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.peer()
			conf := config(p)
			conf.Attempts = 2
			c.change(&conf)
			_, err := New(t.Context(), conf)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, p.URL)
		})
	}
}

// many is a vocabulary of a larger model.
type many struct{ words }

func (many) VocabSize() int { return 420 }

// A router lists a file that was put into its folder after its start once it is told to
// read the folder anew.
func TestRouterReadsItsFolderAnew(t *testing.T) {
	p := newPeer(t, DialectLlamaCPP, func(p *peer) { p.router = true })
	read := false
	p.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path != "/models" {
			return false
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if read = read || r.URL.Query().Get("reload") == "1"; !read {
			p.answer(w, map[string]any{"data": []any{}})
		}
		return !read
	})
	c := config(p)
	c.Servers[0].Model = model
	open(t, c)
}

// few is a vocabulary that lacks half of the peers' tokens.
type few struct{ words }

func (few) VocabSize() int { return 4 }

// New waits for a server that is not up yet, or is loading its model, for Patience.
func TestNewWaits(t *testing.T) {
	p := newPeer(t, DialectVLLM)
	c := config(p)
	server, proxy := behind(t, p, remotetest.Settings{})
	c.Servers[0] = server
	loading := 3
	p.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if loading--; loading >= 0 {
			p.fail(w, 503, "Loading model")
		}
		return loading >= 0
	})
	proxy.Stop()
	c.Attempts = 1
	c.Patience = 50 * time.Millisecond
	_, err := New(t.Context(), c)
	require.ErrorContains(t, err, "not up within Config.Patience, 50ms")
	require.ErrorContains(t, err, "dial tcp")

	c.Patience = 10 * time.Second
	var log bytes.Buffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	up := time.AfterFunc(100*time.Millisecond, func() { _ = proxy.Start() })
	defer up.Stop()
	open(t, c)
	require.Equal(t, 1, strings.Count(log.String(), "openai: waiting for an inference server"))
}

// So it does where something before the server answers for it: a gateway, or a published
// port whose connections end.
func TestNewWaitsBehindAGateway(t *testing.T) {
	for name, away := range map[string]func(p *peer, w http.ResponseWriter){
		"502": func(p *peer, w http.ResponseWriter) { p.fail(w, 502, "Bad Gateway") },
		"503": func(p *peer, w http.ResponseWriter) { p.fail(w, 503, "Loading model") },
		"504": func(p *peer, w http.ResponseWriter) { p.fail(w, 504, "Gateway Timeout") },
		"end": func(_ *peer, w http.ResponseWriter) {
			connection, _, err := http.NewResponseController(w).Hijack()
			require.NoError(t, err)
			connection.Close()
		},
		"reset": func(_ *peer, w http.ResponseWriter) {
			connection, _, err := http.NewResponseController(w).Hijack()
			require.NoError(t, err)
			require.NoError(t, connection.(*net.TCPConn).SetLinger(0))
			connection.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, DialectVLLM)
			left := 3
			p.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				if left--; left < 0 {
					return false
				}
				away(p, w)
				return true
			})
			c := config(p)
			c.Attempts = 1
			c.Patience = 10 * time.Second
			open(t, c)
			require.Negative(t, left)
		})
	}
}

func TestInvalidConfig(t *testing.T) {
	valid := func() Config {
		return Config{
			Vocab: words{}, EOS: []int32{7},
			Servers: []Server{{Endpoint: remote.Endpoint{URL: "http://a"}, Dialect: DialectVLLM}},
		}
	}
	require.NoError(t, valid().Validate())
	for want, spoil := range map[string]func(*Config){
		"Config.Servers is empty":                            func(c *Config) { c.Servers = nil },
		"Config.Vocab is missing":                            func(c *Config) { c.Vocab = nil },
		"Config.EOS is empty":                                func(c *Config) { c.EOS = nil },
		"Config.EOS[0] is 8, want an id of the vocabulary":   func(c *Config) { c.EOS[0] = 8 },
		"Config.Servers[0]: remote: Endpoint.URL":            func(c *Config) { c.Servers[0].Endpoint.URL = "a" },
		"Config.Servers[0].Dialect is none, want vllm":       func(c *Config) { c.Servers[0].Dialect = 0 },
		"Config.Servers[0].Concurrency is -1":                func(c *Config) { c.Servers[0].Concurrency = -1 },
		"Config.Servers[1] is http://a once more":            func(c *Config) { c.Servers = append(c.Servers, c.Servers[0]) },
		"Config.Attempts is negative":                        func(c *Config) { c.Attempts = -1 },
		"Config.MaxBackoff is 1ns, want at least Backoff, 1": func(c *Config) { c.Backoff, c.MaxBackoff = time.Second, 1 },
	} {
		c := valid()
		spoil(&c)
		require.ErrorContains(t, c.Validate(), want)
		_, err := New(t.Context(), c)
		require.ErrorContains(t, err, want)
	}
}

// A configuration is a file, in which a key is named and never held.
func TestConfigIsJSON(t *testing.T) {
	const text = `{"servers":[{"endpoint":{"url":"https://a:8000","key":{"env":"VLLM_KEY","file":""},"ca_file":"ca.pem"},"dialect":"llama.cpp","model":"m","concurrency":3}],` +
		`"eos":[7],"context":512,"attempts":4,"backoff":"250ms","max_backoff":"2s","sample_timeout":"1m0s","attempt_timeout":"30s","patience":"5s","phase_timeout":"1m30s","keep_in_flight":true,"unit_log_probs":false}`
	c, err := settings.Decode([]byte(text), Config{Vocab: words{}})
	require.NoError(t, err)
	require.Equal(t, DialectLlamaCPP, c.Servers[0].Dialect)
	require.Equal(t, 250*time.Millisecond, c.Backoff)
	require.Equal(t, "VLLM_KEY", c.Servers[0].Endpoint.Key.Env)
}

// The key reaches the server, and neither errors, logs, metrics nor a printed engine.
func TestKey(t *testing.T) {
	const secret = "sk-very-secret"
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	p := newPeer(t, DialectVLLM)
	var sent []string
	p.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		sent = append(sent, r.Header.Get("Authorization"))
		return false
	})
	var log bytes.Buffer
	c := config(p)
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	c.Servers[0].Endpoint.Key.File = file
	e := open(t, c)
	p.mu.Lock()
	for _, s := range sent {
		require.Equal(t, "Bearer "+secret, s)
	}
	p.mu.Unlock()
	p.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		p.fail(w, 401, "the key "+secret+" is refused")
		return true
	})
	_, err := trySampleAll(t.Context(), e, requests(1))
	require.ErrorContains(t, err, "401 Unauthorized")
	require.ErrorIs(t, e.Refresh(t.Context(), weightsAt(1, rollout.FormFolder)), ErrNoServer)
	for _, text := range []string{err.Error(), log.String(), fmt.Sprintf("%v %+v %#v", e, e, e), fmt.Sprint(e.Metrics())} {
		require.NotContains(t, text, secret)
	}
}

// A server that turns hostile after it was opened gets no more out of the engine than
// errors, which are fit for a log.
func TestTurnsHostile(t *testing.T) {
	const secret = "sk-canary-0123456789abcdef"
	t.Setenv("OPENAI_TEST_KEY", secret)
	for name, h := range remotetest.Hostile() {
		if name == "large" || name == "packed" {
			continue // bounded below the engine, and slow
		}
		for _, dialect := range []Dialect{DialectVLLM, DialectLlamaCPP, DialectSGLang} {
			p := newPeer(t, dialect)
			var log bytes.Buffer
			c := config(p)
			c.Servers[0].Endpoint.Key.Env = "OPENAI_TEST_KEY"
			c.Attempts, c.Patience, c.Logger = 2, 50*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil))
			e := open(t, c)
			p.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool { h.ServeHTTP(w, r); return true })
			got, err := trySampleAll(t.Context(), e, requests(1))
			if err == nil {
				err = got[0][0].Err
			}
			require.NoError(t, remotetest.CheckError(err, secret), "%s %v: %v", name, dialect, err)
			form := rollout.FormFolder
			if dialect == DialectLlamaCPP {
				form, e.fleet.servers[0].router = rollout.FormGGUF, true
			}
			require.NoError(t, remotetest.CheckError(e.Refresh(t.Context(), weightsAt(1, form)), secret), "%s %v", name, dialect)
			require.NotContains(t, log.String(), secret)
		}
	}
}

// Metrics have fixed names, start anew with each call, and count what was done.
func TestMetrics(t *testing.T) {
	p := newPeer(t, DialectVLLM)
	e := open(t, config(p))
	e.Metrics()
	got := sampleAll(t, e, requests(10))
	tokens := 0
	for i := range got {
		for _, c := range got[i] {
			tokens += len(c.Tokens)
		}
	}
	m := e.Metrics()
	require.EqualValues(t, 20, m["engine/samples"])
	require.EqualValues(t, tokens, m["engine/tokens"])
	require.Positive(t, m["engine/tokens_per_second"])
	require.Positive(t, m["engine/queue"])
	require.Positive(t, m["engine/in_flight"])
	require.InDelta(t, m["engine/in_flight"]/8, m["engine/busy"], 1e-9)
	require.Positive(t, m["engine/server_seconds"])
	require.GreaterOrEqual(t, m["engine/server_seconds_max"], m["engine/server_seconds"])
	require.EqualValues(t, 1, m["engine/servers_up"])
	names := slices.Sorted(maps.Keys(m))
	m = e.Metrics()
	require.Equal(t, names, slices.Sorted(maps.Keys(m)))
	require.Zero(t, m["engine/samples"])
	require.Zero(t, m["engine/queue"])
	require.Zero(t, m["engine/in_flight"])
	for _, name := range names {
		require.True(t, strings.HasPrefix(name, "engine/"), name)
	}
}

// A refresh that a killed trainer has begun leaves a server paused: it is up, and keeps
// every generation waiting.
func TestNewResumesWhatIsPaused(t *testing.T) {
	for _, d := range []Dialect{DialectVLLM, DialectSGLang} {
		p := newPeer(t, d, func(p *peer) { p.paused = true })
		p.setHook(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
			p.mu.Lock()
			waits := p.paused && r.URL.Path == dialects[d].samplePath()
			p.mu.Unlock()
			if waits {
				<-r.Context().Done()
			}
			return waits
		})
		c := config(p)
		c.AttemptTimeout = 200 * time.Millisecond
		e, err := New(t.Context(), c)
		require.NoError(t, err, d)
		require.NoError(t, e.Refresh(t.Context(), weightsAt(5, rollout.FormFolder)))
	}
}

// A server that is up and generates nothing is an error after PhaseTimeout, however long
// a sample may take.
func TestNewIsBounded(t *testing.T) {
	p := newPeer(t, DialectVLLM)
	p.setHook(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		waits := r.URL.Path == "/v1/completions"
		if waits {
			<-r.Context().Done()
		}
		return waits
	})
	c := config(p)
	c.SampleTimeout, c.PhaseTimeout = 24*time.Hour, 50*time.Millisecond
	_, err := New(t.Context(), c)
	require.ErrorContains(t, err, p.URL)
	require.ErrorContains(t, err, "a probe: not done within Config.PhaseTimeout, 50ms")
}
