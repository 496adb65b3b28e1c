package local_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
)

func TestLogitsDoNotDependOnTheMicroBatch(t *testing.T) {
	var alone [][]float64
	one := newStudent(t, reference.New(), 3, 0)
	for _, in := range inputs {
		alone = append(alone, logits(t, one, [][]int32{in}, false)...)
	}
	for _, maxRows := range []int{0, 1, 8, 15, 14} {
		for _, train := range []bool{false, true} {
			s := newStudent(t, backendtest.NewAsync(reference.New()), 3, maxRows)
			near(t, alone, logits(t, s, inputs, train), 1e-6)
		}
	}
	require.Empty(t, logits(t, one, nil, true))
	require.NoError(t, one.Backward(t.Context(), nil))
}

// The probabilities of texts are the softmax of the logits of their tokens.
func TestProbs(t *testing.T) {
	s := newStudent(t, reference.New(), 3, 0)
	encode := func(text string) (ids []int32) {
		for _, b := range []byte(text) {
			ids = append(ids, int32(b-'a'))
		}
		return ids
	}
	probs, err := s.Probs(t.Context(), encode, "abc", "cb")
	require.NoError(t, err)
	for i, z := range logits(t, s, [][]int32{{0, 1, 2}, {2, 1}}, false) {
		sum := math.Exp(z[0]) + math.Exp(z[1]) + math.Exp(z[2])
		for c := range z {
			require.InDelta(t, math.Exp(z[c])/sum, probs[i][c], 1e-12)
		}
	}
	_, err = s.Probs(t.Context(), encode, "a", "")
	require.ErrorContains(t, err, "input 1 is empty")
}

// TestStudentGradientMatchesCentralDifferences checks the gradient of
// Σ slope·logit with respect to every parameter, with the encoder in float64.
// The logits are read in float32, which bounds the precision.
func TestStudentGradientMatchesCentralDifferences(t *testing.T) {
	for name, maxRows := range map[string]int{"one micro-batch": 0, "recomputed": 8} {
		t.Run(name, func(t *testing.T) {
			b := reference.New64()
			s := newStudent(t, b, 3, maxRows)
			rng := rand.New(rand.NewPCG(7, 8))
			for _, p := range s.Encoder().Params() { // values of order one, for a smooth loss
				v := make([]float64, p.Len())
				for i := range v {
					v[i] = 0.5 * rng.NormFloat64()
				}
				b.Write64(p.Value, v)
			}
			d := slopes(len(inputs))
			loss := func() float64 {
				sum := 0.0
				for i, row := range logits(t, s, inputs, false) {
					for c, z := range row {
						sum += d[i][c] * z
					}
				}
				return sum
			}
			logits(t, s, inputs, true)
			require.NoError(t, s.Backward(t.Context(), d))
			const h = 1e-2
			checked := 0
			for _, p := range s.Encoder().Params() {
				value, grad := make([]float64, p.Len()), make([]float64, p.Len())
				require.NoError(t, b.Read64(value, p.Value))
				require.NoError(t, b.Read64(grad, p.Grad))
				for i := 0; i < len(value); i += 3 {
					at := func(x float64) float64 {
						old := value[i]
						value[i] += x
						b.Write64(p.Value, value)
						value[i] = old
						return loss()
					}
					slope := (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
					require.InDelta(t, slope, grad[i], 2e-4*max(1, math.Abs(slope)), "%s[%d]", p.Name, i)
					checked++
				}
				b.Write64(p.Value, value)
			}
			require.Greater(t, checked, 150)
		})
	}
}

// grads returns the accumulated gradient.
func grads(t *testing.T, s *local.Student) []float32 {
	t.Helper()
	var all []float32
	for _, p := range s.Encoder().Params() {
		g := make([]float32, p.Len())
		require.NoError(t, s.Encoder().Backend().Read(g, p.Grad))
		all = append(all, g...)
	}
	return all
}

func close32(t *testing.T, want, got []float32) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.InDelta(t, want[i], got[i], 1e-5*max(1, math.Abs(float64(want[i]))))
	}
}

