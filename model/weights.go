package model

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/model/safetensors"
	"github.com/stepwise-rl/stepwise/tensor"
)

// WeightsFile and ConfigFile are the names of a checkpoint's files.
const (
	WeightsFile = "model.safetensors"
	ConfigFile  = "config.json"
)

// Save writes the decoder's weights in float32 and its configuration into a
// directory, which it makes if need be, as Hugging Face's transformers reads
// them.
func (d *Decoder) Save(dir string) error {
	return save(dir, d.b, d.params, decoderConfig(d.cfg))
}

// LoadDecoder reads a decoder from a directory that Save wrote, or from a
// Hugging Face checkpoint of model type llama, qwen2 or qwen3 that is one
// model.safetensors in F32 or BF16. Settings that this package does not know,
// and missing, unknown or misshapen tensors, are errors that name them.
func LoadDecoder(b tensor.Backend, dir string) (*Decoder, error) {
	cfg, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, WeightsFile)
	if err := checkFile(path, cfg.Layers, ignored(cfg), func(m *maker) { _, _ = newDecoder(cfg, m) }); err != nil {
		return nil, err
	}
	d, err := newDecoder(cfg, &maker{b: b})
	if err != nil {
		return nil, err
	}
	if err := d.LoadWeights(path); err != nil {
		d.Free()
		return nil, err
	}
	return d, nil
}

// LoadWeights sets the decoder's parameters to those in a safetensors file.
// If its header does not fit the decoder, nothing is changed.
func (d *Decoder) LoadWeights(path string) error {
	return ReadParams(d.b, d.params, path, ignored(d.cfg)...)
}

// ignored lists the ends of the names of tensors that a decoder's checkpoint
// may hold besides its parameters.
func ignored(c Config) []string {
	names := []string{".rotary_emb.inv_freq"} // a constant that old checkpoints hold
	if c.TieEmbeddings {
		names = append(names, "lm_head.weight")
	}
	return names
}

// checkFile returns an error unless the tensors of a safetensors file are
// those of a model, given its layers and what makes it. A configuration that
// asks for more memory than there is must not take it.
func checkFile(path string, layers int, ignore []string, build func(m *maker)) error {
	r, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	if n := len(r.Tensors()); n < layers {
		return fmt.Errorf("model: %s: %d tensors for %d layers", path, n, layers)
	}
	var m maker
	build(&m)
	if err := checkParams(m.params, r, ignore); err != nil {
		return fmt.Errorf("model: %s: %w", path, err)
	}
	return nil
}

func save(dir string, b tensor.Backend, params []*tensor.Param, config any) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := WriteParams(b, params, filepath.Join(dir, WeightsFile)); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, ConfigFile), config)
}

// WriteParams writes the values of params to a safetensors file in float32
// and syncs it to disk.
func WriteParams(b tensor.Backend, params []*tensor.Param, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	infos := make([]safetensors.Tensor, len(params))
	for i, p := range params {
		infos[i] = safetensors.Tensor{Name: p.Name, DType: safetensors.F32, Shape: p.Shape}
	}
	buffered := bufio.NewWriterSize(f, 1<<20)
	w, err := safetensors.NewWriter(buffered, infos, map[string]string{"format": "pt"})
	if err != nil {
		return err
	}
	for _, p := range params {
		if err := readValues(b, p.Value, w.Write); err != nil {
			return fmt.Errorf("model: %s: tensor %q: %w", path, p.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// ReadParams sets the values of params to the tensors of the same names in a
// safetensors file of F32 or BF16. A missing tensor, one of another shape or
// type, and one that is no parameter (unless its name ends in one of ignore)
// are errors that name it, before anything is changed.
func ReadParams(b tensor.Backend, params []*tensor.Param, path string, ignore ...string) error {
	r, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := checkParams(params, r, ignore); err != nil {
		return fmt.Errorf("model: %s: %w", path, err)
	}
	for _, p := range params {
		from := 0
		err := writeValues(b, p.Value, func(part []float32) error {
			err := r.Read(part, p.Name, from)
			from += len(part)
			return err
		})
		if err != nil {
			return err
		}
	}
	return b.Sync()
}

// checkParams returns an error unless params and the tensors of r fit.
func checkParams(params []*tensor.Param, r *safetensors.Reader, ignore []string) error {
	known := map[string]bool{}
	for _, p := range params {
		known[p.Name] = true
		t, ok := r.Lookup(p.Name)
		switch {
		case !ok:
			return fmt.Errorf("no tensor %q", p.Name)
		case !slices.Equal(t.Shape, p.Shape):
			return fmt.Errorf("tensor %q has shape %v, want %v", p.Name, t.Shape, p.Shape)
		case t.DType != safetensors.F32 && t.DType != safetensors.BF16:
			return fmt.Errorf("tensor %q is %s, want F32 or BF16", p.Name, t.DType)
		}
	}
	for _, t := range r.Tensors() {
		if !known[t.Name] && !slices.ContainsFunc(ignore, func(end string) bool { return strings.HasSuffix(t.Name, end) }) {
			return fmt.Errorf("tensor %q is none of the model's", t.Name)
		}
	}
	return nil
}
