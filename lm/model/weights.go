package model

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// The names of a checkpoint's files. Its weights are in WeightsFile, or in
// several files that IndexFile lists.
const (
	ConfigFile  = "config.json"
	WeightsFile = "model.safetensors"
	IndexFile   = "model.safetensors.index.json"
)

// A LoadOption changes how a model is loaded.
type LoadOption func(*loader)

// WithLogger logs a warning for every tensor with values that are not finite.
// Without it they are loaded silently.
func WithLogger(l *slog.Logger) LoadOption { return func(o *loader) { o.log = l } }

// Frozen loads a model without gradients, in half the memory. It is for models
// that are not trained, or of which only adapters are (see LoRA).
func Frozen() LoadOption { return func(o *loader) { o.frozen = true } }

// loader reads the weights of a model.
type loader struct {
	log     *slog.Logger
	frozen  bool
	pooling Pooling // of PretrainedEncoder
	r       *safetensors.Reader
	path    string
	// name translates the name of a tensor in the file to that of a parameter.
	// It is not wanted if it is known but not needed.
	name func(tensor string) (param string, wanted bool)
}

func newLoader(options []LoadOption) *loader {
	l := &loader{name: func(t string) (string, bool) { return t, true }}
	for _, o := range options {
		o(l)
	}
	return l
}

// open opens the weights of a directory, or a file or index.
func (l *loader) open(path string) (err error) {
	if info, err := os.Stat(path); err != nil {
		return fmt.Errorf("model: %w", err)
	} else if info.IsDir() {
		if path, err = weightsOf(path); err != nil {
			return err
		}
	}
	l.path = path
	if strings.HasSuffix(path, ".json") {
		l.r, err = safetensors.OpenIndex(path)
	} else {
		l.r, err = safetensors.Open(path)
	}
	return err
}

// weightsOf returns the path of a checkpoint's weights: the single file if there
// are both, as in transformers.
func weightsOf(dir string) (string, error) {
	for _, name := range []string{WeightsFile, IndexFile} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("model: %w", err)
		}
	}
	return "", fmt.Errorf("model: %s has neither %s nor %s: %w", dir, WeightsFile, IndexFile, fs.ErrNotExist)
}

// check returns an error unless the opened tensors are those of a model, given
// its number of layers and a function that makes it. It allocates nothing, so
// that a configuration which claims too much memory does not take it.
func (l *loader) check(layers int, build func(m *maker) []*tensor.Param) error {
	if n := len(l.r.Tensors()); n < layers {
		return fmt.Errorf("model: %s: %d tensors for %d layers", l.path, n, layers)
	}
	_, err := l.match(build(&maker{}))
	return err
}

// match returns the name of every parameter's tensor in the file.
func (l *loader) match(params []*tensor.Param) (names []string, err error) {
	fail := func(format string, args ...any) ([]string, error) {
		return nil, fmt.Errorf("model: %s: %w", l.path, fmt.Errorf(format, args...))
	}
	index := map[string]int{}
	for i, p := range params {
		index[p.Name] = i
	}
	names = make([]string, len(params))
	unknown := ""
	for _, t := range l.r.Tensors() {
		name, wanted := l.name(t.Name)
		if !wanted {
			continue
		}
		i, ok := index[name]
		if !ok {
			if unknown == "" {
				unknown = t.Name
			}
			continue
		}
		switch p := params[i]; {
		case names[i] != "":
			return fail("tensors %q and %q are both %q", names[i], t.Name, name)
		case !slices.Equal(t.Shape, p.Shape):
			return fail("tensor %q has shape %v, want %v", t.Name, t.Shape, p.Shape)
		case !t.DType.Float():
			return fail("tensor %q is %s, want F32, F16 or BF16", t.Name, t.DType)
		}
		names[i] = t.Name
	}
	for i, name := range names {
		if name == "" {
			return fail("no tensor %q", params[i].Name)
		}
	}
	if unknown != "" {
		return fail("tensor %q is none of the model's", unknown)
	}
	return names, nil
}

// read sets the values of params. If the tensors do not fit, nothing is changed.
func (l *loader) read(b tensor.Backend, params []*tensor.Param) error {
	names, err := l.match(params)
	if err != nil {
		return err
	}
	for i, p := range params {
		from, bad := 0, 0
		err := writeValues(b, p.Value, func(part []float32) error {
			err := l.r.Read(part, names[i], from)
			from += len(part)
			bad += notFinite(part)
			return err
		})
		if err != nil {
			return err
		}
		if bad > 0 && l.log != nil {
			l.log.Warn("weights are not finite", "file", l.path, "tensor", names[i], "values", bad, "of", p.Len())
		}
	}
	return b.Sync()
}

// notFinite counts the values that are NaN or infinite.
func notFinite(values []float32) (n int) {
	for _, v := range values {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			n++
		}
	}
	return n
}

func (l *loader) close() { l.r.Close() }

// LoadDecoder reads a decoder from a directory that Save wrote, or from a
// Hugging Face checkpoint of model type llama, qwen2 or qwen3: config.json, and
// weights in F32, F16 or BF16 in one file or with an index. Options that this
// package does not know, and missing, unknown or misshapen tensors, are errors
// that name them.
func LoadDecoder(b tensor.Backend, dir string, options ...LoadOption) (*Decoder, error) {
	cfg, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	l := newLoader(options)
	l.name = decoderNames(cfg)
	if err := l.open(dir); err != nil {
		return nil, err
	}
	defer l.close()
	err = l.check(cfg.Layers, func(m *maker) []*tensor.Param {
		_, _ = newDecoder(cfg, m) // the configuration is valid
		return m.params
	})
	if err != nil {
		return nil, err
	}
	d, err := newDecoder(cfg, &maker{b: b, frozen: l.frozen})
	if err != nil {
		return nil, err
	}
	if err := l.read(b, d.params); err != nil {
		d.Free()
		return nil, err
	}
	return d, nil
}

// decoderNames returns a loader.name that leaves out the tensors which a
// decoder's checkpoint may hold besides its parameters.
func decoderNames(c Config) func(string) (string, bool) {
	return func(name string) (string, bool) {
		constant := strings.HasSuffix(name, ".rotary_emb.inv_freq") // in old checkpoints
		tied := c.TieEmbeddings && name == "lm_head.weight"
		return name, !constant && !tied
	}
}

// ReadParams sets the values of params to the tensors of the same names in a
// safetensors file, in F32, F16 or BF16. A missing tensor, one of another shape
// or type, and one that belongs to no parameter are errors that name it, and
// then nothing is changed.
func ReadParams(b tensor.Backend, params []*tensor.Param, path string) error {
	l := newLoader(nil)
	if err := l.open(path); err != nil {
		return err
	}
	defer l.close()
	return l.read(b, params)
}
