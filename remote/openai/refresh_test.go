package openai

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/rollout"
)

func weightsAt(v int64, f rollout.Form) rollout.Weights {
	ref := fmt.Sprintf("/shared/policy-v%d", v)
	if f == rollout.FormGGUF {
		ref += ".gguf"
	}
	return rollout.Weights{Version: v, Form: f, Ref: ref}
}

// took returns what a peer was asked since the last call, but for generations, with
// the engine's name for adapters replaced.
func (p *peer) took(e *Engine) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.requests
	p.requests = nil
	for i := range r {
		r[i] = strings.ReplaceAll(r[i], e.run, "RUN")
	}
	return slices.Compact(r)
}

// Each dialect's refresh, request by request, and the samples are those of the new
// weights.
func TestRefresh(t *testing.T) {
	for _, c := range []struct {
		dialect Dialect
		form    rollout.Form
		want    []string
	}{
		{DialectVLLM, rollout.FormFolder, []string{"POST /pause?mode=keep", "POST /collective_rpc", "POST /reset_prefix_cache", "POST /update_weight_version", "POST /resume"}},
		{DialectVLLM, rollout.FormAdapter, []string{"POST /v1/load_lora_adapter"}},
		{DialectSGLang, rollout.FormFolder, []string{"POST /pause_generation", "POST /update_weights_from_disk", "POST /continue_generation"}},
		{DialectLlamaCPP, rollout.FormGGUF, []string{"GET /models?reload=1", "POST /models/load", "GET /models", "POST /models/unload"}},
	} {
		t.Run(fmt.Sprintf("%v, %v", c.dialect, c.form), func(t *testing.T) {
			p := newPeer(t, c.dialect, func(p *peer) {
				p.router = true
				if c.dialect == DialectLlamaCPP {
					p.weights["policy-v5"], p.weights["policy-v6"] = 5, 6
				}
			})
			conf := config(p)
			conf.Servers[0].Model = model
			e := open(t, conf)
			before := sampleAll(t, e, requests(4))
			p.took(e)
			require.NoError(t, e.Refresh(t.Context(), weightsAt(5, c.form)))
			require.Equal(t, c.want, p.took(e))
			after := sampleAll(t, e, requests(4))
			require.NotEqual(t, before, after)
			for i := range after {
				for _, s := range after[i] {
					require.EqualValues(t, 5, s.FirstVersion)
					require.EqualValues(t, 5, s.LastVersion)
					require.InDelta(t, p.logProbOf(5, requests(1)[i].Prompt, s.Tokens[0]), s.LogP[0], 1e-6)
				}
			}
			// The same weights once more change nothing, and the next ones replace them.
			require.NoError(t, e.Refresh(t.Context(), weightsAt(5, c.form)))
			for _, asked := range p.took(e) {
				require.Contains(t, asked, "GET ", "only whether it still has them")
			}
			require.NoError(t, e.Refresh(t.Context(), weightsAt(6, c.form)))
			if c.form == rollout.FormAdapter {
				require.Equal(t, []string{"POST /v1/load_lora_adapter", "POST /v1/unload_lora_adapter"}, p.took(e))
				require.Len(t, p.weights, 2) // the model's own and the last adapter
			}
			require.EqualValues(t, 6, sampleAll(t, e, requests(1))[0][0].LastVersion)
		})
	}
}

// logProbOf is that of the first token after a prompt at temperature 1.
func (p *peer) logProbOf(weights int64, prompt []int32, id int32) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weights["that"] = weights
	defer delete(p.weights, "that")
	return p.score("that", append(slices.Clone(prompt), id))[len(prompt)]
}

// A router whose file of that name has been loaded before reads it again.
func TestRefreshToAFileOfTheSameName(t *testing.T) {
	p := newPeer(t, DialectLlamaCPP, func(p *peer) {
		p.router = true
		p.weights["policy-v5"], p.loaded["policy-v5"] = 5, true
	})
	c := config(p)
	c.Servers[0].Model = model
	e := open(t, c)
	p.took(e)
	require.NoError(t, e.Refresh(t.Context(), weightsAt(5, rollout.FormGGUF)))
	require.Equal(t, []string{"GET /models?reload=1", "POST /models/unload", "GET /models", "POST /models/load", "GET /models", "POST /models/unload"}, p.took(e))
}