func TestStudentGradientDoesNotDependOnTheMicroBatch(t *testing.T) {
	d := slopes(len(inputs))
	whole := newStudent(t, reference.New(), 3, 0)
	logits(t, whole, inputs, true)
	require.NoError(t, whole.Backward(t.Context(), d))
	want := grads(t, whole)

	micro := newStudent(t, backendtest.NewAsync(reference.New()), 3, 8)
	logits(t, micro, inputs, true)
	require.NoError(t, micro.Backward(t.Context(), d))
	close32(t, want, grads(t, micro))

	parts := newStudent(t, reference.New(), 3, 0)
	for _, part := range [][2]int{{0, 4}, {4, 6}} {
		logits(t, parts, inputs[part[0]:part[1]], true)
		require.NoError(t, parts.Backward(t.Context(), d[part[0]:part[1]]))
	}
	close32(t, want, grads(t, parts))

	between := newStudent(t, reference.New(), 3, 0)
	logits(t, between, inputs, true)
	logits(t, between, inputs[2:], false)
	require.NoError(t, between.Backward(t.Context(), d))
	require.Equal(t, want, grads(t, between), "an inference call between the two")
}

// A student learns whether there is a 1 among the tokens.
func TestStudentLearns(t *testing.T) {
	var examples []distill.Example
	rng := rand.New(rand.NewPCG(5, 6))
	for range 64 {
		e := distill.Example{Label: 0}
		for range 1 + rng.IntN(tinyEncoder.MaxSeq) {
			id := rng.Int32N(4)
			if id == 1 {
				e.Label = 2
			}
			e.Input = append(e.Input, id)
		}
		examples = append(examples, e)
	}
	s := newStudent(t, backendtest.NewAsync(reference.New()), 3, 16)
	f := distill.Fit{
		Student: s, Examples: examples, Classes: tinyEncoder.Classes, Batch: 16, Epochs: 15,
		LR: rl.Constant{LR: 0.02}, MaxNorm: 1,
	}
	first, last := 0.0, 0.0
	for i := range f.Steps() {
		loss, err := f.Step(t.Context(), i)
		require.NoError(t, err)
		if i < 4 {
			first += loss / 4
		}
		if i >= f.Steps()-4 {
			last += loss / 4
		}
	}
	require.Greater(t, first, 0.6)
	require.Less(t, last, 0.1)
	require.EqualValues(t, f.Steps(), s.Version())
}

func TestStudentContinuesBitForBit(t *testing.T) {
	s := newStudent(t, backendtest.NewAsync(reference.New()), 3, 8)
	learn(t, s)
	learn(t, s)
	ref, err := s.Save(t.Context(), "two")
	require.NoError(t, err)
	third := learn(t, s)
	want := logits(t, s, inputs, false)

	other := newStudent(t, reference.New(), 4, 8)
	logits(t, other, inputs, true)
	require.NoError(t, other.Backward(t.Context(), slopes(len(inputs))))
	require.NoError(t, other.Load(t.Context(), ref))
	require.EqualValues(t, 2, other.Version())
	require.Zero(t, grads(t, other)[0], "Load clears the gradient")
	require.Equal(t, third, learn(t, other))
	require.Equal(t, want, logits(t, other, inputs, false))

	served, err := model.LoadEncoder(reference.New(), ref)
	require.NoError(t, err)
	require.Equal(t, s.Encoder().Config(), served.Config())
}

func TestStudentLoadRefusesWhatDoesNotFit(t *testing.T) {
	s := newStudent(t, reference.New(), 3, 0)
	learn(t, s)
	ref, err := s.Save(t.Context(), "one")
	require.NoError(t, err)
	before := logits(t, s, inputs, false)

	e, err := model.NewEncoder(reference.New(), model.EncoderConfig{Config: tinyEncoder.Config, Classes: 3, Pooling: model.FirstPooling}, 1)
	require.NoError(t, err)
	other, err := local.NewStudent(local.StudentConfig{Encoder: e})
	require.NoError(t, err)
	require.ErrorContains(t, other.Load(t.Context(), ref), "Pooling:first")
	_, err = other.Save(t.Context(), "nowhere")
	require.ErrorContains(t, err, "local: Save needs a Dir")

	require.NoError(t, os.Truncate(filepath.Join(ref, model.WeightsFile), 100))
	require.ErrorContains(t, s.Load(t.Context(), ref), "model.safetensors is damaged")
	require.ErrorIs(t, s.Load(t.Context(), "nothing-was-saved-here"), os.ErrNotExist)
	require.Equal(t, before, logits(t, s, inputs, false), "as it was")
	require.EqualValues(t, 1, s.Version())
}

