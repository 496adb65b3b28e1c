package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/preset"
)

const (
	oneGroup = `{"id":"g","completions":[{"reward":1,"tokens":2},{"reward":0,"tokens":1}]}` + "\n"
	oneStep  = `{"id":"b","logp":[[-1]],"old":[[-1]],"advantages":[[1]],"mask":[[true]]}` + "\n"
)

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

// -h explains every option and choice with its default, and every preset.
func TestHelp(t *testing.T) {
	for command, s := range map[string]*schema{"advantages": advantagesSchema, "loss": lossSchema} {
		_, help, _ := stepwise("", "parity", command, "-h")
		for _, o := range s.options {
			_, entry, found := strings.Cut(help, "\n  -"+strings.TrimSpace(o.name+" "+kindNames[o.kind])+"\n")
			require.True(t, found, o.name)
			entry, _, _ = strings.Cut(entry, "\n  -")
			require.Contains(t, entry, "default ", o.name)
			require.NotEmpty(t, s.defaults(o.name), "%s is listed nowhere", o.name)
			for _, c := range o.choices {
				require.Contains(t, entry, "\n    \t  "+c.name+" ", o.name)
			}
		}
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

// Every list of options names options that exist and defaults that they may
// have; an option is listed once at least and reachable.
func TestSchemas(t *testing.T) {
	for _, s := range []*schema{advantagesSchema, lossSchema} {
		for i := range s.options {
			o := &s.options[i]
			listed := 0
			s.each(o.name, func(_ *option, _, def string) {
				listed++
				if o.kind != weightsKind {
					require.NoError(t, o.check(def), o.name)
				}
			})
			require.Positive(t, listed, o.name)
		}
	}
}

// Every option is accepted, with every choice, where it applies, and refused
// where it does not.
func TestEveryFlag(t *testing.T) {
	for command, s := range map[string]*schema{"advantages": advantagesSchema, "loss": lossSchema} {
		for i := range s.options {
			o := &s.options[i]
			values := o.names()
			switch o.kind {
			case numberKind, countKind:
				values = []string{"2"}
				if o.name == "gamma" || o.name == "lambda" || o.name == "kl-discount" {
					values = []string{"0.5"}
				}
				if o.name == "correction-min" || o.name == "clip-low" {
					values = []string{"0.25"}
				}
			case onOffKind:
				values = []string{"true", "false"}
			case weightsKind:
				values = []string{"reward=2"}
			}
			for _, value := range values {
				args := append(settingsFor(s, o), "-"+o.name+"="+value)
				if o.name == "kl-importance-max" {
					args = append(args, "-kl-straight-through")
				}
				v, err := s.parse("", "", nil, args, nil)
				require.NoError(t, err, args)
				require.Equal(t, value, v.text(o.name))
				if command == "loss" {
					_, err = lossConfig(v)
				} else {
					_, err = advantageConfig(v)
				}
				require.NoError(t, err, args)
			}
			if conditions := s.conditions(o.name); len(conditions) > 0 && !appliesByDefault(s, o) {
				status, _, errs := stepwise("", "parity", command, "-"+o.name+"="+values[0])
				require.Equal(t, exitUsage, status, o.name)
				require.Contains(t, errs, "-"+o.name+" does not apply here; it does with "+conditions[0])
			}
		}
	}
}

// settingsFor are the flags that make an option apply.
func settingsFor(s *schema, o *option) []string {
	var args []string
	found := false
	s.each(o.name, func(parent *option, value, _ string) {
		if found {
			return
		}
		found = true
		if parent != nil {
			args = append(settingsFor(s, parent), "-"+parent.name+"="+value)
		}
	})
	return args
}

func appliesByDefault(s *schema, o *option) bool {
	v, err := s.parse("", "", nil, nil, nil)
	if err != nil {
		panic(err)
	}
	_, ok := v.defaults[o.name]
	return ok
}

func TestBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"advantages -gamma 0.9":                                           "-gamma does not apply here; it does with -estimator reinforce++, reinforce++-baseline",
		"advantages -estimator reinforce":                                 "want one of grpo, grpo-batch-std, dr-grpo",
		"advantages -epsilon x":                                           "want a number",
		"advantages -epsilon NaN":                                         "want a number",
		"advantages -epsilon -1":                                          "-epsilon is -1, want a finite number of at least 0",
		"advantages -epsilon inf":                                         "want a finite number",
		"advantages -estimator reinforce++ -gamma 0":                      "-gamma is 0, want",
		"advantages -estimator pass-at-k -k 1":                            "-k is 1, want 0 (the whole group) or at least 2",
		"advantages -estimator pass-at-k -k -1":                           "want an integer of at least 0",
		"advantages -estimator pass-at-k -epsilon 1":                      "-epsilon does not apply here",
		"advantages -credit mask -rescale 0.5":                            "-rescale is 0.5, want 0 or a bound of at least 1",
		"advantages -credit mask -step-norm rloo":                         "-step-norm does not apply here",
		"advantages -credit blend -lambda 2":                              "-lambda is 2, want a number from 0 to 1",
		"advantages -beta 1":                                              "-beta does not apply here; it does with -kl k1, k2, k3, abs",
		"advantages -kl k1 -kl-discount 2":                                "Discount is 2",
		"advantages -kl k1 -kl-fold -estimator gdpo":                      "-kl-fold does not apply to -estimator gdpo",
		"advantages -weights a=1,a=2":                                     "want name=number",
		"advantages -weights a":                                           "want name=number",
		"advantages -weights a=inf":                                       "want name=number",
		"advantages -preset nonsense":                                     "unknown preset",
		"advantages -nonsense":                                            "not defined: -nonsense",
		"advantages input.jsonl":                                          `argument "input.jsonl": the input is read from standard input`,
		"advantages -denominator leave-loss":                              "want one of stay, leave",
		"loss -clip-low 0":                                                "PPO.ClipLow and ClipHigh are 0",
		"loss -objective cross-entropy -clip-low 1":                       "-clip-low does not apply here",
		"loss -delta 0.5":                                                 "-delta is 0.5, want more than 1",
		"loss -objective dual-clip -dual-clip 0":                          "-dual-clip is 0, want more than 1",
		"loss -correction token -from-rollout":                            "want one of them",
		"loss -aggregation token-mean -max-tokens 4":                      "-max-tokens does not apply here; it does with -aggregation constant",
		"loss -aggregation constant -max-tokens -4":                       "-max-tokens is -4",
		"loss -kl k3 -beta -1":                                            "Beta is -1",
		"loss -kl k3 -count-empty":                                        "-count-empty does not apply here",
		"loss -objective cispo -clip-low 0.3 -log-ratio-max 1":            "-log-ratio-max does not apply here",
		"loss -preset trl-1.16 -objective dppo -delta 2":                  "-delta does not apply here",
		"loss -objective cispo -bounds absolute -clip-low 2 -clip-high 1": "CISPO.Low and High are 2 and 1",
	} {
		status, out, errs := stepwise(oneGroup, append([]string{"parity"}, strings.Fields(args)...)...)
		require.Equal(t, exitUsage, status, args)
		require.Empty(t, out, args)
		require.Contains(t, errs, want, args)
		require.Equal(t, 1, strings.Count(errs, "\n"), "%s: one line, not %q", args, errs)
	}
}

