//go:build unix

package peers

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/openai"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Settings of the training that TestAsync measures and simulates. Lengths are
// log-normal.
const (
	asyncServers, asyncSlots = 2, 4
	asyncPrompts, asyncGroup = 80, 2
	asyncMedian, asyncSigma  = 180, 0.6
	asyncLongest             = 400
	asyncUpdate              = time.Second
	asyncWarm, asyncSteps    = 2, 10
)

// paced is a policy whose updates take a fixed time, and no processor, so that they
// take nothing from the servers. It publishes the two sets of weights in turn.
type paced struct {
	publish func(version int64) rollout.Weights
	version int64
}

func (p *paced) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error { return ctx.Err() }

func (p *paced) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (float64, objective.Metrics, error) {
	select {
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	case <-time.After(asyncUpdate):
	}
	b.Prepare(o.Needs())
	return 0, objective.Metrics{}, nil
}

func (p *paced) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	p.version++
	return rl.OptimInfo{Version: p.version}, ctx.Err()
}
func (p *paced) Save(context.Context, string) (string, error) { return "", nil }
func (p *paced) Load(context.Context, string) error           { return nil }
func (p *paced) Publish(ctx context.Context) (rollout.Weights, error) {
	return p.publish(p.version), ctx.Err()
}

// A training with two llama.cpp servers takes as long as the simulator says. The servers
// need the processors for themselves: other work beside them makes their speed vary.
func TestAsync(t *testing.T) {
	need(t, "llama.cpp")
	w := newWorld(t)
	Randomize(w.models[0], w.tok, -1, 1) // no end of text, so that MaxTokens is every sample's length
	Randomize(w.models[1], w.tok, -1, 2)
	models := t.TempDir()
	w.gguf(t, filepath.Join(models, "start.gguf"), 0)
	var servers []openai.Server
	for range asyncServers {
		s := startLlamaCPP(t, "--models-dir", models, "--models-max", "2")
		servers = append(servers, openai.Server{Endpoint: remote.Endpoint{URL: s.url}, Dialect: openai.DialectLlamaCPP, Model: "start"})
	}
	r := rand.New(rand.NewPCG(1, 1))
	var problems []rl.Problem
	tokens := 0
	for i := range 20 * asyncPrompts {
		n := min(max(int(asyncMedian*math.Exp(asyncSigma*r.NormFloat64())), 1), asyncLongest)
		tokens += n * asyncGroup
		q := rollout.Request{ID: fmt.Sprint(i), Prompt: w.prompts[i%2], N: asyncGroup, Params: rollout.Params{Temperature: 1, MaxTokens: n}}
		problems = append(problems, rl.NewProblem(q, func(_ context.Context, c *rollout.Completion) (float64, error) { return float64(c.Index), nil }))
	}
	perStep := float64(tokens) / 20

	n := 0
	measure := func(a rl.Async) (step time.Duration, busy, rate, refresh float64) {
		e, err := openai.New(t.Context(), openai.Config{Servers: servers, Vocab: w.tok, EOS: w.eos})
		require.NoError(t, err)
		defer e.Close()
		trainer, err := rl.NewTrainer(rl.Config{
			Policy: &paced{publish: func(version int64) rollout.Weights {
				n++
				path := filepath.Join(models, fmt.Sprintf("policy-%d.gguf", n))
				w.gguf(t, path, n%2)
				return rollout.Weights{Version: version, Form: rollout.FormGGUF, Ref: path}
			}},
			Engine: e, Source: &rl.SliceSource{Problems: problems}, Async: a,
			Objective: objective.Corrected{Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}, Max: 2},
			Batching:  rl.Batching{Prompts: asyncPrompts}, LR: rl.Constant{LR: 1},
		})
		require.NoError(t, err)
		defer trainer.Stop()
		for range asyncWarm {
			_, err := trainer.Step(t.Context())
			require.NoError(t, err)
		}
		e.Metrics()
		begun := time.Now()
		for range asyncSteps {
			_, err := trainer.Step(t.Context())
			require.NoError(t, err)
		}
		took, m := time.Since(begun), e.Metrics()
		require.Zero(t, m["engine/lost"])
		return took / asyncSteps, m["engine/busy"], m["engine/tokens_per_second"], m["engine/refresh_seconds"] / asyncSteps
	}
	// How long a token takes with all slots in use: from the turns, while all sample.
	e, err := openai.New(t.Context(), openai.Config{Servers: servers, Vocab: w.tok, EOS: w.eos})
	require.NoError(t, err)
	var reqs []rollout.Request
	for range 16 {
		reqs = append(reqs, rollout.Request{Prompt: w.prompts[0], N: asyncServers * asyncSlots, Params: rollout.Params{Temperature: 1, MaxTokens: 250}})
	}
	begun := time.Now()
	require.NoError(t, e.Generate(t.Context(), reqs, func(c rollout.Completion) error { return c.Err }))
	token := time.Since(begun) / (16 * 250)
	e.Close()

	for _, a := range []rl.Async{{}, {Staleness: 1}} {
		step, busy, rate, refresh := measure(a)
		t.Logf("staleness %d: %.2f s per training step of %.0f tokens, slots %.0f%% busy, %.0f tokens/s, a refresh takes %.2f s; a token took %v",
			a.Staleness, step.Seconds(), perStep, 100*busy, rate, refresh, token)
		out := command(t, "go", "test", "./rl/internal/simulate", "-run", "Table", "-v", "-args", "-table",
			"-servers", fmt.Sprint(asyncServers), "-slots", fmt.Sprint(asyncSlots), "-median", fmt.Sprint(asyncMedian), "-sigma", fmt.Sprint(asyncSigma),
			"-longest", fmt.Sprint(asyncLongest), "-token", token.String(), "-fail", "0", "-refresh", fmt.Sprintf("%.3fs", refresh),
			"-update", asyncUpdate.String(), "-staleness", fmt.Sprint(a.Staleness), "-group", fmt.Sprint(asyncGroup), "-prompts", fmt.Sprint(asyncPrompts))
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "|") {
				t.Log("simulated: " + strings.TrimSpace(line))
			}
		}
	}
}
