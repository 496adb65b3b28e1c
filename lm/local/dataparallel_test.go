package local_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

// parallel returns a policy on several backends. The replicas begin with other weights.
func parallel(t *testing.T, backends ...tensor.Backend) (*local.DataParallel, []*model.Decoder) {
	t.Helper()
	var all []*model.Decoder
	for i, b := range backends {
		all = append(all, newDecoder(t, b, 5+uint64(i)))
	}
	p, err := local.NewDataParallel(local.PolicyConfig{Decoder: all[0], MaxRows: 9, Dir: t.TempDir()}, all[1:]...)
	require.NoError(t, err)
	return p, all
}

func TestDataParallelContract(t *testing.T) {
	policytest.Run(t, policytest.Options{
		Open: func(t *testing.T) rl.Policy {
			p, _ := parallel(t, reference.New(), backendtest.NewAsync(reference.New()))
			return p
		},
		Vocab: tiny.Vocab,
	})
}

func weightsOf(t *testing.T, d *model.Decoder) (all []float32) {
	t.Helper()
	for _, p := range d.Params() {
		v := make([]float32, p.Len())
		require.NoError(t, d.Backend().Read(v, p.Value))
		all = append(all, v...)
	}
	return all
}

// Two and three backends compute what one does with the whole batch, and end with the
// same weights on each.
func TestDataParallelIsTheWholeBatch(t *testing.T) {
	whole := newPolicy(t, openCPU(t), 9)
	for n := 2; n <= 3; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			one := policyOf(t, newDecoder(t, openCPU(t), 5), 9)
			var backends []tensor.Backend
			for range n {
				backends = append(backends, openCPU(t))
			}
			p, decoders := parallel(t, backends...)
			for range 3 {
				b, c := batch(), batch()
				want, _, err := one.ForwardBackward(t.Context(), b, linear{})
				require.NoError(t, err)
				got, m, err := p.ForwardBackward(t.Context(), c, linear{})
				require.NoError(t, err)
				require.InDelta(t, want, got, 1e-5)
				require.EqualValues(t, 5, m["sequences"].Count)
				for i := range b.Samples {
					require.InDeltaSlice(t, b.Samples[i].LogP, c.Samples[i].LogP, 1e-5)
				}
				o := rl.OptimOptions{LR: 1e-2, MaxNorm: 1}
				wantInfo, err := one.OptimStep(t.Context(), o)
				require.NoError(t, err)
				gotInfo, err := p.OptimStep(t.Context(), o)
				require.NoError(t, err)
				require.InEpsilon(t, wantInfo.GradNorm, gotInfo.GradNorm, 1e-5)
				require.Equal(t, wantInfo.Version, gotInfo.Version)
			}
			near(t, logProbs(t, one, batch()), logProbs(t, p, batch()), 1e-4)
			for _, d := range decoders[1:] {
				require.Equal(t, weightsOf(t, decoders[0]), weightsOf(t, d))
			}
			require.NotEqual(t, weightsOf(t, whole.Decoder()), weightsOf(t, decoders[0]))

			ref, err := p.Save(t.Context(), "three")
			require.NoError(t, err)
			again, decoders := parallel(t, backends...)
			require.NoError(t, again.Load(t.Context(), ref))
			require.EqualValues(t, 3, again.Version())
			require.Equal(t, weightsOf(t, decoders[0]), weightsOf(t, decoders[n-1]))
			require.Equal(t, logProbs(t, p, batch()), logProbs(t, again, batch()))
			p.Free()
			again.Free()
		})
	}
}

// Two backends on one device compute what one does.
func TestDataParallelOnOneDevice(t *testing.T) {
	open := func() tensor.Backend {
		b, err := tensor.Open("opencl:0")
		if errors.Is(err, tensor.ErrNoDevice) {
			t.Skip(err)
		}
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, tensor.Close(b)) })
		return b
	}
	one := policyOf(t, newDecoder(t, open(), 5), 0)
	two, decoders := parallel(t, open(), open())
	for range 3 {
		for _, p := range []rl.Policy{one, two} {
			_, _, err := p.ForwardBackward(t.Context(), batch(), linear{})
			require.NoError(t, err)
			_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 1e-2, MaxNorm: 1})
			require.NoError(t, err)
		}
	}
	near(t, logProbs(t, one, batch()), logProbs(t, two, batch()), 1e-4)
	require.Equal(t, weightsOf(t, decoders[0]), weightsOf(t, decoders[1]))
}

