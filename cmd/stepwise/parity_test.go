package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/cmd/stepwise/internal/parity"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/preset"
	"github.com/stepwise-rl/stepwise/sam"
)

const oneGroup = `{"id":"g","completions":[{"reward":1,"tokens":2},{"reward":0,"tokens":1}]}` + "\n"

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"nonsense"}, {"parity"}, {"parity", "nonsense"}} {
		status, out, errs := stepwise("", args...)
		require.Equal(t, exitUsage, status, args)
		require.Empty(t, out)
		require.Contains(t, errs, "parity")
	}
	for _, args := range [][]string{{"-h"}, {"parity", "-h"}, {"parity", "loss", "-h"}, {"parity", "advantages", "-help"}} {
		status, out, errs := stepwise("", args...)
		require.Zero(t, status, args)
		require.NotEmpty(t, out)
		require.Empty(t, errs)
	}
}

func TestHelp(t *testing.T) {
	for _, command := range []string{"advantages", "loss"} {
		_, help, _ := stepwise("", "parity", command, "-h")
		for _, name := range preset.Names() {
			require.Contains(t, help, name)
		}
		golden := filepath.Join("testdata", command+".help")
		if os.Getenv("UPDATE") != "" {
			require.NoError(t, os.WriteFile(golden, []byte(help), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		require.Equal(t, string(want), help, "run the test with UPDATE=1 if this is meant")
	}
}

// docs/parity-format.md explains every kind and every field that there is.
func TestSettingsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/parity-format.md")
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(doc), "\n## Settings")
	text, _, _ = strings.Cut(text, "\n## ")
	fields := func(of any) {
		for typ, i := reflect.TypeOf(of), 0; i < typ.NumField(); i++ {
			require.Contains(t, text, "`"+typ.Field(i).Tag.Get("json")+"`", of)
		}
	}
	for _, kinds := range []preset.Kinds{advantage.BuiltInKinds(), sam.BuiltInKinds(), objective.BuiltInKinds()} {
		for kind, prototype := range kinds {
			if kind != "terms" { // an array, whose name plays no part
				require.Contains(t, text, "`"+kind+"`")
				fields(prototype)
			}
		}
	}
	fields(preset.Preset{})
	fields(parity.PaddedLength{})
	fields(objective.RewardKL{})
	fields(objective.Rejection{})
	fields(advantage.Combine{})
	fields(advantage.Whitening{})
}

func TestBadSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(file, []byte("\n"+`{"credit":{"kind":"mask","leak":1}}`), 0o644))
	for _, c := range []struct{ command, config, want string }{
		{"advantages", `{"estimator":{"kind":"reinforce"}}`, `estimator.kind: unknown kind "reinforce", want gdpo, group, grpo_batch_std`},
		{"advantages", `{"estimator":{"norm":{"epsilon":"x"}}}`, `estimator.norm.epsilon: want a number`},
		{"advantages", `{"estimator":{"norm":{"epsilon":-1}}}`, "settings: estimator.norm.epsilon is -1, want a finite number of at least 0"},
		{"advantages", `{"estimator":{"kind":"gdpo","fold_shaping":true}}`, "estimator.fold_shaping: unknown field"},
		{"advantages", `{"estimator":{"norm":{"kind":"pass_at_k","k":1}}}`, "estimator.norm.k is 1"},
		{"advantages", `{"reward_kl":{"estimator":"k1","discount":2}}`, "reward_kl.discount is 2"},
		{"advantages", `{"weights":{"a":1,"a":2}}`, "weights.a: want each key once"},
		{"advantages", `{"weights":{"a":"inf"}}`, "weights.a is +Inf"},
		{"advantages", `{"credit":{"kind":"blend","a":{"kind":"mask"},"b":{"kind":"outcome"},"lambda":2}}`, "credit.lambda is 2"},
		{"advantages", file, "credit.leak: unknown field, want sign, leak_positive"},
		{"advantages", "nofile.json", "nofile.json: no such file"},
		{"loss", `{"policy":{"clip_low":0}}`, "policy.clip_low is 0"},
		{"loss", `{"policy":{"kind":"corrected","max":2,"objective":{"kind":"from_rollout","objective":{"kind":"dro"}}}}`, "would be counted twice"},
		{"loss", `{"policy":{"kind":"forward_kl"}}`, "policy: it reads candidates, which the format does not have"},
		{"loss", `{"aggregation":{"kind":"constant"}}`, "aggregation.tokens is 0"},
		{"loss", `{"aggregation":{"kind":"padded_length","masked":"left"}}`, `aggregation.masked: want stay, exclude or exclude_loss, got "left"`},
		{"loss", `{"kl":{"beta":-1}}`, "kl.beta is -1"},
		{"loss", `{"reject":[{"estimator":"k3","unit":"first","max":1}]}`, `reject[0].unit: want token, mean, sum or worst, got "first"`},
		{"loss", `{"reject":[{"estimator":"k1","max":1}]}`, "reject[0].min is 0, want a negative number"},
		{"loss", `{"top_entropy":-0.2}`, "top_entropy is -0.2, want a share of the tokens, or 0 for all"},
		{"loss", `{"kl":null}`, "kl: want an object, got null"},
		{"loss", `{`, "want one JSON value"},
	} {
		status, out, errs := stepwise(oneGroup, "parity", c.command, "-config", c.config)
		require.Equal(t, exitUsage, status, c.config)
		require.Empty(t, out, c.config)
		require.Contains(t, errs, c.want, c.config)
		require.Equal(t, 1, strings.Count(errs, "\n"), "%s: one line, not %q", c.config, errs)
	}
	for args, want := range map[string]string{
		"-preset nonsense": `unknown preset "nonsense", want one of openrlhf`,
		"input.jsonl":      `argument "input.jsonl": the input is read from standard input`,
		"-nonsense":        "not defined: -nonsense",
	} {
		status, _, errs := stepwise(oneGroup, append([]string{"parity", "loss"}, strings.Fields(args)...)...)
		require.Equal(t, exitUsage, status, args)
		require.Contains(t, errs, want)
	}
}

// Weights of rewards that the input does not have are found only with it.
func TestUnknownWeight(t *testing.T) {
	status, out, errs := stepwise(oneGroup, "parity", "advantages", "-config", `{"weights":{"format":2}}`)
	require.Equal(t, exitInput, status)
	require.Empty(t, out)
	require.Contains(t, errs, `weights has "format", but the rewards are named reward`)
}

// What is printed can be given as the configuration, in a file too, and prints
// itself again, whatever the preset.
func TestPrint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.json")
	for _, name := range append(preset.Names(), "") {
		status, text, errs := stepwise("", "parity", "loss", "-preset", name, "-print")
		require.Zero(t, status, errs)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		for _, config := range []string{text, file} {
			_, again, errs := stepwise("", "parity", "advantages", "-preset", "skyrl-0.4.0", "-config", config, "-print")
			require.Equal(t, text, again, errs)
		}
	}
}
