package local

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

var tiny = model.Config{Vocab: 5, Dim: 4, Layers: 1, Heads: 1, KVHeads: 1, FF: 6, MaxSeq: 8}

var files = []string{"config.json", "model.safetensors", "optimizer.safetensors", "state.json"}

// open returns a decoder in training, whose checkpoints are in dir.
func open(t *testing.T, b tensor.Backend, c model.Config, seed uint64, dir string) *training {
	t.Helper()
	d, err := model.NewDecoder(b, c, seed)
	require.NoError(t, err)
	p, err := NewPolicy(PolicyConfig{Decoder: d, Dir: dir})
	require.NoError(t, err)
	return &p.training
}

// step takes an optimiser step whose gradient is g everywhere, and leaves the
// gradient.
func step(t *testing.T, tr *training, g float32) {
	t.Helper()
	for _, p := range tr.model.Params() {
		tr.model.Backend().Fill(p.Grad, g)
	}
	_, err := tr.opt.Step(0.01, 1)
	require.NoError(t, err)
	tr.version++
}

// contents is all that a checkpoint must bring back.
type contents struct {
	Weights, Grads map[string][]float32
	Optimizer      optim.State
}

func read(t *testing.T, tr *training) contents {
	t.Helper()
	c := contents{Weights: map[string][]float32{}, Grads: map[string][]float32{}}
	for _, p := range tr.model.Params() {
		c.Weights[p.Name], c.Grads[p.Name] = make([]float32, p.Len()), make([]float32, p.Len())
		require.NoError(t, tr.model.Backend().Read(c.Weights[p.Name], p.Value))
		require.NoError(t, tr.model.Backend().Read(c.Grads[p.Name], p.Grad))
	}
	var err error
	c.Optimizer, err = tr.opt.Export()
	require.NoError(t, err)
	return c
}

// saved returns the path of a checkpoint of version 2.
func saved(t *testing.T) (string, *training) {
	t.Helper()
	tr := open(t, reference.New(), tiny, 1, t.TempDir())
	step(t, tr, 0.5)
	step(t, tr, -0.25)
	path, err := tr.Save(t.Context(), "two")
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
	require.Equal(t, []string{"two"}, names(t, filepath.Dir(path)), "nothing else is left")
	for name, b := range map[string]tensor.Backend{"reference": reference.New(), "async": backendtest.NewAsync(reference.New())} {
		t.Run(name, func(t *testing.T) {
			other := open(t, b, tiny, 2, "")
			step(t, other, 1)
			require.NoError(t, other.Load(t.Context(), path))
			require.EqualValues(t, 2, other.Version())
			for _, g := range read(t, other).Grads {
				require.Equal(t, make([]float32, len(g)), g)
			}
			step(t, other, 0.125)
			first := open(t, reference.New(), tiny, 1, "")
			for _, g := range []float32{0.5, -0.25, 0.125} {
				step(t, first, g)
			}
			require.Equal(t, read(t, first), read(t, other))
		})
	}
	require.Equal(t, 2, read(t, whole).Optimizer.Steps)
}

func TestFrozenParametersHaveNoMoments(t *testing.T) {
	frozen := func(seed uint64, dir string) *training {
		d, err := model.NewDecoder(reference.New(), tiny, seed)
		require.NoError(t, err)
		d.Params()[0].Grad = nil
		p, err := NewPolicy(PolicyConfig{Decoder: d, Dir: dir})
		require.NoError(t, err)
		return &p.training
	}
	path, err := frozen(1, t.TempDir()).Save(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, frozen(2, "").Load(t.Context(), path))
	require.ErrorContains(t, open(t, reference.New(), tiny, 2, "").Load(t.Context(), path), `no tensor "exp_avg.`)

	whole, _ := saved(t)
	require.ErrorContains(t, frozen(2, "").Load(t.Context(), whole), "two for each parameter")
}

func TestSaveReplacesACheckpointOfTheSameName(t *testing.T) {
	path, tr := saved(t)
	step(t, tr, 1)
	want := read(t, tr)
	again, err := tr.Save(t.Context(), "two")
	require.NoError(t, err)
	require.Equal(t, path, again)
	require.Equal(t, []string{"two"}, names(t, filepath.Dir(path)))
	step(t, tr, 1)
	require.NoError(t, tr.Load(t.Context(), path))
	require.EqualValues(t, 3, tr.Version())
	got := read(t, tr)
	require.Equal(t, want.Weights, got.Weights)
	require.Equal(t, want.Optimizer, got.Optimizer)
}

// Whatever happens to a file, Load names it and changes nothing.
func TestDamagedCheckpoints(t *testing.T) {
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
				require.ErrorContains(t, tr.Load(t.Context(), path), filepath.Join(path, file))
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
		require.ErrorContains(t, tr.Load(t.Context(), path), "model.safetensors is damaged")
	})
}

func TestCheckpointStateErrors(t *testing.T) {
	for want, change := range map[string]func(s map[string]any){
		"format is 1, want 2":    func(s map[string]any) { s["format"] = 1 },
		"version is -1":          func(s map[string]any) { s["version"] = -1 },
		"optimizer_steps is -2":  func(s map[string]any) { s["optimizer_steps"] = -2 },
		"config.json is damaged": func(s map[string]any) { delete(s, "sha256") },
	} {
		path, tr := saved(t)
		file := filepath.Join(path, "state.json")
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var s map[string]any
		require.NoError(t, durable.Unseal(text, &s))
		change(s)
		text, err = durable.Seal(s)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, text, 0o666))
		require.ErrorContains(t, tr.Load(t.Context(), path), want)
	}
}

