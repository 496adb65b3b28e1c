package model_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/model"
	"github.com/stepwise-rl/stepwise/model/safetensors"
	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/tensor/cpu"
	"github.com/stepwise-rl/stepwise/tensor/reference"
)

// backends are what the goldens are checked on, with the relative difference
// allowed. Transformers itself takes norms and rotations in float32.
var backends = map[string]struct {
	open func() tensor.Backend
	tol  float64
}{
	"reference":    {func() tensor.Backend { return reference.New() }, 1e-5},
	"reference64":  {func() tensor.Backend { return reference.New64() }, 1e-6},
	"asynchronous": {func() tensor.Backend { return backendtest.NewAsync(reference.New()) }, 1e-5},
	"cpu":          {openCPU, 1e-5},
}

func openCPU() tensor.Backend {
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		panic(err)
	}
	return b
}

// packAll packs whole sequences and targets every token but each first.
func packAll(sequences [][]int32) (*model.Pack, *model.Targets) {
	var p model.Pack
	var tg model.Targets
	for _, ids := range sequences {
		start := p.Rows()
		p.Add(ids, -1)
		target(&tg, ids[1:], start, start+1)
	}
	return &p, &tg
}

// meanLoss runs forward and backward of the mean negative log-prob.
func meanLoss(t *testing.T, d *model.Decoder, p *model.Pack, tg *model.Targets) (loss float64, logp []float32) {
	n := len(tg.IDs)
	logp, dlogp := make([]float32, n), make([]float32, n)
	require.NoError(t, d.Forward(p, tg, logp, nil))
	for i, v := range logp {
		loss -= float64(v) / float64(n)
		dlogp[i] = -1 / float32(n)
	}
	require.NoError(t, d.Backward(dlogp, nil))
	return loss, logp
}

// requireClose compares slices, with differences relative to the largest
// element of want.
func requireClose(t *testing.T, want, got []float32, tol float64, what string) {
	t.Helper()
	scale := 0.0
	for _, v := range want {
		scale = max(scale, math.Abs(float64(v)))
	}
	require.InDeltaSlice(t, want, got, tol*scale, what)
}

func TestDecoderAgreesWithTransformers(t *testing.T) {
	for _, name := range []string{"llama", "qwen2", "qwen3"} {
		for backend, c := range backends {
			t.Run(name+"/"+backend, func(t *testing.T) {
				checkGolden(t, filepath.Join("testdata", name), c.open(), c.tol)
			})
		}
	}
}

func checkGolden(t *testing.T, dir string, b tensor.Backend, tol float64) {
	var golden struct {
		IDs  [][]int32
		LogP [][]float64
		Loss float64
	}
	text, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &golden))
	r, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
	require.NoError(t, err)
	defer r.Close()
	want := func(name string) []float32 {
		info, ok := r.Lookup(name)
		require.True(t, ok, name)
		v := make([]float32, info.Len())
		require.NoError(t, r.Read(v, name, 0))
		return v
	}

	d, err := model.LoadDecoder(b, dir)
	require.NoError(t, err)
	p, tg := packAll(golden.IDs)
	for i, ids := range golden.IDs {
		s := p.Segments[i]
		var rows []int32
		for row := s.Start; row < s.End; row++ {
			rows = append(rows, int32(row))
		}
		logits := make([]float32, len(ids)*d.Config().Vocab)
		require.NoError(t, d.Logits(p, rows, logits))
		name := "logits." + string(rune('0'+i))
		requireClose(t, want(name), logits, tol, name)
	}

	loss, logp := meanLoss(t, d, p, tg)
	require.InEpsilon(t, golden.Loss, loss, tol)
	at := 0
	for _, sequence := range golden.LogP {
		for _, v := range sequence {
			require.InDelta(t, v, logp[at], tol*10, "log-prob %d", at)
			at++
		}
	}
	require.Equal(t, len(r.Tensors())-len(golden.IDs), len(d.Params()), "a gradient for every parameter")
	for i, g := range gradients(t, d) {
		name := "grad." + d.Params()[i].Name
		requireClose(t, want(name), g, tol, name)
	}
}
