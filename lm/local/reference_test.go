package local_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/durable/durabletest"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
)

func newReference(t *testing.T, p *local.Policy, every int, mix float64) *local.Reference {
	t.Helper()
	r, err := p.NewReference(local.ReferenceConfig{Every: every, Mix: mix})
	require.NoError(t, err)
	return r
}

// learnOnce takes one optimiser step.
func learnOnce(t *testing.T, p rl.Policy) {
	t.Helper()
	_, _, err := p.ForwardBackward(t.Context(), batch(), linear{})
	require.NoError(t, err)
	_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 3e-2})
	require.NoError(t, err)
}

// After k mixes the reference r_k is (1−α)^k·r_0 + Σ_i α(1−α)^(k−i)·p_i, where p_i are the
// policy's weights at the i-th, after every Every-th optimiser step since NewReference; in
// between it stays, bit for bit. Of adapters A and B follow that, each.
func TestAReferenceFollowsItsPolicy(t *testing.T) {
	const every, mix, warmup = 2, 0.3, 3
	for name, open := range backends {
		for _, adapters := range []bool{false, true} {
			t.Run(map[bool]string{false: name, true: name + " with adapters"}[adapters], func(t *testing.T) {
				p := newPolicy(t, open(t), 9)
				if adapters {
					p, _ = newLoRAPolicy(t, open(t), 9)
				}
				for range warmup {
					learnOnce(t, p)
				}
				r := newReference(t, p, every, mix)
				at := [][]float32{weightsOf(t, p.Decoder())} // r_0, then p_i
				require.Equal(t, at[0], weightsOf(t, r.Decoder()))
				require.Equal(t, logProbs(t, p, batch()), logProbs(t, r, batch()))
				for step := 1; step <= 7; step++ {
					before := weightsOf(t, r.Decoder())
					learnOnce(t, p)
					now := weightsOf(t, r.Decoder())
					if step%every != 0 {
						require.Equal(t, before, now)
						continue
					}
					at = append(at, weightsOf(t, p.Decoder()))
					k := len(at) - 1
					want := make([]float64, len(now))
					got := make([]float64, len(now))
					for w := range want {
						want[w] = math.Pow(1-mix, float64(k)) * float64(at[0][w])
						for i := 1; i <= k; i++ {
							want[w] += mix * math.Pow(1-mix, float64(k-i)) * float64(at[i][w])
						}
						got[w] = float64(now[w])
					}
					require.InDeltaSlice(t, want, got, 1e-6)
					require.NotEqual(t, before, now)
				}
				require.Len(t, at, 1+3)
			})
		}
	}
}

// With Mix 1 the reference becomes the policy, with adapters too.
func TestAReferenceThatIsReset(t *testing.T) {
	plain := newPolicy(t, openCPU(t), 0)
	adapted, _ := newLoRAPolicy(t, openCPU(t), 0)
	d := newDecoder(t, openCPU(t), 5)
	_, err := d.AddLoRA(model.LoRAConfig{Rank: 2, Alpha: 4, Select: `{"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}`}, 6)
	require.NoError(t, err)
	for _, p := range []*local.Policy{plain, adapted, policyOf(t, d, 0)} {
		r := newReference(t, p, 2, 1)
		first := logProbs(t, p, batch())
		for range 2 {
			learnOnce(t, p)
			require.Equal(t, first, logProbs(t, r, batch()))
			learnOnce(t, p)
			first = logProbs(t, p, batch())
			require.Equal(t, first, logProbs(t, r, batch()))
		}
	}
}

// With a reset after every second optimiser step the divergence of a training step, which
// is that of its samples before the update, is exactly 0 in every second step.
func TestTrainingAgainstAReferenceThatIsReset(t *testing.T) {
	tr, _, _ := trainer(t, openCPU(t), t.TempDir(), false, &local.ReferenceConfig{Every: 2, Mix: 1})
	for step := range 5 {
		_, err := tr.Step(t.Context())
		require.NoError(t, err)
		kl, ok := tr.Metrics()["objective/kl"]
		require.True(t, ok)
		require.Equal(t, step%2 == 0, kl == 0, "%d: %v", step, kl)
	}
}

