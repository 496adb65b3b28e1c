//go:build unix

package peers

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/gguf"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
)

var (
	dir   = flag.String("dir", "", "where test/peers/install has put the peers")
	which = flag.String("peers", "", "the peers to run: llama.cpp, vllm, sglang, skyrl, separated by commas")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	fmt.Print(table())
	os.Exit(code)
}

// need skips a test unless its peer is wanted.
func need(t *testing.T, peer string) {
	t.Helper()
	if !slices.Contains(strings.Split(*which, ","), peer) {
		t.Skipf("-peers does not name %s", peer)
	}
	if _, err := os.Stat(filepath.Join(*dir, peer+".installed")); err != nil {
		t.Fatalf("-dir %q: %v; run test/peers/install", *dir, err)
	}
}

// facts are what was measured, as rows of a table.
var facts []struct{ peer, what, value string }

func fact(t *testing.T, peer, what, format string, args ...any) {
	t.Helper()
	value := fmt.Sprintf(format, args...)
	t.Logf("%s: %s: %s", peer, what, value)
	facts = append(facts, struct{ peer, what, value string }{peer, what, value})
}

// table returns the facts with a column for each peer.
func table() string {
	var peers, rows []string
	cells := map[[2]string]string{}
	for _, f := range facts {
		if !slices.Contains(peers, f.peer) {
			peers = append(peers, f.peer)
		}
		if !slices.Contains(rows, f.what) {
			rows = append(rows, f.what)
		}
		cells[[2]string{f.peer, f.what}] = f.value
	}
	if len(peers) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n| | %s |\n|---|%s\n", strings.Join(peers, " | "), strings.Repeat("---|", len(peers)))
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row)
		for _, peer := range peers {
			fmt.Fprintf(&b, " %s |", cells[[2]string{peer, row}])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// world holds the model of examples/cluster with two sets of weights, here and as files.
type world struct {
	backend *cpu.Backend
	cluster string // the program examples/cluster
	tok     *tokenizer.Tokenizer
	eos     []int32
	models  [2]*model.Decoder
	folders [2]string
	prompts [][]int32
}

func newWorld(t *testing.T) *world {
	b, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	root := t.TempDir()
	w := &world{backend: b, cluster: filepath.Join(root, "cluster")}
	tiny := filepath.Join(root, "tiny")
	command(t, "go", "build", "-o", w.cluster, "./examples/cluster")
	command(t, w.cluster, "-tiny", tiny)
	w.tok, err = tokenizer.Load(filepath.Join(tiny, "tokenizer.json"))
	require.NoError(t, err)
	generation, err := model.ReadGeneration(tiny)
	require.NoError(t, err)
	w.eos = generation.EOS
	for i := range w.models {
		w.models[i], err = model.LoadDecoder(b, tiny)
		require.NoError(t, err)
		t.Cleanup(w.models[i].Free)
		Randomize(w.models[i], w.tok, w.eos[0], uint64(i+1))
		w.folders[i] = filepath.Join(root, fmt.Sprintf("weights-%d", i+1))
		require.NoError(t, w.models[i].Export(w.folders[i], model.ExportOptions{TokenizerFrom: tiny, Generation: &generation}))
	}
	for _, text := range []string{"The kettle came back after 7 days.", "Seal broken: "} {
		w.prompts = append(w.prompts, w.tok.Encode(text))
	}
	return w
}

// command runs a program in the repository's root and returns what it printed.
func command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = "../.."
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	require.NoError(t, err, "%v: %s", args, &errors)
	return string(out)
}

// gguf writes a set of weights for llama.cpp.
func (w *world) gguf(t *testing.T, path string, set int) {
	t.Helper()
	require.NoError(t, gguf.Export(path, w.models[set], gguf.Options{
		TokenizerFrom: w.folders[set], Generation: &model.Generation{EOS: w.eos},
	}))
}

