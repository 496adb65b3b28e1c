package tinker_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// sameCall says whether a request is the recorded one but for names and numbers that
// are a client's choice.
func sameCall(a, b *remotetest.Exchange) bool {
	if a.Method != b.Method || a.Path != b.Path {
		// A checkpoint's name is random.
		return a.Method == "DELETE" && b.Method == "DELETE" && strings.Contains(a.Path, "/weights/")
	}
	if b.RequestType == "application/x-protobuf" {
		x, err := wire.ParseForwardBackward(a.Request)
		y, err2 := wire.ParseForwardBackward(b.Request)
		if err != nil || err2 != nil {
			return false
		}
		for _, r := range []*wire.ForwardBackward{x, y} {
			r.SeqID = 0
			for i := range r.Data {
				slices.SortFunc(r.Data[i].Inputs, func(a, b wire.Tensor) int { return strings.Compare(a.Name, b.Name) })
			}
		}
		return reflect.DeepEqual(x, y)
	}
	var x, y map[string]any
	_ = json.Unmarshal(a.Request, &x)
	_ = json.Unmarshal(b.Request, &y)
	for _, chosen := range []string{"user_metadata", "seq_id", "sampling_session_seq_id", "model_path", "prompt_logprobs"} {
		delete(x, chosen)
	}
	if strings.Contains(a.Path, "/save_weights") {
		delete(x, "path")
	}
	return subset(x, y)
}

// subset says whether y has all that x has, whatever the seeds.
func subset(x, y any) bool {
	m, ok := x.(map[string]any)
	if !ok {
		return reflect.DeepEqual(x, y)
	}
	n, _ := y.(map[string]any)
	for k, v := range m {
		if k != "seed" && !subset(v, n[k]) {
			return false
		}
	}
	return true
}

// withoutOtherLosses leaves out the optimiser steps on losses that the client does not
// use: four exchanges each, pass and step and their results.
func withoutOtherLosses(all []remotetest.Exchange) (out []remotetest.Exchange) {
	for i := 0; i < len(all); i++ {
		r, err := wire.ParseForwardBackward(all[i].Request)
		if err == nil && !r.ForwardOnly && i+1 < len(all) && strings.HasSuffix(all[i+1].Path, "/optim_step") &&
			(r.LossFn != "importance_sampling" || len(r.Data[0].Inputs) > 3) {
			i += 3
			continue
		}
		out = append(out, all[i])
	}
	return out
}

// The client drives recorded sessions with SkyRL 0.4.0: what it sends is what was sent
// then, and the server's numbers come out.
func TestRecording(t *testing.T) {
	f, err := os.Open("../remotetest/testdata/tinker.jsonl")
	require.NoError(t, err)
	defer f.Close()
	exchanges, err := remotetest.ReadRecording("tinker.jsonl", f)
	require.NoError(t, err)
	replay := remotetest.NewReplay(withoutOtherLosses(exchanges))
	replay.Match = sameCall
	server := httptest.NewServer(replay)
	t.Cleanup(server.Close)
	c := newClient(t, server.URL)
	config := tinker.PolicyConfig{Model: "models/qwen3-tiny", LoRA: tinker.LoRA{Rank: 8, Seed: 1}, Scaling: tinker.ScalingMean}

	_, err = tinker.NewPolicy(t.Context(), c, config)
	require.EqualError(t, err, `tinker: create_model: the server says "Maximum number of LoRA adapters (4) reached"`)

	p, err := tinker.NewPolicy(t.Context(), c, config)
	require.NoError(t, err)
	full := []int32{68, 262, 36, 101, 10, 82, 12, 66, 29}
	batch := func(weights ...float64) *rl.Batch {
		return &rl.Batch{Prompts: [][]int32{full[:9-len(weights)]}, Samples: []rl.Sample{{Tokens: full[9-len(weights):], Sequence: objective.Sequence{Weight: weights}}}}
	}
	logp := []float64{-6.291574478149414, -3.8743088245391846, -7.078597068786621, -6.54648494720459, -6.642691135406494, -4.540315628051758, -5.12625789642334, -6.349327087402344}
	for _, step := range []struct {
		weights []float64
		norm    float64
	}{
		// The recorded advantages are these by the 8 targets of one sequence.
		{[]float64{.125, .125, .125, .125, .125, .125, .125, .125}, 14.077339172363281},
		{[]float64{.125, .125}, 6.610538959503174},
		{[]float64{1, 1, 1, 1, 1, 1, 1, 1}, 112.61871337890625},
		{[]float64{.125, -.125, .125, -.125, .125, -.125, .125, -.125}, 13.214482307434082},
	} {
		b := batch(step.weights...)
		loss, _, err := p.ForwardBackward(t.Context(), b, objective.CrossEntropy{})
		require.NoError(t, err)
		want := 0.0
		for k, w := range step.weights {
			want -= w * logp[8-len(step.weights)+k]
		}
		require.InDelta(t, want, loss, 1e-12)
		info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 0})
		require.NoError(t, err)
		require.Equal(t, step.norm, info.GradNorm)
	}

	p, err = tinker.NewPolicy(t.Context(), c, config)
	require.NoError(t, err)
	dst := [][]float64{make([]float64, 8)}
	require.NoError(t, p.LogProbs(t.Context(), batch(make([]float64, 8)...), dst))
	require.Equal(t, logp, dst[0])
	ref, err := p.Save(t.Context(), "ck1")
	require.NoError(t, err)
	require.Equal(t, "tinker://model_d642938a/weights/ck1#0", ref)
	w, err := p.Publish(t.Context())
	require.NoError(t, err)
	require.Equal(t, rollout.Weights{Ref: "tinker://model_d642938a/s1"}, w)

	e, err := tinker.NewEngine(c, letters{}, tinker.EngineConfig{Model: "models/qwen3-tiny", VocabSize: 264})
	require.NoError(t, err)
	require.NoError(t, e.Refresh(t.Context(), w))
	for temperature, want := range map[float64]rollout.Completion{
		1: {Index: 1, Tokens: []int32{254, 36, 12, 49}, LogP: []float64{-4.968355178833008, -4.111820697784424, -2.5845260620117188, -4.957494258880615}},
		0: {Index: 1, Tokens: []int32{12, 12, 12, 12}, LogP: []float64{-2.489689826965332, -2.6746082305908203, -2.9627485275268555, -2.9697635173797607}},
	} {
		var got rollout.Completion
		err = e.Generate(t.Context(), []rollout.Request{{Prompt: full[:5], N: 2, Params: rollout.Params{Temperature: temperature, MaxTokens: 4}}}, func(c rollout.Completion) error {
			got = c
			return c.Err
		})
		require.NoError(t, err)
		require.Equal(t, want.Tokens, got.Tokens)
		require.Equal(t, want.LogP, got.LogP)
		require.Equal(t, want.LogP, got.LogPUnit)
		require.Equal(t, rollout.FinishLength, got.Finish)
	}

	require.NoError(t, p.Load(t.Context(), ref))
	require.NoError(t, p.LogProbs(t.Context(), batch(make([]float64, 8)...), dst))
	require.Equal(t, logp, dst[0], "those of before")
	require.Empty(t, replay.Unknown())
}
