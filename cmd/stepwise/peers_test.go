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

// The settings that reproduce each case; flags come on top of the preset.
var peerCases = []struct {
	preset, peer             string
	kind, name, batch, flags string
	beta                     float64
}{
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "group", batch: "equal"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "group", batch: "ones"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "group", batch: "multi", flags: "-weights b=0.5"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "batch", batch: "equal", flags: "-estimator grpo-batch-std"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "none", batch: "equal", flags: "-estimator dr-grpo"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "rloo", batch: "equal", flags: "-estimator rloo"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "advantages", name: "rloo", batch: "shaped", flags: "-estimator rloo -kl k1 -kl-fold -beta 1", beta: 1},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "grpo", batch: "ragged"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "grpo", batch: "shaped", flags: "-kl k1 -beta 1", beta: 1},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "grpo-no-std", batch: "ragged", flags: "-estimator dr-grpo"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "rloo", batch: "ragged", flags: "-estimator rloo"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "opo", batch: "ragged", flags: "-estimator opo"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "reinforce_plus_plus-gamma-0.9", batch: "ragged", flags: "-estimator reinforce++ -gamma 0.9 -epsilon 1e-8"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "reinforce_plus_plus_baseline", batch: "ragged", flags: "-estimator reinforce++-baseline -epsilon 1e-8"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "advantages", name: "grpo_passk", batch: "pairs", flags: "-estimator pass-at-k -divide-by-std"},
	{preset: "skyrl-0.4.0", peer: "skyrl-0.4.0", kind: "advantages", name: "grpo", batch: "ragged"},
	{preset: "skyrl-0.4.0", peer: "skyrl-0.4.0", kind: "advantages", name: "maxrl", batch: "ragged", flags: "-estimator maxrl -negative-mean"},
	{preset: "openrlhf-0.11.2", peer: "openrlhf-0.11.2", kind: "advantages", name: "group_norm", batch: "equal"},
	{preset: "openrlhf-0.11.2", peer: "openrlhf-0.11.2", kind: "advantages", name: "group_norm", batch: "shaped", flags: "-beta 0.25", beta: .25},
	{preset: "tinker", peer: "tinker", kind: "advantages", name: "centred", batch: "ragged"},

	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-delta", flags: "-delta 3"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-delta-below-high", flags: "-delta 1.1"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-clip-higher", flags: "-clip-high 0.28"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-beta", flags: "-kl k3 -beta 0.04"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-beta-no-correction", flags: "-kl k3 -beta 0.04 -kl-importance=false"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "grpo", flags: "-aggregation seq-mean-token-mean -count-empty"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "grpo-entropy", flags: "-aggregation seq-mean-token-mean -count-empty -entropy-coef 0.01 -kl-aggregation token-mean"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dr_grpo", flags: "-aggregation constant -max-tokens 10 -per-sequence"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "cispo-5", flags: "-objective cispo -bounds absolute -clip-low 0 -clip-high 5"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "sequence-dapo", flags: "-objective gspo -clip-low 0.03 -clip-high 0.04"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-token_truncate-bounds", flags: "-correction token -correction-min 0.75 -correction-max 1.75"},
	{preset: "trl-1.16", peer: "trl-1.16.0", kind: "loss", name: "dapo-sequence_mask-bounds", flags: "-correction sequence -correction-outside drop -correction-min 0.75 -correction-max 1.75"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "vanilla"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "vanilla", batch: "far"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "vanilla-seq-mean-token-sum-norm-global", flags: "-aggregation constant -max-tokens 10 -per-sequence"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "vanilla-token-tis", flags: "-correction token -correction-clamp 20"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "gspo", flags: "-objective gspo-token -clip-low 0.03 -clip-high 0.04 -log-ratio-max 10 -aggregation seq-mean-token-mean -length-epsilon 1e-8"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "cispo", flags: "-objective cispo"},
	{preset: "verl-0.9.1", peer: "verl-0.9.1", kind: "loss", name: "dppo_tv", flags: "-objective dppo -clip-high 0.15 -max-weight 3"},
	{preset: "skyrl-0.4.0", peer: "skyrl-0.4.0", kind: "loss", name: "regular-kl"},
	{preset: "skyrl-0.4.0", peer: "skyrl-0.4.0", kind: "loss", name: "regular-prompt_mean", flags: "-kl none -aggregation prompt-mean"},
	{preset: "skyrl-0.4.0", peer: "skyrl-0.4.0", kind: "loss", name: "dual_clip", flags: "-kl none -objective dual-clip"},
	{preset: "openrlhf-0.11.2", peer: "openrlhf-0.11.2", kind: "loss", name: "ppo"},
	{preset: "openrlhf-0.11.2", peer: "openrlhf-0.11.2", kind: "loss", name: "ppo-dual-clip", flags: "-objective dual-clip"},
	{preset: "openrlhf-0.11.2", peer: "openrlhf-0.11.2", kind: "loss", name: "ppo-kl-entropy", flags: "-kl k3 -beta 0.01 -entropy-coef 0.01"},
	{preset: "tinker", peer: "tinker", kind: "loss", name: "importance_sampling", flags: "-from-rollout=false"},
	{preset: "tinker", peer: "tinker", kind: "loss", name: "ppo", flags: "-objective ppo -from-rollout=false"},
}

// Every preset, through the program, against what its release returned itself.
func TestPeers(t *testing.T) {
	batches, losses := peerInputs(t)
	seen := map[string]bool{}
	for _, c := range peerCases {
		seen[c.preset] = true
		t.Run(c.peer+"/"+c.kind+"/"+c.name+"/"+c.batch, func(t *testing.T) {
			advCases, lossCases := readPeer(t, c.peer)
			args := append([]string{"parity", c.kind, "-preset", c.preset}, strings.Fields(c.flags)...)
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
