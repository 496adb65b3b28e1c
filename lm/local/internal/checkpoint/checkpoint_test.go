package checkpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/lm/local/internal/checkpoint"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var tiny = model.Config{Vocab: 5, Dim: 4, Layers: 1, Heads: 1, KVHeads: 1, FF: 6, MaxSeq: 8}

var files = []string{"config.json", "model.safetensors", "optimizer.safetensors", "state.json"}

// training is a decoder and its optimiser.
type training = checkpoint.Training[model.Config]

func open(t *testing.T, b tensor.Backend, c model.Config, seed uint64) *training {
	t.Helper()
	d, err := model.NewDecoder(b, c, seed)
	require.NoError(t, err)
	o, err := optim.NewAdamW(b, d.Params(), optim.DefaultConfig())
	require.NoError(t, err)
	return &training{Model: d, ReadConfig: model.ReadConfig, Optimizer: o}
}

// step takes an optimiser step whose gradient is g everywhere.
func step(t *testing.T, tr *training, g float32) {
	t.Helper()
	for _, p := range tr.Model.Params() {
		tr.Model.Backend().Fill(p.Grad, g)
	}
	_, err := tr.Optimizer.Step(0.01, 1)
	require.NoError(t, err)
}

// contents is all that a checkpoint must bring back.
type contents struct {
	Weights, Grads map[string][]float32
	Optimizer      optim.State
}

func read(t *testing.T, tr *training) contents {
	t.Helper()
	c := contents{Weights: map[string][]float32{}, Grads: map[string][]float32{}}
	for _, p := range tr.Model.Params() {
		c.Weights[p.Name], c.Grads[p.Name] = make([]float32, p.Len()), make([]float32, p.Len())
		require.NoError(t, tr.Model.Backend().Read(c.Weights[p.Name], p.Value))
		require.NoError(t, tr.Model.Backend().Read(c.Grads[p.Name], p.Grad))
	}
	var err error
	c.Optimizer, err = tr.Optimizer.Export()
	require.NoError(t, err)
	return c
}

// saved returns the path of a checkpoint of version 3 after two steps.
func saved(t *testing.T) (string, *training) {
	t.Helper()
	tr := open(t, reference.New(), tiny, 1)
	step(t, tr, 0.5)
	step(t, tr, -0.25)
	path, err := tr.Save(t.Context(), t.TempDir(), "three", 3)
	require.NoError(t, err)
	return path, tr
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestTrainingContinuesBitForBit(t *testing.T) {
	path, whole := saved(t)
	require.Equal(t, files, names(t, path))
	require.Equal(t, []string{"three"}, names(t, filepath.Dir(path)), "nothing else is left")
	for name, b := range map[string]tensor.Backend{"reference": reference.New(), "async": backendtest.NewAsync(reference.New())} {
		t.Run(name, func(t *testing.T) {
			other := open(t, b, tiny, 2)
			step(t, other, 1) // and its gradient stays
			version, err := other.Load(t.Context(), path)
			require.NoError(t, err)
			require.EqualValues(t, 3, version)
			for _, g := range read(t, other).Grads {
				require.Equal(t, make([]float32, len(g)), g)
			}
			step(t, other, 0.125)
			first := open(t, reference.New(), tiny, 1)
			for _, g := range []float32{0.5, -0.25, 0.125} {
				step(t, first, g)
			}
			require.Equal(t, read(t, first), read(t, other))
		})
	}
	require.Equal(t, 2, read(t, whole).Optimizer.Steps)
}

func TestFrozenParametersHaveNoMoments(t *testing.T) {
	frozen := func(seed uint64) *training {
		b := reference.New()
		d, err := model.NewDecoder(b, tiny, seed)
		require.NoError(t, err)
		d.Params()[0].Grad = nil
		o, err := optim.NewAdamW(b, d.Params(), optim.DefaultConfig())
		require.NoError(t, err)
		return &training{Model: d, ReadConfig: model.ReadConfig, Optimizer: o}
	}
	path, err := frozen(1).Save(t.Context(), t.TempDir(), "a", 0)
	require.NoError(t, err)
	_, err = frozen(2).Load(t.Context(), path)
	require.NoError(t, err)
	_, err = open(t, reference.New(), tiny, 2).Load(t.Context(), path)
	require.ErrorContains(t, err, `no tensor "exp_avg.`)

	whole, _ := saved(t)
	_, err = frozen(2).Load(t.Context(), whole)
	require.ErrorContains(t, err, "two for each parameter")
}

func TestSaveReplacesACheckpointOfTheSameName(t *testing.T) {
	path, tr := saved(t)
	step(t, tr, 1)
	want := read(t, tr)
	again, err := tr.Save(t.Context(), filepath.Dir(path), "three", 4)
	require.NoError(t, err)
	require.Equal(t, path, again)
	require.Equal(t, []string{"three"}, names(t, filepath.Dir(path)))
	step(t, tr, 1)
	version, err := tr.Load(t.Context(), path)
	require.NoError(t, err)
	require.EqualValues(t, 4, version)
	got := read(t, tr)
	require.Equal(t, want.Weights, got.Weights)
	require.Equal(t, want.Optimizer, got.Optimizer)
}

// TestDamage: whatever happens to a file, Load names it and changes nothing.
func TestDamage(t *testing.T) {
	edit := func(change func(text []byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, change(text), 0o666))
		}
	}
	for damage, do := range map[string]func(t *testing.T, path string){
		"truncated": edit(func(text []byte) []byte { return text[:len(text)-7] }),
		"emptied":   edit(func([]byte) []byte { return nil }),
		"first byte altered": edit(func(text []byte) []byte {
			text[0] ^= 1
			return text
		}),
		"missing": func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
	} {
		for _, file := range files {
			t.Run(file+" "+damage, func(t *testing.T) {
				path, tr := saved(t)
				do(t, filepath.Join(path, file))
				step(t, tr, 1)
				before := read(t, tr)
				_, err := tr.Load(t.Context(), path)
				require.ErrorContains(t, err, filepath.Join(path, file))
				require.Equal(t, before, read(t, tr))
			})
		}
	}
	t.Run("last byte of the weights altered", func(t *testing.T) {
		path, tr := saved(t)
		edit(func(text []byte) []byte {
			text[len(text)-1] ^= 0x80
			return text
		})(t, filepath.Join(path, "model.safetensors"))
		_, err := tr.Load(t.Context(), path)
		require.ErrorContains(t, err, "model.safetensors is damaged")
	})
}