// Weights of rewards that the input does not have are found only with it.
func TestUnknownWeight(t *testing.T) {
	status, out, errs := stepwise(oneGroup, "parity", "advantages", "-weights", "format=2")
	require.Equal(t, exitInput, status)
	require.Empty(t, out)
	require.Contains(t, errs, `-weights has "format", but the rewards of the input are named reward`)
}

// A preset as settings and back is the preset.
func TestPresetsRoundTrip(t *testing.T) {
	for _, name := range preset.Names() {
		p, err := preset.Get(name)
		require.NoError(t, err)

		v, err := advantagesSchema.parse("", "", advantagesPreset, []string{"-preset", name}, nil)
		require.NoError(t, err)
		ac, err := advantageConfig(v)
		require.NoError(t, err)
		require.Equal(t, p.RewardKL, ac.RewardKL)
		_, off, _ := stepwise(oneGroup, "parity", "advantages", "-preset", name, "-kl", "none")
		require.Contains(t, off, `"id":"g"`)

		v, err = lossSchema.parse("", "", lossPreset, []string{"-preset", name}, nil)
		require.NoError(t, err)
		lc, err := lossConfig(v)
		require.NoError(t, err)
		require.Equal(t, p.Aggregation, lc.Aggregation)
		require.Equal(t, p.Objective().Needs(), lc.Objective.Needs())
	}
}

func TestFlagsBeforePreset(t *testing.T) {
	v, err := lossSchema.parse("", "", lossPreset, []string{"-clip-high=0.3", "-preset=verl-0.9.1"}, nil)
	require.NoError(t, err)
	require.Equal(t, "0.3", v.text("clip-high"))
	require.Equal(t, "0.2", v.text("clip-low"))
	require.Equal(t, "3", v.text("dual-clip"))
	require.Equal(t, "dual-clip", v.text("objective"))
}