// The moving average of a policy is a teacher for it: it has candidates, too.
func TestAReferenceIsATeacher(t *testing.T) {
	var _ rl.TopLogProber = (*local.Reference)(nil)
	var _ rl.CandidateProber = (*local.Reference)(nil)
	var _ rl.TokenBounder = (*local.Reference)(nil)
}

// An optimiser step that is not taken does not count.
func TestAReferenceDoesNotCountSkippedSteps(t *testing.T) {
	p := newPolicy(t, reference.New(), 0)
	r := newReference(t, p, 2, 1)
	learnOnce(t, p)
	before := weightsOf(t, r.Decoder())
	p.Decoder().Backend().Fill(p.Decoder().Params()[0].Grad, float32(math.NaN()))
	info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 1})
	require.NoError(t, err)
	require.True(t, info.Skipped)
	require.Equal(t, before, weightsOf(t, r.Decoder()))
	learnOnce(t, p)
	require.Equal(t, weightsOf(t, p.Decoder()), weightsOf(t, r.Decoder()))
}

// The reference of several backends is that of the first.
func TestAReferenceOfDataParallel(t *testing.T) {
	p, _ := parallel(t, reference.New(), reference.New())
	defer p.Free()
	r := newReference(t, p.Policy, 1, 1)
	first := weightsOf(t, r.Decoder())
	learnOnce(t, p)
	require.NotEqual(t, first, weightsOf(t, r.Decoder()))
	require.Equal(t, weightsOf(t, p.Decoder()), weightsOf(t, r.Decoder()))
}

// The reference's model in a checkpoint is a folder as the policy's is.
func TestAReferenceInACheckpoint(t *testing.T) {
	p := newPolicy(t, reference.New(), 0)
	without, err := p.Save(t.Context(), "without")
	require.NoError(t, err)
	r := newReference(t, p, 3, 0.5)
	for range 4 {
		learnOnce(t, p)
	}
	ref, err := p.Save(t.Context(), "with")
	require.NoError(t, err)
	d, err := model.LoadDecoder(reference.New(), filepath.Join(ref, "reference"))
	require.NoError(t, err)
	require.Equal(t, weightsOf(t, r.Decoder()), weightsOf(t, d))

	want := logProbs(t, p, batch())
	only := newPolicy(t, reference.New(), 0)
	require.NoError(t, only.Load(t.Context(), ref), "as for an evaluation")
	require.Equal(t, want, logProbs(t, only, batch()))
	_, err = only.OptimStep(t.Context(), rl.OptimOptions{LR: 1})
	require.ErrorContains(t, err, "the checkpoint that was loaded holds a Reference, which the policy has not: call NewReference before Load")
	require.Equal(t, want, logProbs(t, only, batch()), "nothing has changed")
	newReference(t, only, 1, 1)
	learnOnce(t, only)
	other := newPolicy(t, reference.New(), 0)
	require.NoError(t, other.Load(t.Context(), ref))
	require.NoError(t, other.Load(t.Context(), without))
	learnOnce(t, other)

	policy, weights := weightsOf(t, p.Decoder()), weightsOf(t, r.Decoder())
	require.ErrorContains(t, p.Load(t.Context(), without), "without holds no Reference, but the policy has one: it was saved without one. Drop NewReference, or begin another run")
	for _, name := range []string{"reference/config.json", "reference/model.safetensors"} {
		ref, err := p.Save(t.Context(), "damaged")
		require.NoError(t, err)
		path := filepath.Join(ref, name)
		damage(t, path)
		require.ErrorContains(t, p.Load(t.Context(), ref), path+" is damaged")
		require.NoError(t, os.Remove(path))
		require.ErrorIs(t, p.Load(t.Context(), ref), os.ErrNotExist)
	}
	require.Equal(t, policy, weightsOf(t, p.Decoder()), "nothing has changed")
	require.Equal(t, weights, weightsOf(t, r.Decoder()))
}

