package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model/gguf"
)

func TestBench(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	status, out, errs := stepwise("", "bench", "-quick", "-sections", "gemm,shared", "-json", file)
	require.Contains(t, errs, "gemm NT 64×64×64: ", "progress")
	require.Equal(t, exitOK, status)
	require.Contains(t, out, "FMA peak")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var report map[string]any
	require.NoError(t, json.Unmarshal(text, &report))
	require.NotEmpty(t, report["gemm"])
	require.NotEmpty(t, report["shared"])
	require.Nil(t, report["train"])
}

// What is exported is the decoder that the quick run measures, in both types.
func TestBenchExport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "models")
	status, _, errs := stepwise("", "bench", "-quick", "-export", dir)
	require.Equal(t, exitOK, status, errs)
	for name, want := range map[string]gguf.Type{"tiny.gguf": gguf.F32, "tiny-bf16.gguf": gguf.BF16} {
		require.Contains(t, errs, name)
		f, err := gguf.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		i := slices.IndexFunc(f.Tensors(), func(x gguf.Tensor) bool { return x.Name == "token_embd.weight" })
		require.GreaterOrEqual(t, i, 0)
		require.Equal(t, want, f.Tensors()[i].Type)
		require.EqualValues(t, 32, f.Value("llama.embedding_length"))
		require.NoError(t, f.Close())
	}
}

func TestBenchRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		`unexpected argument "x"`:    {"bench", "x"},
		"-isa neon: want auto or":    {"bench", "-isa", "neon"},
		"flag provided but not defi": {"bench", "-fast"},
	} {
		status, _, errs := stepwise("", args...)
		require.Equal(t, exitUsage, status)
		require.Contains(t, errs, want)
	}
	status, _, errs := stepwise("", "bench", "-sections", "gemm,cooking")
	require.Equal(t, exitInput, status)
	require.Contains(t, errs, `stepwise bench: bench: no section "cooking", only ["gemm" "train" "sample" "shared" "cores"]`)
	for backend, want := range map[string]string{
		"vulkan":     `unknown backend "vulkan"; registered: [cpu cuda opencl reference]`,
		"cpu:1":      `open backend "cpu:1": it has one device`,
		"cuda:first": `device "first", want a number from 0`,
	} {
		status, _, errs := stepwise("", "bench", "-quick", "-backend", backend)
		require.Equal(t, exitInput, status)
		require.Contains(t, errs, want)
	}
	status, out, _ := stepwise("", "bench", "-h")
	require.Zero(t, status)
	require.Contains(t, out, "-sections")
}