// What a server cannot load is refused before anything has changed.
func TestRefreshRefused(t *testing.T) {
	for _, c := range []struct {
		dialect Dialect
		weights rollout.Weights
		want    string
	}{
		{DialectVLLM, weightsAt(1, rollout.FormGGUF), "(vllm) cannot load weights of the form gguf, want folder or adapter"},
		{DialectLlamaCPP, weightsAt(1, rollout.FormFolder), "(llama.cpp) cannot load weights of the form folder, want gguf"},
		{DialectSGLang, weightsAt(1, rollout.FormAdapter), "(sglang) cannot load weights of the form adapter, want folder"},
		{DialectSGLang, rollout.Weights{Version: 1}, "(sglang) cannot load weights of the form own, want folder: wrap the policy in local.NewExporter"},
		{DialectVLLM, rollout.Weights{Version: 1, Form: rollout.FormFolder}, "Weights.Ref is empty"},
	} {
		p := newPeer(t, c.dialect)
		e := open(t, config(p))
		p.took(e)
		require.ErrorContains(t, e.Refresh(t.Context(), c.weights), c.want)
		require.Empty(t, p.took(e))
		sampleAll(t, e, requests(1))
	}
	e := open(t, config(newPeer(t, DialectLlamaCPP)))
	require.ErrorContains(t, e.Refresh(t.Context(), weightsAt(1, rollout.FormGGUF)), "is no router (--models-dir) and cannot change its weights")
}

// A server that fails a refresh is out, although it says that it is well: it would
// sample from what it has then. The others go on. With none left, that is an error.
func TestFailedRefresh(t *testing.T) {
	bad, good := newPeer(t, DialectVLLM), newPeer(t, DialectVLLM)
	bad.failAt("/collective_rpc", 500, "Call to collective_rpc method failed: \x1b[31mWorker failed")
	e := open(t, config(bad, good))
	require.NoError(t, e.Refresh(t.Context(), weightsAt(2, rollout.FormFolder)))
	drawn := bad.draws()
	got := sampleAll(t, e, requests(20))
	for _, c := range got[0] {
		require.EqualValues(t, 2, c.LastVersion)
	}
	require.Equal(t, drawn, bad.draws())
	m := e.Metrics()
	require.EqualValues(t, 1, m["engine/servers_up"])
	require.EqualValues(t, 1, m["engine/servers_dead"])

	// It stays out while nothing shows that it was started anew.
	bad.setHook(nil)
	require.NoError(t, e.Refresh(t.Context(), weightsAt(3, rollout.FormFolder)))
	require.EqualValues(t, 1, e.Metrics()["engine/servers_dead"])

	good.failAt("/resume", 500, "no")
	err := e.Refresh(t.Context(), weightsAt(4, rollout.FormFolder))
	require.ErrorIs(t, err, ErrNoServer)
	require.ErrorContains(t, err, "resume: remote: POST "+good.URL+"/resume: 500")
	require.ErrorContains(t, err, "out since it failed, and not started anew: load the weights")
	require.NotContains(t, err.Error(), "\x1b")
	_, err = trySampleAll(t.Context(), e, requests(1))
	require.ErrorIs(t, err, ErrNoServer)
}

// A server that could not load an adapter, because its disk did not show the folder yet for
// example, has lost nothing: it is out until the next refresh.
func TestFailedAdapter(t *testing.T) {
	late, good := newPeer(t, DialectVLLM), newPeer(t, DialectVLLM)
	late.failAt("/v1/load_lora_adapter", 404, "No adapter found")
	e := open(t, config(late, good))
	require.NoError(t, e.Refresh(t.Context(), weightsAt(2, rollout.FormAdapter)))
	require.EqualValues(t, 1, e.Metrics()["engine/servers_dead"])
	drawn := late.draws()
	sampleAll(t, e, requests(20))
	require.Equal(t, drawn, late.draws())

	late.setHook(nil)
	require.NoError(t, e.Refresh(t.Context(), weightsAt(3, rollout.FormAdapter)))
	require.EqualValues(t, 0, e.Metrics()["engine/servers_dead"])
	for _, c := range sampleAll(t, e, requests(20))[0] {
		require.EqualValues(t, 3, c.FirstVersion)
	}
	require.Greater(t, late.draws(), drawn)
}