// A crash while a checkpoint is saved leaves it whole, with the reference, or not there.
func TestACrashLeavesAReferenceWhole(t *testing.T) {
	root := t.TempDir()
	p, err := local.NewPolicy(local.PolicyConfig{Decoder: newDecoder(t, reference.New(), 5), Dir: filepath.Join(root, "c")})
	require.NoError(t, err)
	r := newReference(t, p, 1, 0.5)
	learnOnce(t, p)
	journal, stop := durabletest.Record(root)
	_, err = p.Save(t.Context(), "a")
	stop()
	require.NoError(t, err)
	want, there := weightsOf(t, r.Decoder()), 0
	for n := range journal.Len() + 1 {
		for _, s := range journal.States(n) {
			dir := t.TempDir()
			require.NoError(t, s.Write(dir))
			path := filepath.Join(dir, "c", "a")
			if _, err := os.Stat(path); err != nil {
				require.Less(t, n, journal.Len(), "it is there once Save has returned")
				continue
			}
			there++
			b := r.Decoder().Backend()
			b.Fill(r.Decoder().Params()[0].Value, 0)
			require.NoError(t, p.Load(t.Context(), path))
			require.Equal(t, want, weightsOf(t, r.Decoder()))
		}
	}
	require.Positive(t, there)
}

func TestInvalidReferencesAreNamed(t *testing.T) {
	p := newPolicy(t, reference.New(), 0)
	for want, c := range map[string]local.ReferenceConfig{
		"local: ReferenceConfig.Every is 0, want at least 1":                   {Mix: 1},
		"local: ReferenceConfig.Mix is 0, want more than 0 and at most 1":      {Every: 1},
		"local: ReferenceConfig.Mix is 1.0001, want more than 0 and at most 1": {Every: 1, Mix: 1.0001},
		"local: ReferenceConfig.Mix is NaN, want more than 0 and at most 1":    {Every: 1, Mix: math.NaN()},
	} {
		require.ErrorContains(t, c.Validate(), want)
		_, err := p.NewReference(c)
		require.ErrorContains(t, err, want)
	}
	newReference(t, p, 1, 1)
	_, err := p.NewReference(local.ReferenceConfig{Every: 1, Mix: 1})
	require.EqualError(t, err, "local: the policy has a Reference already")
}

// counted counts the elements of an asynchronous backend's buffers.
type counted struct {
	*backendtest.Async
	live int
}

func (c *counted) Alloc(n int) tensor.Buffer {
	c.live += n
	return c.Async.Alloc(n)
}

func (c *counted) Free(b tensor.Buffer) {
	c.live -= b.Len()
	c.Async.Free(b)
}

// A reference that fails to be made leaves nothing behind, and one that fails to follow
// ends the optimiser step.
func TestBackendErrorsOfReferences(t *testing.T) {
	boom := errors.New("boom")
	for _, adapters := range []bool{false, true} {
		b := &counted{Async: backendtest.NewAsync(reference.New())}
		p := newPolicy(t, b, 0)
		if adapters {
			p.Free()
			p, _ = newLoRAPolicy(t, b, 0)
		}
		require.NoError(t, b.Sync())
		before := b.live
		made := false
		for operation := 0; !made; operation += 3 {
			b.FailAfter(operation, boom)
			_, err := p.NewReference(local.ReferenceConfig{Every: 1, Mix: 0.5})
			if made = err == nil; !made {
				require.ErrorIs(t, err, boom)
				require.NoError(t, b.Sync())
				require.Equal(t, before, b.live)
			}
		}
		b.FailAfter(0, nil)
		took := false
		for operation := 0; !took; operation += 5 {
			_, _, err := p.ForwardBackward(t.Context(), batch(), linear{})
			require.NoError(t, err)
			b.FailAfter(operation, boom)
			_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 1e-3})
			if took = err == nil; !took {
				require.ErrorIs(t, err, boom)
			}
			require.NoError(t, b.Sync(), "every error is returned")
		}
		p.Free()
		require.NoError(t, b.Sync())
		require.Zero(t, b.live)
	}
}