// A replica that fails ends the step, with no gradient left anywhere.
func TestDataParallelBackendErrors(t *testing.T) {
	boom := errors.New("device lost")
	async := backendtest.NewAsync(reference.New())
	p, _ := parallel(t, reference.New(), async)
	for _, after := range []int{0, 40, 90} {
		async.FailAfter(after, boom)
		_, _, err := p.ForwardBackward(t.Context(), batch(), linear{})
		if err == nil {
			_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 0})
		}
		require.ErrorIs(t, err, boom)
		info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 0})
		require.NoError(t, err)
		require.Zero(t, info.GradNorm)
	}
}

// Log-probs that meet an error of one backend leave no part of a gradient on another.
func TestDataParallelLogProbsThatMeetAnErrorDropTheGradient(t *testing.T) {
	boom := errors.New("out of order")
	async := backendtest.NewAsync(reference.New())
	p, _ := parallel(t, reference.New(), async)
	_, _, err := p.ForwardBackward(t.Context(), batch(), linear{})
	require.NoError(t, err)
	async.FailAfter(0, boom)
	b := batch()
	dst := make([][]float64, len(b.Samples))
	for i := range dst {
		dst[i] = make([]float64, len(b.Samples[i].Tokens))
	}
	require.ErrorIs(t, p.LogProbs(t.Context(), b, dst), boom)
	info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 0})
	require.NoError(t, err)
	require.Zero(t, info.GradNorm)
}

// An error of candidates ends one call, and the gradients of all backends go, as the first
// may lack a part of its own.
func TestDataParallelCandidatesThatMeetAnError(t *testing.T) {
	boom := errors.New("out of order")
	async := backendtest.NewAsync(reference.New())
	p, _ := parallel(t, async, reference.New())
	for name, call := range map[string]func(tops []rl.Top) error{
		"top":        func(tops []rl.Top) error { return p.TopLogProbs(t.Context(), batch(), 2, tops) },
		"candidates": func(tops []rl.Top) error { return p.CandidateLogProbs(t.Context(), batch(), 2, tops) },
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := p.ForwardBackward(t.Context(), batch(), linear{})
			require.NoError(t, err)
			tops := rl.NewTops(batch(), 2)
			for _, top := range tops {
				for i := range top.IDs {
					top.IDs[i] = int32(i % 2)
				}
			}
			async.FailAfter(0, boom)
			require.ErrorIs(t, call(tops), boom)
			require.NoError(t, call(tops))
			info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 0})
			require.NoError(t, err)
			require.Zero(t, info.GradNorm)
		})
	}
}

// An error names a sample by its place in the batch, whichever part it is computed in:
// sample 4 is the third of prompt 1.
func TestDataParallelErrorsNameSamples(t *testing.T) {
	p, _ := parallel(t, reference.New(), reference.New())
	fails := linear{before: func(s *objective.Sequence) error {
		if len(s.LogP) == 4 {
			return errors.New("no such luck")
		}
		return nil
	}}
	_, _, err := p.ForwardBackward(t.Context(), batch(), fails)
	require.EqualError(t, err, "sample 4: no such luck")
}

func TestInvalidReplicasAreNamed(t *testing.T) {
	b, other := reference.New(), reference.New()
	d := newDecoder(t, b, 1)
	shape := tiny
	shape.Layers++
	deeper, err := model.NewDecoder(other, shape, 1)
	require.NoError(t, err)
	adapted := newDecoder(t, other, 1)
	_, err = adapted.AddLoRA(tinyLoRA, 1)
	require.NoError(t, err)
	for want, replicas := range map[string][]*model.Decoder{
		"without a replica": {},
		"replica 0 is nil":  {nil},
		"replica 0 is on the backend of another decoder": {newDecoder(t, b, 2)},
		"replica 0 has the configuration":                {deeper},
		"give it the same adapters":                      {adapted},
		"replica 1 is on the backend of another decoder": {newDecoder(t, other, 2), newDecoder(t, other, 3)},
	} {
		_, err := local.NewDataParallel(local.PolicyConfig{Decoder: d}, replicas...)
		require.ErrorContains(t, err, want)
	}

	_, err = d.AddLoRA(model.LoRAConfig{Rank: tinyLoRA.Rank, Alpha: 3, Targets: tinyLoRA.Targets}, 1)
	require.NoError(t, err)
	_, err = local.NewDataParallel(local.PolicyConfig{Decoder: d}, adapted)
	require.ErrorContains(t, err, "local: replica 0 has the adapters {Rank:4 Alpha:8 ")
}