// The server that the proxy dooms looks well after the failed reload and dies at the
// next generation. The engine does not send it one; once it was started anew, the next
// refresh takes it in.
func TestDoomedServer(t *testing.T) {
	doomed, good := newPeer(t, DialectVLLM), newPeer(t, DialectVLLM)
	proxy, err := remotetest.NewProxy(doomed, remotetest.Settings{
		Script: map[int]remotetest.Fault{1: remotetest.FaultDoom},
		Only:   func(r *http.Request) bool { return r.URL.Path == "/collective_rpc" },
	})
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	c := config(doomed, good)
	c.Servers[0].Endpoint.URL = proxy.URL()
	e := open(t, c)
	require.NoError(t, e.Refresh(t.Context(), weightsAt(2, rollout.FormFolder)))
	sampleAll(t, e, requests(20))
	require.EqualValues(t, 1, e.Metrics()["engine/servers_dead"])

	proxy.Stop()
	require.NoError(t, e.Refresh(t.Context(), weightsAt(3, rollout.FormFolder)))
	require.EqualValues(t, 1, e.Metrics()["engine/servers_dead"])
	require.NoError(t, proxy.Start())
	doomed.mu.Lock()
	doomed.paused = false // a new process
	doomed.mu.Unlock()
	require.NoError(t, e.Refresh(t.Context(), weightsAt(4, rollout.FormFolder)))
	require.EqualValues(t, 0, e.Metrics()["engine/servers_dead"])
	for _, c := range sampleAll(t, e, requests(20))[0] {
		require.EqualValues(t, 4, c.LastVersion)
	}
}

// A server that was started anew between two refreshes is known by its label.
func TestStartedAnewUnseen(t *testing.T) {
	p, good := newPeer(t, DialectVLLM), newPeer(t, DialectVLLM)
	e := open(t, config(p, good))
	require.NoError(t, e.Refresh(t.Context(), weightsAt(2, rollout.FormFolder)))
	p.failAt("/collective_rpc", 500, "Worker failed")
	for v := range int64(2) {
		require.NoError(t, e.Refresh(t.Context(), weightsAt(3+v, rollout.FormFolder)))
		require.EqualValues(t, 1, e.Metrics()["engine/servers_dead"])
	}
	p.setHook(nil)
	p.mu.Lock()
	p.version, p.paused, p.weights[model] = "default", false, 0
	p.mu.Unlock()
	require.NoError(t, e.Refresh(t.Context(), weightsAt(5, rollout.FormFolder)))
	require.EqualValues(t, 0, e.Metrics()["engine/servers_dead"])
}

// A server that was started anew between two calls has other weights: it must not be
// sampled from, although it answers.
func TestStartedAnewWithOtherWeights(t *testing.T) {
	for _, dialect := range []Dialect{DialectVLLM, DialectSGLang} {
		anew, good := newPeer(t, dialect), newPeer(t, dialect)
		server, proxy := behind(t, anew, remotetest.Settings{})
		c := config(anew, good)
		c.Servers[0] = server
		e := open(t, c)
		require.NoError(t, e.Refresh(t.Context(), weightsAt(2, rollout.FormFolder)))
		proxy.Stop()
		sampleAll(t, e, requests(10)) // notices
		anew.mu.Lock()
		anew.version, anew.weights[model] = "default", 0
		anew.mu.Unlock()
		require.NoError(t, proxy.Start())
		e.fleet.mu.Lock()
		e.fleet.servers[0].notBefore = time.Time{} // it is tried at once
		e.fleet.mu.Unlock()
		drawn := anew.draws()
		sampleAll(t, e, requests(10))
		require.Equal(t, drawn, anew.draws())
		require.EqualValues(t, 1, e.Metrics()["engine/servers_dead"])
		require.NoError(t, e.Refresh(t.Context(), weightsAt(3, rollout.FormFolder)))
		require.EqualValues(t, 0, e.Metrics()["engine/servers_dead"])
	}
}

// A server that was started anew has lost what it was given under a name. Requests go to
// the others, and the next refresh takes it in, also one to the same weights.
func TestStartedAnewWithoutTheName(t *testing.T) {
	for dialect, form := range map[Dialect]rollout.Form{DialectVLLM: rollout.FormAdapter, DialectLlamaCPP: rollout.FormGGUF} {
		for _, noticed := range []bool{false, true} {
			if dialect == DialectLlamaCPP && !noticed {
				continue // a router loads what it is asked for
			}
			t.Run(fmt.Sprintf("%v, noticed %v", dialect, noticed), func(t *testing.T) {
				set := func(p *peer) {
					p.router = true
					if dialect == DialectLlamaCPP {
						p.weights["policy-v2"], p.weights["policy-v3"] = 2, 3
					}
				}
				anew, good := newPeer(t, dialect, set), newPeer(t, dialect, set)
				c := config(anew, good)
				c.Servers[0].Model, c.Servers[1].Model = model, model
				e := open(t, c)
				require.NoError(t, e.Refresh(t.Context(), weightsAt(2, form)))
				anew.mu.Lock()
				for name := range anew.weights {
					if v := anew.weights[name]; v == 2 {
						delete(anew.weights, name)
						anew.loaded[name] = false
					}
				}
				anew.mu.Unlock()
				if noticed {
					for _, c := range slices.Concat(sampleAll(t, e, requests(20))...) {
						require.NoError(t, c.Err)
						require.EqualValues(t, 2, c.LastVersion)
					}
					require.EqualValues(t, 1, e.Metrics()["engine/servers_dead"])
				}
				if dialect == DialectLlamaCPP { // its folder is back, too
					anew.mu.Lock()
					anew.weights["policy-v2"] = 2
					anew.mu.Unlock()
				}
				require.NoError(t, e.Refresh(t.Context(), weightsAt(2, form)))
				require.EqualValues(t, 0, e.Metrics()["engine/servers_dead"])
				drawn := anew.draws()
				sampleAll(t, e, requests(20))
				require.Greater(t, anew.draws(), drawn)
			})
		}
	}
}

