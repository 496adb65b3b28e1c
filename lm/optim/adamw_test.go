package optim_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// golden is testdata/adamw.json, made by testdata/adamw.py.
type golden struct {
	Beta1, Beta2, Eps float64
	WeightDecay       float64 `json:"weight_decay"`
	MaxNorm           float64 `json:"max_norm"`
	Shapes            map[string][]int
	Start             map[string][]float32
	Steps             []struct {
		LR, Norm float64
		Grads    map[string][]float32
		Params   map[string][]float64
	}
}

// each is a backend that updates one tensor at a time.
type each struct{ tensor.Backend }

func TestAdamWGolden(t *testing.T) {
	for _, c := range []struct {
		name    string
		backend tensor.Backend
		tol     float64
	}{
		{"float64", reference.New64(), 1e-7}, // the norm is read in float32
		{"float32", reference.New(), 2e-6},
		{"asynchronous", backendtest.NewAsync(reference.New()), 2e-6},
		{"no tensor.Updater", each{reference.New()}, 2e-6},
	} {
		t.Run(c.name, func(t *testing.T) { checkGolden(t, c.backend, c.tol) })
	}
}

func checkGolden(t *testing.T, b tensor.Backend, tol float64) {
	text, err := os.ReadFile("testdata/adamw.json")
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(text, &g))
	require.Len(t, g.Steps, 12)

	var params []*tensor.Param
	for _, name := range []string{"matrix", "bias", "scalar"} {
		p := newParam(b, name, g.Shapes[name]...)
		p.NoDecay = name == "bias"
		b.Write(p.Value, g.Start[name])
		params = append(params, p)
	}
	opt, err := optim.NewAdamW(b, params, optim.Config{
		Beta1: g.Beta1, Beta2: g.Beta2, Eps: g.Eps, WeightDecay: g.WeightDecay,
	})
	require.NoError(t, err)
	defer opt.Free()
	for i, step := range g.Steps {
		for _, p := range params {
			b.Write(p.Grad, step.Grads[p.Name])
		}
		info, err := opt.Step(step.LR, g.MaxNorm)
		require.NoError(t, err)
		assert.InEpsilon(t, step.Norm, info.GradNorm, tol)
		assert.False(t, info.Skipped)
		for _, p := range params {
			for j, got := range read(t, b, p.Value) {
				want := step.Params[p.Name][j]
				require.InDelta(t, want, got, tol*max(1, math.Abs(want)), "step %d, %s[%d]", i, p.Name, j)
			}
		}
	}
}

func newParam(b tensor.Backend, name string, shape ...int) *tensor.Param {
	p := &tensor.Param{Name: name, Shape: shape}
	p.Value, p.Grad = b.Alloc(p.Len()), b.Alloc(p.Len())
	return p
}

func read(t *testing.T, b tensor.Backend, buf tensor.Buffer) []float32 {
	t.Helper()
	x := make([]float32, buf.Len())
	require.NoError(t, b.Read(x, buf))
	return x
}

// normal returns n standard normal values.
func normal(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// TestClosedForm: with both betas 0 a step is −lr·g/(|g|+ε) after the decay.
func TestClosedForm(t *testing.T) {
	b := reference.New64()
	p := newParam(b, "p", 2)
	b.Write(p.Value, []float32{1, -1})
	b.Write(p.Grad, []float32{3, -4})
	opt, err := optim.NewAdamW(b, []*tensor.Param{p}, optim.Config{Eps: 1, WeightDecay: 0.5})
	require.NoError(t, err)
	info, err := opt.Step(0.25, 0)
	require.NoError(t, err)
	assert.Equal(t, optim.Info{GradNorm: 5}, info)
	assert.Equal(t, []float32{1*0.875 - 0.25*3/4, -1*0.875 + 0.25*4/5}, read(t, b, p.Value))
	assert.Equal(t, []float32{3, -4}, read(t, b, p.Grad), "Step leaves the gradient")
	opt.ZeroGrad()
	assert.Equal(t, []float32{0, 0}, read(t, b, p.Grad))
}

func TestFrozenParam(t *testing.T) {
	b := reference.New()
	frozen := newParam(b, "frozen", 1)
	frozen.Grad = nil
	b.Write(frozen.Value, []float32{1})
	opt, err := optim.NewAdamW(b, []*tensor.Param{frozen, newParam(b, "live", 1)}, optim.DefaultConfig())
	require.NoError(t, err)
	_, err = opt.Step(1, 0)
	require.NoError(t, err)
	assert.Equal(t, []float32{1}, read(t, b, frozen.Value))
	state, err := opt.Export()
	require.NoError(t, err)
	assert.Len(t, state.Moments, 1)
}

func TestNonFiniteGradientIsSkipped(t *testing.T) {
	for i, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.NaN(), math.Inf(1)} {
		var b tensor.Backend = reference.New()
		if i > 2 {
			b = each{b}
		}
		p, q := newParam(b, "p", 2), newParam(b, "q", 1)
		opt, err := optim.NewAdamW(b, []*tensor.Param{p, q}, optim.DefaultConfig())
		require.NoError(t, err)
		b.Write(p.Value, []float32{1, 2})
		b.Fill(q.Grad, 1)
		before, err := opt.Export()
		require.NoError(t, err)

		b.Write(p.Grad, []float32{1, float32(bad)})
		info, err := opt.Step(0.1, 1)
		require.NoError(t, err)
		assert.True(t, info.Skipped)
		assert.False(t, info.GradNorm <= math.MaxFloat64)
		assert.Equal(t, []float32{1, 2}, read(t, b, p.Value))
		after, err := opt.Export()
		require.NoError(t, err)
		assert.Equal(t, before, after)
	}
}

