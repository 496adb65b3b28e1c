package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/preset"
)

// golden is a case of testdata/peers: what a pinned release's own functions
// returned.
type golden struct {
	Name, Dtype, Batch, Adv string
	Advantages              [][]float64
	Loss                    float64
	Grad                    [][]float64
	EntropyGrad             [][]float64 `json:"entropy_grad"`
}

func readPeer(t *testing.T, name string) (advantages, losses []golden) {
	t.Helper()
	data, err := os.ReadFile("../../testdata/peers/golden/" + name + ".json")
	require.NoError(t, err)
	var all struct{ Advantages, Losses []golden }
	require.NoError(t, json.Unmarshal(data, &all))
	return all.Advantages, all.Losses
}

// peerInputs are the batches that the releases were run on.
func peerInputs(t *testing.T) (advantages map[string]advantageBatch, losses map[string]map[string]any) {
	t.Helper()
	data, err := os.ReadFile("../../testdata/peers/inputs.json")
	require.NoError(t, err)
	var all struct {
		Advantages map[string]advantageBatch
		Losses     map[string]map[string]any
	}
	require.NoError(t, json.Unmarshal(data, &all))
	return all.Advantages, all.Losses
}

type advantageBatch struct {
	Rewards [][]any
	Tokens  [][]int
	Shaping [][][]float64
}

// lines writes the batch as input, with log-probs whose k1 penalty times beta
// is the batch's shaping.
func (b advantageBatch) lines(t *testing.T, beta float64) string {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	for g := range b.Rewards {
		var cs []map[string]any
		for i, r := range b.Rewards[g] {
			if named, ok := r.([]any); ok {
				r = map[string]any{"a": named[0], "b": named[1]}
			}
			n := b.Tokens[g][i]
			logp, ref := make([]float64, n), make([]float64, n)
			for k := range logp {
				if b.Shaping != nil {
					logp[k] = -b.Shaping[g][i][k] / beta
				}
			}
			cs = append(cs, map[string]any{"reward": r, "tokens": n, "logp": logp, "ref": ref})
		}
		require.NoError(t, enc.Encode(map[string]any{"id": fmt.Sprint(g), "completions": cs}))
	}
	return out.String()
}

