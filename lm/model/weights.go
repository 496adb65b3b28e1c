package model

import (
	"cmp"
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

// WithLogger logs a warning for every tensor with values that are not finite,
// and for an output projection that is said to be tied and is not. Without it
// they are loaded silently.
func WithLogger(l *slog.Logger) LoadOption { return func(o *loader) { o.log = l } }

// Frozen loads a model without gradients, in half the memory. It is for models
// that are not trained, or of which only adapters are (see LoRA).
func Frozen() LoadOption { return func(o *loader) { o.frozen = true } }

// loader reads the weights of a model.
type loader struct {
	log     *slog.Logger
	frozen  bool
	pooling Pooling // of PretrainedEncoder, as dense
	dense   bool
	r       *safetensors.Reader
	path    string
	// name translates the name of a tensor in the file to that of a parameter.
	// It is not wanted if it is known but not needed.
	name func(tensor string) (param string, wanted bool)
	// prefix is what names in the file may lack.
	prefix string
	ends   TokenIDs // of a decoder, see Decoder.EOS
}

func newLoader(options []LoadOption) *loader {
	l := &loader{name: func(t string) (string, bool) { return t, true }}
	for _, o := range options {
		o(l)
	}
	return l
}

// open opens the weights of a directory, or a file.
func (l *loader) open(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if info.IsDir() {
		if path, err = weightsOf(path); err != nil {
			return err
		}
	}
	return l.openFile(path)
}

// openFile opens a file of weights, or an index of several.
func (l *loader) openFile(path string) (err error) {
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
	hint := ""
	if _, err := os.Stat(filepath.Join(dir, "pytorch_model.bin")); err == nil {
		hint = ", only pytorch_model.bin, which transformers can save again as safetensors"
	}
	return "", fmt.Errorf("model: %s has neither %s nor %s%s: %w", dir, WeightsFile, IndexFile, hint, fs.ErrNotExist)
}

// check returns an error unless the opened tensors are those of a model, given
// its number of layers and a function that makes it, and the model's parameters
// without values. It takes no memory for values, so that a configuration cannot
// claim more than the weights have.
func (l *loader) check(layers int, build func(m *maker) []*tensor.Param) ([]*tensor.Param, error) {
	if n := len(l.r.Tensors()); n < layers {
		return nil, fmt.Errorf("model: %s: %d tensors for %d layers", l.path, n, layers)
	}
	params := build(&maker{})
	_, err := l.match(params)
	return params, err
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
		if !ok && l.prefix != "" {
			i, ok = index[l.prefix+name]
		}
		if !ok {
			unknown = cmp.Or(unknown, t.Name)
			continue
		}
		switch p := params[i]; {
		case names[i] != "":
			return fail("tensors %q and %q are both %q", names[i], t.Name, params[i].Name)
		case !slices.Equal(t.Shape, p.Shape):
			return fail("tensor %q has shape %v, want %v", t.Name, t.Shape, p.Shape)
		}
		if err := t.DType.CheckFloat(); err != nil {
			return fail("tensor %q %w", t.Name, err)
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

func (l *loader) close() {
	if l.r != nil {
		l.r.Close()
	}
}

// LoadDecoder reads a decoder from a directory that Save wrote, or from a
// Hugging Face checkpoint of model type llama, mistral, qwen2 or qwen3:
// config.json, and weights in F32, F16, BF16 or F64 in one file or with an index.
// Options that this package does not know, and missing, unknown or misshapen
// tensors, are errors that name them.
//
// As in transformers, names may lack "model.", as those of a body that was saved
// alone do. If config.json ties the output projection to the embedding, but the
// weights have both and they differ, they are not tied; Config then says so, and
// WithLogger warns.
func LoadDecoder(b tensor.Backend, dir string, options ...LoadOption) (*Decoder, error) {
	l := newLoader(options)
	defer l.close()
	cfg, _, err := l.openDecoder(dir)
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
	if d.origin, err = readOrigin(dir, false); err != nil {
		d.Free()
		return nil, err
	}
	d.origin.ends = l.ends
	return d, nil
}

// openDecoder opens a directory and checks that it holds a decoder. It returns
// the decoder's configuration, and its parameters without values.
func (l *loader) openDecoder(dir string) (Config, []*tensor.Param, error) {
	cfg, err := ReadConfig(dir)
	if err != nil {
		return cfg, nil, err
	}
	if l.ends, err = readEnds(dir); err != nil {
		return cfg, nil, err
	}
	// Those that the model has no output for are left out.
	l.ends = slices.DeleteFunc(l.ends, func(id int32) bool { return id < 0 || int(id) >= cfg.Vocab })
	if err := l.open(dir); err != nil {
		return cfg, nil, err
	}
	l.prefix = "model."
	if cfg.TieEmbeddings {
		if cfg.TieEmbeddings, err = l.tied(); err != nil {
			return cfg, nil, err
		}
	}
	_, head := l.r.Lookup(headName)
	embed := l.embedding()
	l.name = func(name string) (string, bool) {
		constant := strings.HasSuffix(name, "rotary_emb.inv_freq") // in old checkpoints
		if cfg.TieEmbeddings && head && name == headName {
			return embedName, embed == "" // one of the two is enough
		}
		return name, !constant
	}
	params, err := l.check(cfg.Layers, func(m *maker) []*tensor.Param {
		_, _ = newDecoder(cfg, m) // the configuration is valid
		return m.params
	})
	return cfg, params, err
}

const (
	embedName = "model.embed_tokens.weight"
	headName  = "lm_head.weight"
)

// embedding returns the name that the embedding has in the file; empty if it is
// not there.
func (l *loader) embedding() string {
	for _, name := range []string{embedName, strings.TrimPrefix(embedName, "model.")} {
		if _, ok := l.r.Lookup(name); ok {
			return name
		}
	}
	return ""
}

// tied reports whether the output projection of a file is the embedding: if it
// has only one of them, or both with the same values. If they differ it warns.
func (l *loader) tied() (bool, error) {
	name := l.embedding()
	embed, _ := l.r.Lookup(name)
	head, ok := l.r.Lookup(headName)
	if !ok || name == "" {
		return true, nil
	}
	same := slices.Equal(embed.Shape, head.Shape)
	var a, b [1 << 12]float32
	for from := 0; same && from < head.Len(); from += len(a) {
		n := min(len(a), head.Len()-from)
		if err := errors.Join(l.r.Read(a[:n], name, from), l.r.Read(b[:n], headName, from)); err != nil {
			return false, err
		}
		same = slices.Equal(a[:n], b[:n])
	}
	if !same && l.log != nil {
		l.log.Warn("tie_word_embeddings is true, but the output projection is not the embedding: they are not tied",
			"file", l.path, "tensor", headName, "embedding", name)
	}
	return same, nil
}

// ReadParams sets the values of params to the tensors of the same names in a
// safetensors file, in F32, F16, BF16 or F64. A missing tensor, one of another shape
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