func TestInvalidInputsAreNamed(t *testing.T) {
	s := newStudent(t, reference.New(), 3, 0)
	for want, bad := range map[string][]int32{
		"input 1 is empty":                            {},
		"input 1 has 7 tokens, want at most 6":        {1, 2, 3, 4, 5, 6, 0},
		"input 1: token 2 has id 7, want 0 to 6":      {1, 2, 7},
		"input 1: token 0 has id -1, want 0 to 6":     {-1},
		"input 1 has 8 tokens, want at most 6 (MaxS":  make([]int32, 8),
		"local: input 1: token 0 has id 2147483647, ": {math.MaxInt32},
	} {
		for _, train := range []bool{false, true} {
			err := s.Logits(t.Context(), [][]int32{{1}, bad}, rows(2), train)
			require.ErrorContains(t, err, want)
		}
	}
	require.Panics(t, func() { _ = s.Backward(t.Context(), rows(2)) }, "the training call failed")
}

func TestStudentSkipsANonFiniteGradient(t *testing.T) {
	s := newStudent(t, reference.New(), 3, 0)
	learn(t, s)
	before := logits(t, s, inputs, true)
	bad := slopes(len(inputs))
	bad[2][1] = math.Inf(1)
	require.NoError(t, s.Backward(t.Context(), bad))
	info := step(t, s)
	require.True(t, info.Skipped)
	require.EqualValues(t, 1, info.Version)
	require.Equal(t, before, logits(t, s, inputs, false))
	info = learn(t, s)
	require.False(t, info.Skipped)
	require.EqualValues(t, 2, info.Version)
	require.Zero(t, step(t, s).GradNorm, "Step clears the gradient")
}

func TestStudentCancelled(t *testing.T) {
	s := newStudent(t, reference.New(), 3, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Logits(ctx, inputs, rows(len(inputs)), false), context.Canceled)
	logits(t, s, inputs, true)
	require.ErrorIs(t, s.Backward(ctx, slopes(len(inputs))), context.Canceled)
	_, err := s.OptimStep(ctx, rl.OptimOptions{LR: 1})
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Save(ctx, "late")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Load(ctx, "late"), context.Canceled)
	require.Zero(t, step(t, s).GradNorm)

	// Cancelled after the first of three micro-batches of Backward.
	logits(t, s, inputs, true)
	require.ErrorIs(t, s.Backward(&countdown{Context: t.Context(), left: 1}, slopes(len(inputs))), context.Canceled)
	require.Zero(t, step(t, s).GradNorm, "no step holds half a batch")
}

// countdown is a context that is cancelled after a number of calls of Err.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Whichever operation fails, a call up to the optimiser step returns the error, and
// the next optimiser step is that of a whole batch.
func TestStudentBackendErrors(t *testing.T) {
	boom := errors.New("boom")
	want := learn(t, newStudent(t, reference.New(), 3, 8)).GradNorm
	train := func(s *local.Student) error {
		if err := s.Logits(t.Context(), inputs, rows(len(inputs)), true); err != nil {
			return err
		}
		if err := s.Backward(t.Context(), slopes(len(inputs))); err != nil {
			return err
		}
		_, err := s.OptimStep(t.Context(), rl.OptimOptions{LR: 0}) // which leaves the weights alone
		return err
	}
	operations := 0
	for ; ; operations++ {
		b := backendtest.NewAsync(reference.New())
		s := newStudent(t, b, 3, 8)
		require.NoError(t, b.Sync())
		b.FailAfter(operations, boom)
		if err := train(s); err == nil {
			break
		} else {
			require.ErrorIs(t, err, boom)
		}
		require.Equal(t, want, learn(t, s).GradNorm, "after operation %d failed", operations)
	}
	require.Greater(t, operations, 100)
}