// A changed count of optimiser steps would give another bias correction.
func TestAnAlteredStateIsRefused(t *testing.T) {
	path, tr := saved(t)
	file := filepath.Join(path, "state.json")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	altered := bytes.Replace(text, []byte(`"optimizer_steps": 2`), []byte(`"optimizer_steps": 3`), 1)
	require.NotEqual(t, text, altered)
	require.NoError(t, os.WriteFile(file, altered, 0o666))
	require.ErrorContains(t, tr.Load(t.Context(), path), file+" is damaged")
}

func TestAModelOfAnotherConfigurationIsRefused(t *testing.T) {
	path, _ := saved(t)
	c := tiny
	c.MaxSeq++ // no tensor has another shape
	other := open(t, reference.New(), c, 2, "")
	before := read(t, other)
	err := other.Load(t.Context(), path)
	require.ErrorContains(t, err, path+" is of a model {Vocab:5")
	require.ErrorContains(t, err, "MaxSeq:9")
	require.Equal(t, before, read(t, other))
}

// failing is a model whose Save fails after it has written, as on a full disk.
type failing struct {
	trainable
	err error
}

func (f failing) Save(dir string) error {
	if err := f.trainable.Save(dir); err != nil {
		return err
	}
	return f.err
}

func TestAFailedSaveLeavesTheEarlierCheckpoint(t *testing.T) {
	path, tr := saved(t)
	whole := tr.model
	full := errors.New("disk full")
	tr.model = failing{whole, full}
	_, err := tr.Save(t.Context(), "two")
	require.ErrorIs(t, err, full)
	require.Equal(t, []string{"two"}, names(t, filepath.Dir(path)))
	tr.model = whole
	require.NoError(t, tr.Load(t.Context(), path))
	require.EqualValues(t, 2, tr.Version())
}

func TestLeftoversOfACrashDisturbNothing(t *testing.T) {
	path, tr := saved(t)
	dir := filepath.Dir(path)
	for _, left := range []string{".two.1", ".two.1.old", ".four.2"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, left), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, left, "model.safetensors"), []byte("half"), 0o666))
	}
	require.NoError(t, tr.Load(t.Context(), path))
	for _, name := range []string{"two", "four"} {
		path, err := tr.Save(t.Context(), name)
		require.NoError(t, err)
		require.NoError(t, tr.Load(t.Context(), path))
	}
	require.Equal(t, []string{".four.2", ".two.1", ".two.1.old", "four", "two"}, names(t, dir))

	// A crash between the two renames leaves the earlier one under .old.
	old := filepath.Join(dir, ".two.3.old")
	require.NoError(t, os.Rename(path, old))
	require.NoError(t, tr.Load(t.Context(), old))
}

func TestMomentsOfAnotherShapeAreRefused(t *testing.T) {
	_, tr := saved(t)
	// Moments of a wider embedding, in a checkpoint whose sums are right.
	embed := tr.model.Params()[0]
	shape := embed.Shape
	embed.Shape = []int{shape[0], 1, shape[1]}
	path, err := tr.Save(t.Context(), "reshaped")
	require.NoError(t, err)
	embed.Shape = shape
	require.ErrorContains(t, tr.Load(t.Context(), path), `"exp_avg.`+embed.Name+`" has shape [5 1 4], want [5 4]`)
}

func TestCheckpointNamesAndDirectories(t *testing.T) {
	tr := open(t, reference.New(), tiny, 1, t.TempDir())
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "/", "a/"} {
		_, err := tr.Save(t.Context(), name)
		require.ErrorContains(t, err, "is no plain file name", "%q", name)
		require.Empty(t, names(t, tr.dir))
	}
	tr.dir = ""
	_, err := tr.Save(t.Context(), "a")
	require.EqualError(t, err, "local: Save needs a Dir in the configuration")
	tr.dir = filepath.Join(t.TempDir(), "made", "at need")
	path, err := tr.Save(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(tr.dir, "a"), path)
	t.Chdir(tr.dir)
	tr.dir = "."
	path, err = tr.Save(t.Context(), "b")
	require.NoError(t, err)
	require.Equal(t, "b", path)
	require.ErrorIs(t, tr.Load(t.Context(), "nothing-was-saved-here"), os.ErrNotExist)
}

func TestCancelledCheckpoints(t *testing.T) {
	path, tr := saved(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := tr.Save(ctx, "late")
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"two"}, names(t, filepath.Dir(path)))
	before := read(t, tr)
	require.ErrorIs(t, tr.Load(ctx, path), context.Canceled)
	require.Equal(t, before, read(t, tr))
}

func TestBackendErrorsOfCheckpoints(t *testing.T) {
	boom := errors.New("boom")
	path, _ := saved(t)
	for _, c := range []struct {
		name string
		call func(tr *training) error
	}{
		{"Save", func(tr *training) error {
			_, err := tr.Save(t.Context(), "a")
			return err
		}},
		{"Load", func(tr *training) error { return tr.Load(t.Context(), path) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for operation := 0; ; operation++ {
				b := backendtest.NewAsync(reference.New())
				tr := open(t, b, tiny, 1, t.TempDir())
				require.NoError(t, b.Sync())
				b.FailAfter(operation, boom)
				err := c.call(tr)
				if err == nil {
					require.Greater(t, operation, len(tr.model.Params()))
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
	p := tr.model.Params()[0]
	moments := read(t, tr).Optimizer.Moments[0]
	second := make([]float32, p.Len())
	require.NoError(t, r.Read(second, "exp_avg_sq."+p.Name, 0))
	require.Equal(t, moments.Second, second)
}