// The settings that reproduce each case, laid over the preset.
var peerCases = []struct {
	preset, peer              string
	kind, name, batch, config string
	beta                      float64
}{
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "group", batch: "equal"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "group", batch: "ones"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "group", batch: "multi", config: `{"weights":{"b":0.5}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "batch", batch: "equal", config: `{"estimator":{"kind":"grpo_batch_std","epsilon":1e-4}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "none", batch: "equal", config: `{"estimator":{"norm":{"kind":"dr_grpo"}}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "rloo", batch: "equal", config: `{"estimator":{"norm":{"kind":"rloo"}}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "rloo", batch: "shaped", config: `{"estimator":{"norm":{"kind":"rloo"},"combine":{"fold_shaping":true}},"reward_kl":{"estimator":"k1","beta":1}}`, beta: 1},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "grpo", batch: "ragged"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "grpo", batch: "shaped", config: `{"reward_kl":{"estimator":"k1","beta":1}}`, beta: 1},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "grpo-no-std", batch: "ragged", config: `{"estimator":{"norm":{"kind":"dr_grpo","singleton":"raw"}}}`},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "rloo", batch: "ragged", config: `{"estimator":{"norm":{"kind":"rloo","singleton":"raw"}}}`},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "opo", batch: "ragged", config: `{"estimator":{"kind":"opo","singleton":"raw"}}`},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "reinforce_plus_plus-gamma-0.9", batch: "ragged", config: `{"estimator":{"kind":"reinforce_pp","gamma":0.9,"whitening":{"epsilon":1e-8}}}`},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "reinforce_plus_plus_baseline", batch: "ragged", config: `{"estimator":{"kind":"reinforce_pp_baseline","singleton":"raw","whitening":{"epsilon":1e-8}}}`},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "grpo_passk", batch: "pairs", config: `{"estimator":{"norm":{"kind":"pass_at_k","divide_by_std":true,"epsilon":1e-6}}}`},
	{preset: "skyrl-0.4.0", peer: "skyrl-0.4.0", kind: "advantages", name: "grpo", batch: "ragged"},
	{preset: "skyrl-0.4.0", peer: "skyrl-0.4.0", kind: "advantages", name: "maxrl", batch: "ragged", config: `{"estimator":{"norm":{"kind":"maxrl","negative_mean":true,"epsilon":1e-6,"singleton":"raw"}}}`},
	{preset: "openrlhf-0.11.2", peer: "openrlhf-0.11.2", kind: "advantages", name: "group_norm", batch: "equal"},
	{preset: "openrlhf-0.11.2", peer: "openrlhf-0.11.2", kind: "advantages", name: "group_norm", batch: "shaped", config: `{"reward_kl":{"beta":0.25}}`, beta: .25},
	{preset: "tinker", peer: "tinker", kind: "advantages", name: "centred", batch: "ragged"},

	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-delta", config: `{"policy":{"dual_clip":3}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-delta-below-high", config: `{"policy":{"clip_high":0.1,"dual_clip":1.2}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-clip-higher", config: `{"policy":{"clip_high":0.28}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-beta", config: `{"kl":{"beta":0.04}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-beta-no-correction", config: `{"kl":{"beta":0.04,"importance":false}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "grpo", config: `{"aggregation":{"kind":"seq_mean_token_mean","count_empty":true}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "grpo-entropy", config: `{"policy":[{"kind":"ppo","clip_low":0.2,"clip_high":0.2},{"kind":"entropy_bonus","coef":0.01}],"aggregation":{"kind":"split","loss":{"kind":"seq_mean_token_mean","count_empty":true},"regularizer":{"kind":"token_mean"}}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dr_grpo", config: `{"aggregation":{"kind":"constant","tokens":10,"per_sequence":true}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "cispo-5", config: `{"policy":{"kind":"cispo","high":5}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "sequence-dapo", config: `{"policy":{"kind":"gspo","clip_low":0.03,"clip_high":0.04}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-token_truncate-bounds", config: `{"policy":{"kind":"corrected","min":0.75,"max":1.75,"objective":{"kind":"ppo","clip_low":0.2,"clip_high":0.2}}}`},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-sequence_mask-bounds", config: `{"policy":{"kind":"corrected","level":"sequence","outside":"drop","min":0.75,"max":1.75,"objective":{"kind":"ppo","clip_low":0.2,"clip_high":0.2}}}`},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "vanilla"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "vanilla", batch: "far"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "vanilla-seq-mean-token-sum-norm-global", config: `{"aggregation":{"kind":"constant","tokens":10,"per_sequence":true}}`},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "vanilla-token-tis", config: `{"policy":{"kind":"corrected","max":2,"log_ratio_clamp":20,"objective":{"kind":"ppo","clip_low":0.2,"clip_high":0.2,"dual_clip":3,"log_ratio_clamp":20}}}`},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "gspo", config: `{"policy":{"kind":"gspo_token","clip_low":0.03,"clip_high":0.04,"log_ratio_max":10},"aggregation":{"kind":"seq_mean_token_mean","epsilon":1e-8}}`},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "cispo", config: `{"policy":{"kind":"cispo","low":0.8,"high":1.2,"log_ratio_clamp":20}}`},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "dppo_tv", config: `{"policy":{"kind":"dppo","low":0.2,"high":0.15,"max_weight":3,"log_ratio_clamp":20}}`},
	{preset: "skyrl-0.4.0", peer: "skyrl-0.4.0", kind: "loss", name: "regular-kl"},
	{preset: "skyrl-0.4.0", peer: "skyrl-0.4.0", kind: "loss", name: "regular-prompt_mean", config: `{"kl":{"beta":0},"aggregation":{"kind":"prompt_mean","count_empty":true}}`},
	{preset: "skyrl-0.4.0", peer: "skyrl-0.4.0", kind: "loss", name: "dual_clip", config: `{"kl":{"beta":0},"policy":{"dual_clip":3}}`},
	{preset: "openrlhf-0.11.2", peer: "openrlhf-0.11.2", kind: "loss", name: "ppo"},
	{preset: "openrlhf-0.11.2", peer: "openrlhf-0.11.2", kind: "loss", name: "ppo-dual-clip", config: `{"policy":{"dual_clip":3}}`},
	{preset: "openrlhf-0.11.2", peer: "openrlhf-0.11.2", kind: "loss", name: "ppo-kl-entropy", config: `{"kl":{"beta":0.01},"policy":[{"kind":"ppo","clip_low":0.2,"clip_high":0.2,"log_ratio_clamp":20},{"kind":"entropy_bonus","coef":0.01}]}`},
	{preset: "tinker", peer: "tinker", kind: "loss", name: "importance_sampling", config: `{"policy":{"kind":"importance_sampling"}}`},
	{preset: "tinker", peer: "tinker", kind: "loss", name: "ppo", config: `{"policy":{"kind":"ppo","clip_low":0.2,"clip_high":0.2}}`},
}

