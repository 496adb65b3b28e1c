package parity_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/cmd/stepwise/internal/parity"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// seed adds the input lines of the golden vectors of a command.
func seed(f *testing.F, command string) {
	data, err := os.ReadFile("../../../../testdata/parity/vectors.json")
	require.NoError(f, err)
	var all []struct {
		Command string
		In      []json.RawMessage
	}
	require.NoError(f, json.Unmarshal(data, &all))
	for _, v := range all {
		if v.Command == command {
			for _, line := range v.In {
				f.Add([]byte(line))
			}
		}
	}
}

// Whatever a line holds, it is refused with its number or answered with valid
// JSON, and what is accepted is JSON.
func FuzzReadGroup(f *testing.F) {
	seed(f, "advantages")
	f.Fuzz(func(t *testing.T, line []byte) {
		g, err := parity.ReadGroup(line, 7, 0)
		if err != nil {
			requireNumber(t, err)
			return
		}
		require.True(t, json.Valid(line))
		tokens := 0
		for i := range g.Completions {
			tokens += len(g.Completions[i].Tokens)
		}
		if tokens > 1<<12 {
			return
		}
		out, err := advantages(string(line), nil)
		if err == nil && len(out) > 0 {
			require.True(t, json.Valid([]byte(out)), out)
		}
	})
}

func FuzzReadStep(f *testing.F) {
	seed(f, "loss")
	o := objective.Terms{objective.PPO{ClipLow: .2, ClipHigh: .2}, objective.KL{Estimator: objective.K3, Beta: .1}, objective.EntropyBonus{Coef: .1}}
	f.Fuzz(func(t *testing.T, line []byte) {
		if _, err := parity.ReadStep(line, 7); err != nil {
			requireNumber(t, err)
			return
		}
		require.True(t, json.Valid(line))
		out, err := loss(strings.ReplaceAll(string(line), "\n", " "), o, objective.PromptMean{})
		var le *parity.LineError
		if !errors.As(err, &le) {
			require.NoError(t, err)
			require.True(t, json.Valid([]byte(out)), out)
		}
	})
}

func requireNumber(t *testing.T, err error) {
	var le *parity.LineError
	require.ErrorAs(t, err, &le)
	require.Equal(t, 7, le.Line)
}
