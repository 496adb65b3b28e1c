package model_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// backends are the backends that the goldens are checked on, with the relative
// difference allowed. Transformers itself computes norms and rotations in
// float32.
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

// golden is the output of testdata/golden.py for a checkpoint.
type golden struct {
	IDs, Types [][]int32
	Labels     []int
	LogP       [][]float64
	Loss       float64
	Steps      []float64

	tensors *safetensors.Reader
}

func readGolden(t *testing.T, dir string) *golden {
	t.Helper()
	g := &golden{}
	text, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, g))
	g.tensors, err = safetensors.Open(filepath.Join(dir, "golden.safetensors"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.tensors.Close()) })
	return g
}

func (g *golden) tensor(t *testing.T, name string) []float32 {
	t.Helper()
	info, ok := g.tensors.Lookup(name)
	require.True(t, ok, name)
	v := make([]float32, info.Len())
	require.NoError(t, g.tensors.Read(v, name, 0))
	return v
}

// checkTraining checks the gradients that a backward pass left, and ten steps
// of AdamW, the loss before each being what step returns.
func (g *golden) checkTraining(t *testing.T, b tensor.Backend, params []*tensor.Param, tol float64, step func() float64) {
	t.Helper()
	read := func(buf tensor.Buffer) []float32 {
		v := make([]float32, buf.Len())
		require.NoError(t, b.Read(v, buf))
		return v
	}
	grads := 0
	for _, info := range g.tensors.Tensors() {
		if strings.HasPrefix(info.Name, "grad.") {
			grads++
		}
	}
	require.Equal(t, grads, len(params), "a gradient for every parameter")
	largest := float32(0)
	for _, p := range params {
		for _, v := range g.tensor(t, "grad."+p.Name) {
			largest = max(largest, v, -v)
		}
	}
	for _, p := range params {
		want := g.tensor(t, "grad."+p.Name)
		if isKeyBias(p) {
			require.InDeltaSlice(t, want, read(p.Grad), tol*float64(largest), p.Name)
			continue
		}
		requireClose(t, want, read(p.Grad), tol, "grad."+p.Name)
	}

	opt, err := optim.NewAdamW(b, params, optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-6, WeightDecay: 0.1})
	require.NoError(t, err)
	defer opt.Free()
	for i, want := range g.Steps {
		opt.ZeroGrad()
		require.InEpsilon(t, want, step(), 1e-4, "loss before step %d", i)
		_, err := opt.Step(0.01, 0)
		require.NoError(t, err)
	}
	for _, p := range params {
		if !isKeyBias(p) {
			requireClose(t, g.tensor(t, "after."+p.Name), read(p.Value), 1e-3, "after."+p.Name)
		}
	}
}

// isKeyBias reports whether p shifts all scores of a query alike. Its gradient is
// then 0 up to rounding, and AdamW turns that into whole steps.
func isKeyBias(p *tensor.Param) bool { return strings.HasSuffix(p.Name, "self.key.bias") }

func TestDecodersAgreeWithTransformers(t *testing.T) {
	for _, name := range []string{"llama", "llama-linear", "llama-dynamic", "llama3", "smollm", "mistral", "qwen2", "qwen3"} {
		for backend, c := range backends {
			t.Run(name+"/"+backend, func(t *testing.T) {
				checkDecoder(t, filepath.Join("testdata", name), c.open(), c.tol)
			})
		}
	}
}

func checkDecoder(t *testing.T, dir string, b tensor.Backend, tol float64) {
	g := readGolden(t, dir)
	d, err := model.LoadDecoder(b, dir)
	require.NoError(t, err)
	p, tg := packAll(g.IDs)
	for i, ids := range g.IDs {
		s := p.Segments[i]
		var rows []int32
		for row := s.Start; row < s.End; row++ {
			rows = append(rows, int32(row))
		}
		logits := make([]float32, len(ids)*d.Config().Vocab)
		require.NoError(t, d.Logits(p, rows, logits))
		name := fmt.Sprintf("logits.%d", i)
		requireClose(t, g.tensor(t, name), logits, tol, name)
	}

	loss, logp := meanLoss(t, d, p, tg)
	require.InEpsilon(t, g.Loss, loss, tol)
	require.InDeltaSlice(t, slices.Concat(g.LogP...), logp, 1e-5, "log-probs")
	g.checkTraining(t, b, d.Params(), tol, func() float64 {
		loss, _ := meanLoss(t, d, p, tg)
		return loss
	})
}

func TestEncodersAgreeWithTransformers(t *testing.T) {
	for _, name := range []string{"bert", "bert-mlm"} {
		for backend, c := range backends {
			t.Run(name+"/"+backend, func(t *testing.T) {
				checkEncoder(t, filepath.Join("testdata", name), c.open(), c.tol)
			})
		}
	}
}

func checkEncoder(t *testing.T, dir string, b tensor.Backend, tol float64) {
	const classes = 3
	g := readGolden(t, dir)
	e, err := model.PretrainedEncoder(b, dir, classes, 1)
	require.NoError(t, err)
	require.Equal(t, model.BERTStyle, e.Config().Style)
	score := e.Params()[len(e.Params())-2:] // weight and bias
	b.Write(score[0].Value, g.tensor(t, "head.weight"))
	b.Write(score[1].Value, g.tensor(t, "head.bias"))
	p := g.pack()
	p.Types = slices.Concat(g.Types...)
	g.checkStates(t, e, p, tol)
	g.checkLogits(t, b, e, p, tol)
}

// pack returns the sequences.
func (g *golden) pack() *model.Pack {
	p := &model.Pack{}
	for _, ids := range g.IDs {
		p.Add(ids, -1)
	}
	return p
}

// checkStates compares the pooled states of a pack.
func (g *golden) checkStates(t *testing.T, e *model.Encoder, p *model.Pack, tol float64) {
	dim := e.Config().Dim
	states := make([]float32, len(g.IDs)*dim)
	require.NoError(t, e.Embed(p, states))
	for i := range g.IDs {
		name := fmt.Sprintf("states.%d", i)
		requireClose(t, g.tensor(t, name), states[i*dim:(i+1)*dim], tol, name)
	}
}

// crossEntropy returns the mean over the labels, and its gradient.
func crossEntropy(logits []float32, labels []int) (loss float64, dlogits []float32) {
	n, classes := float64(len(labels)), len(logits)/len(labels)
	dlogits = make([]float32, len(logits))
	for i, label := range labels {
		z := logits[i*classes : (i+1)*classes]
		sum := 0.0
		for _, v := range z {
			sum += math.Exp(float64(v))
		}
		loss += (math.Log(sum) - float64(z[label])) / n
		for c, v := range z {
			dlogits[i*classes+c] = float32(math.Exp(float64(v)) / sum / n)
		}
		dlogits[i*classes+label] -= float32(1 / n)
	}
	return loss, dlogits
}