func TestStudentMisusePanics(t *testing.T) {
	s := newStudent(t, reference.New(), 3, 0)
	ctx := t.Context()
	require.PanicsWithValue(t, "local: 6 inputs, but logits of 5", func() { _ = s.Logits(ctx, inputs, rows(5), false) })
	require.PanicsWithValue(t, "local: 3 classes, but 2 logits of input 0", func() {
		_ = s.Logits(ctx, inputs[:1], [][]float64{{0, 0}}, false)
	})
	const early = "local: Backward without a training Logits before it"
	require.PanicsWithValue(t, early, func() { _ = s.Backward(ctx, rows(6)) })
	logits(t, s, inputs, true)
	require.PanicsWithValue(t, "local: 6 inputs, but gradients of 2", func() { _ = s.Backward(ctx, rows(2)) })
	require.NoError(t, s.Backward(ctx, rows(6)))
	require.PanicsWithValue(t, early, func() { _ = s.Backward(ctx, rows(6)) })
	logits(t, s, inputs, true)
	step(t, s)
	require.PanicsWithValue(t, early, func() { _ = s.Backward(ctx, rows(6)) }, "the weights have moved")
}

func TestInvalidStudentSettingsAreNamed(t *testing.T) {
	e, err := model.NewEncoder(reference.New(), tinyEncoder, 1)
	require.NoError(t, err)
	for want, c := range map[string]local.StudentConfig{
		"local: StudentConfig.Encoder is nil":                              {},
		"local: StudentConfig.MaxRows is -1, want 0 (for 4096) or more":    {Encoder: e, MaxRows: -1},
		"local: StudentConfig.Optimizer: optim: Config.Eps is -1, want it": {Encoder: e, Optimizer: optim.Config{Eps: -1}},
	} {
		require.ErrorContains(t, c.Validate(), want)
		_, err := local.NewStudent(c)
		require.ErrorContains(t, err, want)
	}
}

// A pretrained encoder learns as a student, and its checkpoint is read back.
func TestAPretrainedEncoderIsAStudent(t *testing.T) {
	open := func(seed uint64) *local.Student {
		e, err := model.PretrainedEncoder(reference.New(), "../model/testdata/bert", tinyEncoder.Classes, seed)
		require.NoError(t, err)
		s, err := local.NewStudent(local.StudentConfig{Encoder: e, Dir: t.TempDir()})
		require.NoError(t, err)
		return s
	}
	s := open(1)
	before := logits(t, s, inputs, false)
	learn(t, s)
	want := logits(t, s, inputs, false)
	require.NotEqual(t, before, want)
	ref, err := s.Save(t.Context(), "one")
	require.NoError(t, err)
	other := open(2)
	require.NoError(t, other.Load(t.Context(), ref))
	require.Equal(t, want, logits(t, other, inputs, false))
	served, err := model.LoadEncoder(reference.New(), ref)
	require.NoError(t, err)
	require.Equal(t, s.Encoder().Config(), served.Config())
}

// A ModernBERT and a causal encoder train as students, and checkpoints restore them.
func TestStudentsOfOtherFamilies(t *testing.T) {
	for _, name := range []string{"modernbert-cls", "qwen3-cls"} {
		load := func() *local.Student {
			e, err := model.LoadEncoder(openCPU(t), filepath.Join("../model/testdata", name))
			require.NoError(t, err)
			s, err := local.NewStudent(local.StudentConfig{Encoder: e, Dir: t.TempDir()})
			require.NoError(t, err)
			t.Cleanup(s.Free)
			return s
		}
		s := load()
		inputs, labels := [][]int32{{1, 2, 3, 4, 5, 6, 7}, {7, 6, 5}, {9, 9}}, []int{0, 1, 2}
		logits := [][]float64{make([]float64, 3), make([]float64, 3), make([]float64, 3)}
		loss := func(s *local.Student, train bool) (sum float64) {
			require.NoError(t, s.Logits(t.Context(), inputs, logits, train))
			for i, z := range logits {
				total := 0.0
				for _, v := range z {
					total += math.Exp(v)
				}
				sum += math.Log(total) - z[labels[i]]
				for c, v := range z {
					z[c] = math.Exp(v) / total
				}
				z[labels[i]]--
			}
			return sum
		}
		before := loss(s, false)
		for range 20 {
			loss(s, true)
			require.NoError(t, s.Backward(t.Context(), logits))
			_, err := s.OptimStep(t.Context(), rl.OptimOptions{LR: 1e-2, MaxNorm: 1})
			require.NoError(t, err)
		}
		after := loss(s, false)
		require.Less(t, after, before/4, name)
		ref, err := s.Save(t.Context(), "x")
		require.NoError(t, err)
		restored := load()
		require.NoError(t, restored.Load(t.Context(), ref))
		require.Equal(t, after, loss(restored, false), name)
	}
}
