package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// There is a configuration for each pair that goes together, by its name.
func TestConfigurations(t *testing.T) {
	files, err := filepath.Glob("*.json")
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		c, err := readConfig(f)
		require.NoError(t, err)
		name := c.Policy.Kind + "-" + strings.ReplaceAll(c.Engine.Kind, ".", "")
		require.Equal(t, f, name+".json")
		for _, s := range c.Engine.Servers {
			require.Equal(t, c.Engine.Kind, s.Dialect.String())
		}
		names = append(names, name)
	}
	var known []string
	for policy, engines := range pairs {
		for engine := range engines {
			known = append(known, policy+"-"+strings.ReplaceAll(engine, ".", ""))
		}
	}
	require.ElementsMatch(t, known, names)
	require.Len(t, names, 9)
}

// The manifests serve the model of the configurations, by the name that those ask for.
func TestManifests(t *testing.T) {
	skyrl, err := os.ReadFile("k8s/skyrl.yaml")
	require.NoError(t, err)
	vllm, err := os.ReadFile("k8s/vllm.yaml")
	require.NoError(t, err)
	download, err := os.ReadFile("k8s/model.yaml")
	require.NoError(t, err)
	files, err := filepath.Glob("*.json")
	require.NoError(t, err)
	for _, name := range files {
		c, err := readConfig(name)
		require.NoError(t, err)
		if c.Policy.Kind == "tinker" {
			require.Contains(t, string(skyrl), "- --base-model="+c.Policy.Model+"\n", name)
			require.Contains(t, string(skyrl), fmt.Sprintf(`"max_lora_rank":%d,`, c.Policy.Rank), name)
		}
		if name != "local-local.json" {
			require.Contains(t, string(download), "--local-dir="+c.Model+"]", name)
		}
		if c.Engine.Kind == "vllm" {
			require.Contains(t, string(vllm), "- --model="+c.Model+"\n", name)
		}
	}
}

// What does not go together is refused by name, before anything is opened.
func TestConfigurationsThatAreRefused(t *testing.T) {
	for change, want := range map[string]string{
		`{"engine": {"kind": "tinker"}}`:                                                "a local policy with a Tinker engine",
		`{"engine": {"kind": "trt"}}`:                                                   `engine.kind is "trt"`,
		`{"policy": {"kind": "deepspeed"}}`:                                             `policy.kind is "deepspeed"`,
		`{"engine": {"kind": "vllm"}}`:                                                  "weights is missing",
		`{"engine": {"kind": "vllm"}, "weights": "w"}`:                                  "engine.servers is empty",
		`{"policy": {"kind": "tinker"}, "weights": "w"}`:                                "policy.server or policy.rank is missing",
		`{"policy": {"kind": "local", "learning_rate": 0.001}}`:                         "unknown field",
		`{"engine": {"kind": "local", "servers": [{"endpoint": {"url": "http://x"}}]}}`: `got "local"`,
		`{"policy": {"kind": "tinker", "rank": 1, "server": {"endpoint": {"url": "http://x"}, "heartbeat": 30}}}`: "policy.server: settings: heartbeat: want a duration",
	} {
		var config map[string]any
		text, err := os.ReadFile("local-local.json")
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &config))
		require.NoError(t, json.Unmarshal([]byte(change), &config))
		text, err = json.Marshal(config)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "config.json")
		require.NoError(t, os.WriteFile(path, text, 0o666))
		_, err = readConfig(path)
		require.ErrorContains(t, err, want, change)
		require.ErrorContains(t, err, path)
	}
}

// What is wrong with a parcel is said with its number.
func TestReadParcels(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(`{"decision": "money"} {"note": "lamp", "verdict": "money"}`), 0o666))
	_, err := readParcels(path)
	require.EqualError(t, err, path+`: parcel 2: the decision is "", want one of ["nothing" "voucher" "money"]`)
}

// learnt runs a configuration and returns what it writes.
func learnt(t *testing.T, c config, dir string) string {
	t.Helper()
	parcels, err := readParcels("../owntask/parcels.jsonl")
	require.NoError(t, err)
	var out strings.Builder
	require.NoError(t, learn(t.Context(), &out, c, parcels[:40], dir, true, slog.New(slog.DiscardHandler)))
	return out.String()
}

// The whole program runs; the same seed gives the same numbers.
func TestLearn(t *testing.T) {
	c, err := readConfig("local-local.json")
	require.NoError(t, err)
	c.Model = tiny(t)
	c.Warmup, c.Steps, c.Prompts = 20, 2, 4
	out := learnt(t, c, t.TempDir())
	require.Contains(t, out, "after 2 training steps: decision ")
	require.Equal(t, out, learnt(t, c, t.TempDir()))
}

func tiny(t *testing.T) string {
	t.Helper()
	parcels, err := readParcels("../owntask/parcels.jsonl")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, writeTiny(dir, parcels, ""))
	return dir
}

// Package relevance's job takes the configuration's numbers, and refuses what it has no use
// for.
func TestJob(t *testing.T) {
	c, err := readConfig("tinker-vllm.json")
	require.NoError(t, err)
	c.Warmup, c.WarmupLR = 7, 1e-3
	job, err := c.job()
	require.NoError(t, err)
	require.NoError(t, job.Validate())
	require.EqualValues(t, c.Steps, job.Reinforce.Steps)
	require.Equal(t, c.Prompts, job.Reinforce.Prompts)
	require.Equal(t, c.Policy.LR, job.Reinforce.LR)
	require.Equal(t, 7, job.Warmup.Steps)
	require.Equal(t, 1e-3, job.Warmup.LR)
	require.Zero(t, job.Reinforce.MaxNorm)

	c.Async.Staleness = 1
	_, err = c.job()
	require.ErrorContains(t, err, "async is not for -task")
}