// SGLang's answers name the weights, so that no sample of a server that was started
// anew unnoticed is taken.
func TestAnswerOfOtherWeights(t *testing.T) {
	p, good := newPeer(t, DialectSGLang), newPeer(t, DialectSGLang)
	e := open(t, config(p, good))
	require.NoError(t, e.Refresh(t.Context(), weightsAt(2, rollout.FormFolder)))
	p.mu.Lock()
	p.version, p.weights[model] = "default", 0
	p.mu.Unlock()
	for _, c := range sampleAll(t, e, requests(10))[0] {
		require.NoError(t, c.Err)
		require.InDelta(t, p.logProbOf(2, requests(1)[0].Prompt, c.Tokens[0]), c.LogP[0], 1e-6)
	}
	require.EqualValues(t, 1, e.Metrics()["engine/servers_dead"])
}

// A phase that hangs ends at its deadline, and the server is out.
func TestRefreshDeadline(t *testing.T) {
	p, good := newPeer(t, DialectVLLM), newPeer(t, DialectVLLM)
	c := config(p, good)
	e := open(t, c)
	e.config.PhaseTimeout = 2 * time.Second
	p.setHook(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path != "/reset_prefix_cache" {
			return false
		}
		<-r.Context().Done()
		return true
	})
	require.NoError(t, e.Refresh(t.Context(), weightsAt(2, rollout.FormFolder)))
	require.EqualValues(t, 1, e.Metrics()["engine/servers_dead"])
	require.ErrorContains(t, e.fleet.servers[0].lastErr, "clear the prefix cache: not done within Config.PhaseTimeout, 2s")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, e.Refresh(ctx, weightsAt(3, rollout.FormFolder)), context.Canceled)
}

// A refresh in place waits for the samples in flight, longer than for a phase if need be,
// and holds back the others. With KeepInFlight it does not wait, and the completion has
// both versions.
func TestRefreshWhileSampling(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("keep %v", keep), func(t *testing.T) {
			p := newPeer(t, DialectVLLM)
			c := config(p)
			c.Servers[0].Concurrency = 1
			c.KeepInFlight = keep
			e := open(t, c)
			e.config.PhaseTimeout = time.Second
			arrived, proceed := make(chan struct{}), make(chan struct{})
			var first atomic.Bool
			first.Store(true)
			p.setHook(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.URL.Path == "/v1/completions" {
					if first.CompareAndSwap(true, false) {
						close(arrived)
						<-proceed
					}
				}
				return false
			})
			var got [][]rollout.Completion
			var err error
			var all sync.WaitGroup
			all.Go(func() { got, err = trySampleAll(t.Context(), e, requests(2)[:1]) })
			<-arrived
			refreshed := make(chan error)
			go func() { refreshed <- e.Refresh(t.Context(), weightsAt(2, rollout.FormFolder)) }()
			if keep {
				require.NoError(t, <-refreshed)
				close(proceed)
			} else {
				select {
				case err := <-refreshed:
					t.Fatal("Refresh returned while a sample was in flight: ", err)
				case <-time.After(1100 * time.Millisecond):
				}
				close(proceed)
				require.NoError(t, <-refreshed)
			}
			all.Wait()
			require.NoError(t, err)
			a, b := got[0][0], got[0][1]
			if a.FirstVersion == 2 {
				a, b = b, a
			}
			require.EqualValues(t, 0, a.FirstVersion)
			require.EqualValues(t, map[bool]int64{true: 2}[keep], a.LastVersion)
			require.EqualValues(t, 2, b.FirstVersion)
		})
	}
}

