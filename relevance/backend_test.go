package relevance

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cuda"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/opencl"
)

var onBackend = flag.String("backend", "", "a `BACKEND`, such as opencl, on which TestRunOnABackend trains")

// held counts the backends of the kind "counted" that are open.
var held atomic.Int64

// counted is the CPU's backend as one that must be closed.
type counted struct{ *cpu.Backend }

func (counted) Close() error {
	held.Add(-1)
	return nil
}

func init() {
	tensor.Register("counted", func(tensor.Options) (tensor.Backend, error) {
		held.Add(1)
		b, err := tensor.Open("cpu")
		if err != nil {
			return nil, err
		}
		return counted{b.(*cpu.Backend)}, nil
	})
}

// Who opens a backend closes it: a run when it ends, a scorer with its Close, and both
// when they fail.
func TestBackendsAreClosed(t *testing.T) {
	c := toySettings()
	c.Backend = "counted"
	dir := filepath.Join(t.TempDir(), "run")
	for _, form := range []StudentForm{FormCrossEncoder, FormBiEncoder, FormDecoder} {
		c.Student.Form, c.Reinforce.Steps, c.Warmup.Steps = form, 0, 60
		run := filepath.Join(dir, string(form))
		_, err := Train(t.Context(), toy(100), c, run, Options{})
		require.NoError(t, err)
		require.Zero(t, held.Load(), form)
		for _, folder := range []string{PolicyFolder, StudentFolder} {
			s, err := Open(t.Context(), filepath.Join(run, folder), toy(100), "counted")
			require.NoError(t, err)
			require.EqualValues(t, 1, held.Load())
			require.NoError(t, s.Close())
			require.Zero(t, held.Load(), folder)

			require.NoError(t, os.Remove(filepath.Join(run, folder, "model.safetensors")))
			_, err = Open(t.Context(), filepath.Join(run, folder), toy(100), "counted")
			require.Error(t, err)
			require.Zero(t, held.Load(), "%s without weights", folder)
		}
		_, err = Train(t.Context(), toy(100), c, run, Options{}) // the folder is there
		require.Error(t, err)
		require.Zero(t, held.Load())
	}
	s, err := OpenReranker("../lm/local/testdata/qwen3-reranker", RerankerOptions{Backend: "counted"})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Zero(t, held.Load())
	_, err = OpenReranker("../lm/local/testdata/qwen3-reranker", RerankerOptions{Backend: "counted", MaxTokens: 3})
	require.Error(t, err)
	require.Zero(t, held.Load())
}

// A run on another backend, with both reinforcement stages and the student, has the
// losses and gradients of one on the CPU: it samples the same tokens and takes the same
// steps.
func TestRunOnABackend(t *testing.T) {
	if *onBackend == "" {
		t.Skip("use -backend")
	}
	dirs := map[string]string{}
	for _, name := range []string{"cpu", *onBackend} {
		c := toySettings()
		c.Backend = name
		dirs[name] = filepath.Join(t.TempDir(), "run")
		_, err := Train(t.Context(), toy(100), c, dirs[name], Options{})
		require.NoError(t, err)
	}
	_, want, _ := withoutTimes(t, dirs["cpu"])
	_, got, _ := withoutTimes(t, dirs[*onBackend])
	require.Len(t, got.Metrics, len(want.Metrics))
	worst, live := map[string]float64{}, map[string]float64{}
	for i, m := range want.Metrics {
		for _, name := range []string{"loss", "grad_norm"} {
			worst[m.Stage] = max(worst[m.Stage], math.Abs(m.Values[name]-got.Metrics[i].Values[name]))
		}
		live[m.Stage] += m.Values["group/live"]
	}
	for stage, w := range worst {
		t.Logf("%s: largest difference in a loss or a gradient's norm %.1e", stage, w)
		require.LessOrEqual(t, w, 1e-5, stage)
	}
	require.Len(t, worst, 4)
	require.NotZero(t, live["rl-outcome"]*live["rl-mask"], "there is something to reinforce")
}