// train runs examples/cluster with a configuration: the policy and the engine given, on
// the first set of weights, with a quarter of the data.
func (w *world) train(t *testing.T, name string, policy, engine map[string]any, weights string) {
	t.Helper()
	t.Run("Cluster", func(t *testing.T) {
		config := map[string]any{
			"model": w.folders[0], "policy": policy, "engine": engine, "weights": weights,
			"seed": 1, "prompts": 8, "steps": 10, "warmup": 150, "warmup_lr": 2e-3,
		}
		if policy["kind"] == "tinker" { // adapters alone, and every step takes a second
			config["warmup"], config["warmup_lr"] = 20, 1e-3
		}
		parcels, err := os.ReadFile("../../examples/owntask/parcels.jsonl")
		require.NoError(t, err)
		lines := slices.Collect(strings.Lines(string(parcels)))
		data := filepath.Join(t.TempDir(), "parcels.jsonl")
		require.NoError(t, os.WriteFile(data, []byte(strings.Join(lines[:len(lines)/4], "")), 0o666))
		text, err := json.Marshal(config)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "config.json")
		require.NoError(t, os.WriteFile(path, text, 0o666))
		begun := time.Now()
		folder := filepath.Join(t.TempDir(), "run")
		out := strings.TrimSpace(command(t, w.cluster, "-config", path, "-data", data, "-out", folder))
		t.Log(out)
		var before, after float64
		lines = strings.Split(out, "\n")
		require.Len(t, lines, 2)
		_, err = fmt.Sscanf(lines[0], "before: decision %f", &before)
		require.NoError(t, err)
		_, err = fmt.Sscanf(lines[1], "after 10 training steps: decision %f", &after)
		require.NoError(t, err)
		fact(t, name, fmt.Sprintf("examples/cluster, policy %s: right decisions before and after 10 training steps", policy["kind"]), "%.2f and %.2f, in %.0f s", before, after, time.Since(begun).Seconds())
		f, err := run.Open(folder)
		require.NoError(t, err)
		mismatch := 0.0
		for line, err := range f.Lines("train", run.Metrics) {
			require.NoError(t, err)
			var m map[string]float64
			require.NoError(t, json.Unmarshal(line.Data, &m))
			require.Contains(t, m, "objective/engine_mismatch")
			mismatch = max(mismatch, abs(m["objective/engine_mismatch"]))
		}
		fact(t, name, fmt.Sprintf("… policy %s: largest mismatch of a training step, policy and engine", policy["kind"]), "%.0e", mismatch)
		require.Less(t, mismatch, tolerance)
	})
}

// first returns the distribution of the first token after a prompt, of the first set of
// weights.
func (w *world) first(t *testing.T) func(prompt []int32) []float64 {
	known := map[string][]float64{}
	return func(prompt []int32) []float64 {
		key := fmt.Sprint(prompt)
		if known[key] == nil {
			batch := &rl.Batch{Prompts: [][]int32{prompt}}
			for id := range w.tok.VocabSize() {
				batch.Samples = append(batch.Samples, rl.Sample{Tokens: []int32{int32(id)}})
			}
			for _, p := range logProbs(t, local.NewLogProber(w.models[0], 0), batch) {
				known[key] = append(known[key], math.Exp(p[0]))
			}
		}
		return known[key]
	}
}

func logProbs(t *testing.T, p rl.LogProber, b *rl.Batch) [][]float64 {
	t.Helper()
	dst := make([][]float64, len(b.Samples))
	for i := range dst {
		dst[i] = make([]float64, len(b.Samples[i].Tokens))
	}
	require.NoError(t, p.LogProbs(t.Context(), b, dst))
	return dst
}

// collect samples n completions of both prompts and returns those that were not lost.
func collect(t *testing.T, e rollout.Engine, w *world, stream uint64, n, tokens int) []rollout.Completion {
	t.Helper()
	var reqs []rollout.Request
	for i, p := range w.prompts {
		reqs = append(reqs, rollout.Request{
			ID: fmt.Sprint("prompt ", i), Prompt: p, N: n, Stream: [3]uint64{7, stream, uint64(i)},
			Params: rollout.Params{Temperature: 1, MaxTokens: tokens},
		})
	}
	var got []rollout.Completion
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	require.NoError(t, e.Generate(ctx, reqs, func(c rollout.Completion) error {
		if c.Err != nil {
			t.Logf("lost: %v", c.Err)
			return nil
		}
		got = append(got, c)
		return nil
	}))
	require.NotEmpty(t, got)
	return got
}

// away returns how far the engine's log-probs are from a model's, at most: the largest
// difference of a token's.
func away(t *testing.T, w *world, got []rollout.Completion, p rl.LogProber) (most float64) {
	t.Helper()
	batch := &rl.Batch{Prompts: w.prompts}
	for _, c := range got {
		batch.Samples = append(batch.Samples, rl.Sample{Prompt: c.Request, Tokens: c.Tokens})
	}
	for i, row := range logProbs(t, p, batch) {
		for k, v := range row {
			most = max(most, math.Abs(v-got[i].LogP[k]))
		}
	}
	return most
}