// Every preset, through the program, against what its release returned itself.
func TestPeers(t *testing.T) {
	batches, losses := peerInputs(t)
	seen := map[string]bool{}
	for _, c := range peerCases {
		seen[c.preset] = true
		t.Run(c.peer+"/"+c.kind+"/"+c.name+"/"+c.batch, func(t *testing.T) {
			advCases, lossCases := readPeer(t, c.peer)
			args := []string{"parity", c.kind, "-preset", c.preset, "-config", c.config}
			if c.kind == "advantages" {
				want := find(t, advCases, c.name, c.batch)
				status, out, errs := stepwise(batches[c.batch].lines(t, c.beta), args...)
				require.Zero(t, status, errs)
				var got [][]float64
				for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
					var line struct{ Advantages [][]float64 }
					require.NoError(t, dec.Decode(&line))
					got = append(got, line.Advantages...)
				}
				near(t, want.Dtype, want.Advantages, got)
				return
			}
			if c.batch == "" {
				c.batch = "step"
			}
			want := find(t, lossCases, c.name, c.batch)
			in := stepLine(t, losses[c.batch], want.Adv)
			status, out, errs := stepwise(in, args...)
			require.Zero(t, status, errs)
			var got struct {
				Loss        float64
				Grad        [][]float64
				EntropyGrad [][]float64 `json:"entropy_grad"`
			}
			require.NoError(t, json.Unmarshal([]byte(out), &got))
			near(t, want.Dtype, [][]float64{{want.Loss}}, [][]float64{{got.Loss}})
			near(t, want.Dtype, want.Grad, got.Grad)
			if want.EntropyGrad != nil {
				near(t, want.Dtype, want.EntropyGrad, got.EntropyGrad)
			}
		})
	}
	for _, name := range preset.Names() {
		require.True(t, seen[name], "no case for preset %s", name)
	}
}

func find(t *testing.T, cases []golden, name, batch string) golden {
	t.Helper()
	for _, c := range cases {
		if c.Name == name && c.Batch == batch {
			return c
		}
	}
	t.Fatalf("no golden case %s on %s", name, batch)
	return golden{}
}

// stepLine writes a batch of losses as a line of input. Advantages per
// sequence are spread over its tokens.
func stepLine(t *testing.T, b map[string]any, adv string) string {
	line := map[string]any{"id": "b"}
	for _, k := range []string{"logp", "old", "ref", "rollout", "entropy", "mask", "prompt"} {
		line[k] = b[k]
	}
	var rows []any
	for i, a := range b[adv].([]any) {
		if row, ok := a.([]any); ok {
			rows = append(rows, row)
			continue
		}
		row := make([]any, len(b["logp"].([]any)[i].([]any)))
		for k := range row {
			row[k] = a
		}
		rows = append(rows, row)
	}
	line["advantages"] = rows
	text, err := json.Marshal(line)
	require.NoError(t, err)
	return string(text)
}

// near compares to 1e-6 relative where the peer computes in float64, and to
// 1e-5 in float32.
func near(t *testing.T, dtype string, want, got [][]float64) {
	t.Helper()
	tol := 1e-6
	if dtype == "float32" {
		tol = 1e-5
	}
	require.Len(t, got, len(want))
	for i := range want {
		require.Len(t, got[i], len(want[i]))
		for k, w := range want[i] {
			require.InDelta(t, w, got[i][k], tol*max(1e-3, abs(w)), "[%d][%d]", i, k)
		}
	}
}

func abs(x float64) float64 { return max(x, -x) }
