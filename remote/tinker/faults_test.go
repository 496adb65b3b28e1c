package tinker_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// damage is what faults do to protobuf: fewer numbers than there should be, and
// log-probs that are 1 too low.
func damage(f remotetest.Fault, mime string, body []byte) []byte {
	if mime != "application/x-protobuf" || f != remotetest.FaultCount && f != remotetest.FaultLogProbs {
		return nil
	}
	spoil := func(logp []float32) []float32 {
		if f == remotetest.FaultCount {
			return logp[:len(logp)-1]
		}
		for i := range logp {
			logp[i]--
		}
		return logp
	}
	if strings.HasPrefix(string(body), "\n\x06scalar") {
		for n := range 1000 {
			if out, err := wire.ParseForwardBackwardOutput(body, n); err == nil {
				out.Fields[0].Data[0] = spoil(out.Fields[0].Data[0])
				return out.Marshal()
			}
		}
	}
	s, err := wire.ParseSample(body)
	if err != nil || len(s.Sequences) == 0 {
		return nil
	}
	s.Sequences[0].LogProbs = spoil(s.Sequences[0].LogProbs)
	return s.Marshal()
}

// patient goes on for long enough for a machine that is busy with other tests.
var patient = remote.Retry{Attempts: 50, Elapsed: time.Minute, Backoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond}

// faulty returns a client that reaches s through a proxy.
func faulty(t *testing.T, s http.Handler, set remotetest.Settings, r remote.Retry) (*tinker.Client, *remotetest.Proxy) {
	set.Damage, set.Down, set.Pause, set.Seed = damage, 5*time.Millisecond, 10*time.Microsecond, 4
	proxy, err := remotetest.NewProxy(s, set)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	c, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: proxy.URL()}, Retry: r, Timeout: 100 * time.Millisecond, Poll: 100 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, proxy
}

// Under each fault a run either comes to the weights of a run without faults, or ends
// with an error that says what broke.
func TestFaults(t *testing.T) {
	t.Parallel() // most of the time is waiting
	run := func(t *testing.T, c *tinker.Client) error {
		p, err := tinker.NewPolicy(t.Context(), c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}})
		if err != nil {
			return err
		}
		config := training(p, newEngine(t, c), p)
		config.Steps = 2
		trainer, err := rl.NewTrainer(config)
		require.NoError(t, err)
		return trainer.Run(t.Context())
	}
	o := tinkertest.Options{Mean: true, MaxModels: 50}
	clean := newServer(t, o)
	require.NoError(t, run(t, newClient(t, clean.URL)))

	// What cannot be repaired, and what the error then says.
	broken := map[remotetest.Fault]string{
		remotetest.FaultLogProbs: "between two passes with the same weights",
		remotetest.FaultDoom:     "connect", // refused, or reset
	}
	for _, f := range remotetest.Faults() {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			s, rate := newServer(t, o), 0.2
			if f == remotetest.FaultHang || f == remotetest.FaultTrickle { // each takes a while
				rate = 0.05
			}
			c, proxy := faulty(t, s, remotetest.Settings{Rate: rate, Faults: []remotetest.Fault{f}}, patient)
			err := run(t, c)
			require.Positive(t, proxy.Counts().Faults[f])
			if want, ok := broken[f]; ok {
				require.ErrorContains(t, err, want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, clean.Logits(), s.Logits())
		})
	}
}

var requests = flag.Int("requests", 1000, "the number of requests of TestManyRequests")

// Many requests through a bad connection: each sample arrives once, and is what it is
// without faults.
func TestManyRequests(t *testing.T) {
	n := *requests
	s := newServer(t, tinkertest.Options{})
	var all []remotetest.Fault
	for _, f := range remotetest.Faults() {
		switch f {
		// Not the faults that nothing can be done about, and those that take time.
		case remotetest.FaultDoom, remotetest.FaultLogProbs, remotetest.FaultRefuse, remotetest.FaultHang, remotetest.FaultTrickle:
		default:
			all = append(all, f)
		}
	}
	c, proxy := faulty(t, s, remotetest.Settings{Rate: 0.1, Faults: all}, patient)
	e, err := tinker.NewEngine(c, letters{}, tinker.EngineConfig{Model: "table", VocabSize: 12, InFlight: 32})
	require.NoError(t, err)
	reqs := make([]rollout.Request, n)
	for i := range reqs {
		reqs[i] = rollout.Request{ID: fmt.Sprint(i), Prompt: []int32{int32(i % 11)}, N: 1, Params: rollout.Params{Temperature: 1, MaxTokens: 2}, Stream: [3]uint64{1, 2, uint64(i)}}
	}
	got := make([]rollout.Completion, n)
	var half, end runtime.MemStats
	count := 0
	err = e.Generate(t.Context(), reqs, func(c rollout.Completion) error {
		got[c.Request] = c
		if count++; count == n/2 {
			runtime.GC()
			runtime.ReadMemStats(&half)
		}
		return nil
	})
	require.NoError(t, err)
	runtime.GC()
	runtime.ReadMemStats(&end)
	require.Equal(t, n, count)
	require.Greater(t, proxy.Counts().Requests, 2*n)
	for i := range got {
		require.NoError(t, got[i].Err)
		require.Len(t, got[i].Tokens, 2)
	}
	// The server's futures and the completions are kept; nothing else grows.
	require.Less(t, int64(end.HeapAlloc)-int64(half.HeapAlloc), int64(16<<20))
}

// Engines are used by several goroutines, and refreshed meanwhile: a call keeps to the
// weights of its beginning.
func TestEngineConcurrently(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	c := newClient(t, s.URL)
	p, e := newPolicy(t, c), newEngine(t, c)
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			for range 5 {
				first := int64(-1)
				err := e.Generate(context.Background(), []rollout.Request{
					{Prompt: []int32{1}, N: 4, Params: rollout.Params{Temperature: 1, MaxTokens: 4}},
					{Prompt: []int32{2}, N: 4, Params: rollout.Params{Temperature: 1, MaxTokens: 4}},
				}, func(c rollout.Completion) error {
					if first < 0 {
						first = c.FirstVersion
					}
					if c.Err != nil || c.FirstVersion != first || c.LastVersion != first {
						return fmt.Errorf("versions %d to %d after %d: %w", c.FirstVersion, c.LastVersion, first, c.Err)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 10 {
		train(t, p)
		w, err := p.Publish(t.Context())
		require.NoError(t, err)
		require.NoError(t, e.Refresh(t.Context(), w))
		again, err := p.Publish(t.Context())
		require.NoError(t, err)
		require.Equal(t, w, again, "what has not changed is not saved again")
	}
	g.Wait()
	train(t, p)
	_, err := p.Publish(t.Context())
	require.NoError(t, err)
	require.Equal(t, 11, s.Count("/save_weights_for_sampler"))
	require.Len(t, s.Saved(), 4, "old ones are deleted that no call samples from")
}