func TestStateErrors(t *testing.T) {
	for want, change := range map[string]func(s map[string]any){
		"format is 2, want 1":    func(s map[string]any) { s["format"] = 2 },
		"version is -1":          func(s map[string]any) { s["version"] = -1 },
		"optimizer_steps is -2":  func(s map[string]any) { s["optimizer_steps"] = -2 },
		"config.json is damaged": func(s map[string]any) { delete(s, "sha256") },
	} {
		path, tr := saved(t)
		file := filepath.Join(path, "state.json")
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var s map[string]any
		require.NoError(t, json.Unmarshal(text, &s))
		change(s)
		text, err = json.Marshal(s)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, text, 0o666))
		_, err = tr.Load(t.Context(), path)
		require.ErrorContains(t, err, want)
	}
}

func TestAModelOfAnotherConfigurationIsRefused(t *testing.T) {
	path, _ := saved(t)
	c := tiny
	c.MaxSeq++ // no tensor has another shape
	other := open(t, reference.New(), c, 2)
	before := read(t, other)
	_, err := other.Load(t.Context(), path)
	require.ErrorContains(t, err, path+" is of a model {Vocab:5")
	require.ErrorContains(t, err, "MaxSeq:9")
	require.Equal(t, before, read(t, other))
}

// failing is a model whose Save fails after it has written, as on a full disk.
type failing struct {
	checkpoint.Model[model.Config]
	err error
}

func (f failing) Save(dir string) error {
	if err := f.Model.Save(dir); err != nil {
		return err
	}
	return f.err
}

func TestAFailedSaveLeavesTheEarlierCheckpoint(t *testing.T) {
	path, tr := saved(t)
	whole := tr.Model
	full := errors.New("disk full")
	tr.Model = failing{whole, full}
	_, err := tr.Save(t.Context(), filepath.Dir(path), "three", 9)
	require.ErrorIs(t, err, full)
	require.Equal(t, []string{"three"}, names(t, filepath.Dir(path)))
	tr.Model = whole
	version, err := tr.Load(t.Context(), path)
	require.NoError(t, err)
	require.EqualValues(t, 3, version)
}