// inFlight begins to draw a sample and returns once the engine's first peer has the
// request, which it holds until proceed is closed or the client gives up. What was
// sampled comes out of done.
func inFlight(t *testing.T, e *Engine, p *peer, proceed <-chan struct{}) (done chan rollout.Completion) {
	arrived, done := make(chan struct{}), make(chan rollout.Completion, 1)
	var first atomic.Bool
	p.setHook(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path != dialects[p.dialect].samplePath() || strings.Contains(r.Header.Get("X-Request-Id"), "-probe-") || !first.CompareAndSwap(false, true) {
			return false
		}
		close(arrived)
		select {
		case <-proceed:
		case <-r.Context().Done():
		}
		return false
	})
	go func() {
		got, err := trySampleAll(t.Context(), e, requests(1)[:1])
		if err != nil {
			t.Error(err)
		}
		done <- got[0][0]
	}()
	<-arrived
	return done
}

// A sample that ends after the server has gone on with new weights, and before the probe
// has checked them, may have tokens of both.
func TestLastVersionDuringTheProbe(t *testing.T) {
	for _, dialect := range []Dialect{DialectVLLM, DialectSGLang} {
		p := newPeer(t, dialect)
		c := config(p)
		c.KeepInFlight = true
		e := open(t, c)
		require.NoError(t, e.Refresh(t.Context(), weightsAt(1, rollout.FormFolder)))
		proceed := make(chan struct{})
		done := inFlight(t, e, p, proceed)
		p.mu.Lock()
		hold := p.hook
		p.mu.Unlock()
		var got rollout.Completion
		p.setHook(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			if got.Tokens == nil && strings.Contains(r.Header.Get("X-Request-Id"), "-probe-") {
				close(proceed)
				got = <-done
			}
			return hold(w, r, body)
		})
		require.NoError(t, e.Refresh(t.Context(), weightsAt(2, rollout.FormFolder)))
		require.NoError(t, got.Err)
		require.EqualValues(t, 1, got.FirstVersion)
		require.EqualValues(t, 2, got.LastVersion)
		require.Zero(t, e.Metrics()["engine/retries"])
	}
}

// Weights that have a name are those of a sample to its end, and stay until then: Refresh
// does not wait for it.
func TestRefreshByNameWhileSampling(t *testing.T) {
	p := newPeer(t, DialectVLLM)
	e := open(t, config(p))
	require.NoError(t, e.Refresh(t.Context(), weightsAt(1, rollout.FormAdapter)))
	proceed := make(chan struct{})
	done := inFlight(t, e, p, proceed)
	p.took(e)
	require.NoError(t, e.Refresh(t.Context(), weightsAt(2, rollout.FormAdapter)))
	require.Equal(t, []string{"POST /v1/load_lora_adapter"}, p.took(e))
	close(proceed)
	c := <-done
	require.EqualValues(t, 1, c.FirstVersion)
	require.EqualValues(t, 1, c.LastVersion)
	require.InDelta(t, p.logProbOf(1, requests(1)[0].Prompt, c.Tokens[0]), c.LogP[0], 1e-6)
	require.NoError(t, e.Refresh(t.Context(), weightsAt(3, rollout.FormAdapter)))
	require.Equal(t, []string{"POST /v1/unload_lora_adapter", "POST /v1/load_lora_adapter", "POST /v1/unload_lora_adapter"}, p.took(e))
}

// With KeepInFlight, a sample at a server that fails to load weights is drawn again at
// another, at once: the server holds it for ever, or goes on with nobody knows what.
func TestFailedRefreshWhileSampling(t *testing.T) {
	bad, good := newPeer(t, DialectVLLM), newPeer(t, DialectVLLM)
	c := config(bad, good)
	c.KeepInFlight, c.SampleTimeout = true, time.Hour
	e := open(t, c)
	done := inFlight(t, e, bad, nil)
	bad.mu.Lock()
	hold := bad.hook
	bad.mu.Unlock()
	bad.setHook(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		if r.URL.Path == "/collective_rpc" {
			bad.fail(w, 500, "Worker failed")
			return true
		}
		return hold(w, r, body)
	})
	require.NoError(t, e.Refresh(t.Context(), weightsAt(2, rollout.FormFolder)))
	got := <-done
	require.NoError(t, got.Err)
	require.InDelta(t, good.logProbOf(got.FirstVersion, requests(1)[0].Prompt, got.Tokens[0]), got.LogP[0], 1e-6)
	m := e.Metrics()
	require.EqualValues(t, 1, m["engine/servers_dead"])
	require.EqualValues(t, 1, m["engine/retries"])
	require.ErrorContains(t, e.fleet.servers[0].lastErr, "load the weights")
}