// TestResume: a new optimiser that imports the state continues bit for bit.
func TestResume(t *testing.T) {
	const steps, resumeAt = 6, 3
	run := func(b tensor.Backend, resume bool) []float32 {
		rng := rand.New(rand.NewPCG(3, 4))
		p, q := newParam(b, "p", 4, 3), newParam(b, "q", 3)
		b.Write(p.Value, normal(rng, 12))
		opt, err := optim.NewAdamW(b, []*tensor.Param{p, q}, optim.DefaultConfig())
		require.NoError(t, err)
		for step := range steps {
			if resume && step == resumeAt {
				state, err := opt.Export()
				require.NoError(t, err)
				opt.Free()
				state.Moments[0], state.Moments[1] = state.Moments[1], state.Moments[0]
				opt, err = optim.NewAdamW(b, []*tensor.Param{p, q}, optim.DefaultConfig())
				require.NoError(t, err)
				require.NoError(t, opt.Import(state))
			}
			b.Write(p.Grad, normal(rng, 12))
			b.Write(q.Grad, normal(rng, 3))
			_, err := opt.Step(0.01, 1)
			require.NoError(t, err)
		}
		return append(read(t, b, p.Value), read(t, b, q.Value)...)
	}
	for _, open := range []func() tensor.Backend{
		func() tensor.Backend { return reference.New() },
		func() tensor.Backend { return each{reference.New()} },
		func() tensor.Backend { return backendtest.NewAsync(reference.New()) },
	} {
		assert.Equal(t, run(open(), false), run(open(), true))
	}
}

func TestImportErrors(t *testing.T) {
	b := reference.New()
	params := []*tensor.Param{newParam(b, "p", 2), newParam(b, "q", 1)}
	opt, err := optim.NewAdamW(b, params, optim.DefaultConfig())
	require.NoError(t, err)
	p := optim.Moments{Name: "p", First: []float32{1, 1}, Second: []float32{1, 1}}
	q := optim.Moments{Name: "q", First: []float32{1}, Second: []float32{1}}
	r := optim.Moments{Name: "r"}
	for want, state := range map[string]optim.State{
		"lacks parameter q":               {Moments: []optim.Moments{p}},
		"state of 3 parameters, want 2":   {Moments: []optim.Moments{p, q, r}},
		"p twice":                         {Moments: []optim.Moments{p, p}},
		"state of q has 2 and 2 elements": {Moments: []optim.Moments{p, {Name: "q", First: p.First, Second: p.Second}}},
		"-1 steps":                        {Steps: -1, Moments: []optim.Moments{p, q}},
	} {
		assert.ErrorContains(t, opt.Import(state), want)
	}
	state, err := opt.Export()
	require.NoError(t, err)
	assert.Equal(t, []float32{0, 0}, state.Moments[0].First, "a failed Import changes nothing")
}

func TestBackendErrors(t *testing.T) {
	boom := errors.New("boom")
	// A step is a Norm, an UpdateAll and a Read; Export of one parameter is two
	// Reads.
	for operation := range 3 {
		b := backendtest.NewAsync(reference.New())
		opt, err := optim.NewAdamW(b, []*tensor.Param{newParam(b, "p", 2)}, optim.DefaultConfig())
		require.NoError(t, err)
		b.FailAfter(operation, boom)
		_, err = opt.Step(0.1, 1)
		require.ErrorIs(t, err, boom, "operation %d", operation)
	}
	for operation := range 2 {
		b := backendtest.NewAsync(reference.New())
		opt, err := optim.NewAdamW(b, []*tensor.Param{newParam(b, "p", 2)}, optim.DefaultConfig())
		require.NoError(t, err)
		b.FailAfter(operation, boom)
		_, err = opt.Export()
		require.ErrorIs(t, err, boom, "operation %d", operation)
	}
}

func TestBadSettings(t *testing.T) {
	b := reference.New()
	p := newParam(b, "p", 1)
	for field, change := range map[string]func(c *optim.Config){
		"Beta1":       func(c *optim.Config) { c.Beta1 = 1 },
		"Beta2":       func(c *optim.Config) { c.Beta2 = math.NaN() },
		"Eps":         func(c *optim.Config) { c.Eps = 0 },
		"WeightDecay": func(c *optim.Config) { c.WeightDecay = -1 },
	} {
		c := optim.DefaultConfig()
		change(&c)
		_, err := optim.NewAdamW(b, []*tensor.Param{p}, c)
		assert.ErrorContains(t, err, field)
	}
	opt, err := optim.NewAdamW(b, []*tensor.Param{p}, optim.DefaultConfig())
	require.NoError(t, err)
	for _, lr := range []float64{-1, math.NaN(), math.Inf(1)} {
		_, err = opt.Step(lr, 1)
		assert.ErrorContains(t, err, "learning rate")
	}
	_, err = opt.Step(1, math.NaN())
	assert.ErrorContains(t, err, "norm")
	assert.Panics(t, func() { _, _ = optim.NewAdamW(b, []*tensor.Param{p, p}, optim.DefaultConfig()) })
	p.Shape = []int{2}
	assert.Panics(t, func() { _, _ = optim.NewAdamW(b, []*tensor.Param{p}, optim.DefaultConfig()) })
}