func TestLeftoversOfACrashDisturbNothing(t *testing.T) {
	path, tr := saved(t)
	dir := filepath.Dir(path)
	for _, left := range []string{".three.1", ".three.1.old", ".four.2"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, left), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, left, "model.safetensors"), []byte("half"), 0o666))
	}
	_, err := tr.Load(t.Context(), path)
	require.NoError(t, err)
	for _, name := range []string{"three", "four"} {
		path, err := tr.Save(t.Context(), dir, name, 5)
		require.NoError(t, err)
		version, err := tr.Load(t.Context(), path)
		require.NoError(t, err)
		require.EqualValues(t, 5, version)
	}
	require.Equal(t, []string{".four.2", ".three.1", ".three.1.old", "four", "three"}, names(t, dir))

	// A crash between the two renames leaves the earlier one under .old.
	old := filepath.Join(dir, ".three.3.old")
	require.NoError(t, os.Rename(path, old))
	_, err = tr.Load(t.Context(), old)
	require.NoError(t, err)
}

func TestMomentsOfAnotherShapeAreRefused(t *testing.T) {
	path, tr := saved(t)
	// Moments of a wider embedding, in a checkpoint whose sums are right.
	embed := tr.Model.Params()[0]
	shape := embed.Shape
	embed.Shape = []int{shape[0], 1, shape[1]}
	path, err := tr.Save(t.Context(), filepath.Dir(path), "reshaped", 3)
	require.NoError(t, err)
	embed.Shape = shape
	_, err = tr.Load(t.Context(), path)
	require.ErrorContains(t, err, `"exp_avg.`+embed.Name+`" has shape [5 1 4], want [5 4]`)
}

func TestNamesAndDirectories(t *testing.T) {
	_, tr := saved(t)
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "/", "a/"} {
		dir := t.TempDir()
		_, err := tr.Save(t.Context(), dir, name, 0)
		require.ErrorContains(t, err, "is no plain file name", "%q", name)
		require.Empty(t, names(t, dir))
	}
	_, err := tr.Save(t.Context(), "", "a", 0)
	require.ErrorContains(t, err, "Config.Dir")
	path, err := tr.Save(t.Context(), filepath.Join(t.TempDir(), "made", "at need"), "a", 0)
	require.NoError(t, err)
	require.Equal(t, "a", filepath.Base(path))
	_, err = tr.Load(t.Context(), path+" of which nobody knows")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCancelled(t *testing.T) {
	path, tr := saved(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := tr.Save(ctx, filepath.Dir(path), "late", 4)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"three"}, names(t, filepath.Dir(path)))
	before := read(t, tr)
	_, err = tr.Load(ctx, path)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, read(t, tr))
}

func TestBackendErrors(t *testing.T) {
	boom := errors.New("boom")
	path, _ := saved(t)
	for _, c := range []struct {
		name string
		call func(tr *training) error
	}{
		{"Save", func(tr *training) error {
			_, err := tr.Save(t.Context(), t.TempDir(), "a", 0)
			return err
		}},
		{"Load", func(tr *training) error {
			_, err := tr.Load(t.Context(), path)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for operation := 0; ; operation++ {
				b := backendtest.NewAsync(reference.New())
				tr := open(t, b, tiny, 1)
				require.NoError(t, b.Sync())
				b.FailAfter(operation, boom)
				err := c.call(tr)
				if err == nil {
					require.Greater(t, operation, len(tr.Model.Params()))
					require.NoError(t, b.Sync(), "every error is returned")
					return
				}
				require.ErrorIs(t, err, boom, "operation %d", operation)
				_ = b.Sync()
			}
		})
	}
}

func TestMomentsAreAsPyTorchNamesThem(t *testing.T) {
	path, tr := saved(t)
	r, err := safetensors.Open(filepath.Join(path, "optimizer.safetensors"))
	require.NoError(t, err)
	defer r.Close()
	for _, x := range r.Tensors() {
		require.True(t, strings.HasPrefix(x.Name, "exp_avg.") || strings.HasPrefix(x.Name, "exp_avg_sq."), x.Name)
	}
	p := tr.Model.Params()[0]
	moments := read(t, tr).Optimizer.Moments[0]
	second := make([]float32, p.Len())
	require.NoError(t, r.Read(second, "exp_avg_sq."+p.Name, 0))
	require.Equal(t, moments.Second, second)
}
