package model

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/infile"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// LoadEncoder reads an encoder from a directory that Save wrote. Errors name the
// invalid field or tensor.
func LoadEncoder(b tensor.Backend, dir string, options ...LoadOption) (*Encoder, error) {
	return loadEncoder(newLoader(options), dir, nil, &maker{b: b})
}

// WithPooling sets the pooling of PretrainedEncoder, whatever the checkpoint
// says.
func WithPooling(p Pooling) LoadOption { return func(o *loader) { o.pooling = p } }

// PretrainedEncoder reads the body of a pretrained encoder of model type bert
// (BERT, MiniLM, BGE, E5, GTE and the like) or modernbert, or of a decoder that is
// used as one (Qwen3-Embedding), from a Hugging Face checkpoint, and gives it a new
// classifier drawn from the seed. Train it as a student, or use it as the sentence
// encoder that it was, with Embed. Its pooling is that of WithPooling, else that of
// sentence-transformers' 1_Pooling/config.json, else that of the family: the mean;
// classifier_pooling of ModernBERT; of a decoder the last token. The checkpoint's
// pooler and heads are not read, except for the layer that ModernBERT has between body
// and classifier. A folder of sentence-transformers with further modules, except for
// one that scales vectors to length 1, is an error. Errors name the invalid field or
// tensor.
func PretrainedEncoder(b tensor.Backend, dir string, classes int, seed uint64, options ...LoadOption) (*Encoder, error) {
	return loadEncoder(newLoader(options), dir, &classes, &maker{b: b, seed: seed})
}

// loadEncoder reads an encoder, or with classes the body of one.
func loadEncoder(l *loader, dir string, classes *int, m *maker) (*Encoder, error) {
	defer l.close()
	cfg, loaded, err := l.openEncoder(dir, classes)
	if err != nil {
		return nil, err
	}
	m.frozen, m.randomHead = l.frozen, classes != nil
	e, err := newEncoder(cfg, m)
	if err != nil {
		return nil, err
	}
	if err := l.read(m.b, e.params[:len(loaded)]); err != nil {
		e.Free()
		return nil, err
	}
	return e, nil
}

// openEncoder opens a directory and checks that it holds an encoder, or with
// classes the body of one. It returns the encoder's configuration, and the
// parameters to load, without values: the first ones of the encoder.
func (l *loader) openEncoder(dir string, classes *int) (cfg EncoderConfig, loaded []*tensor.Param, err error) {
	if classes == nil {
		cfg, err = ReadEncoderConfig(dir)
	} else {
		cfg, err = l.readPretrained(dir, *classes)
	}
	if err != nil {
		return cfg, nil, err
	}
	if err := l.open(dir); err != nil {
		return cfg, nil, err
	}
	loaded, err = l.check(cfg.Layers, func(m *maker) []*tensor.Param {
		e, _ := newEncoder(cfg, m) // the configuration is valid
		if classes != nil {
			return m.params[:len(m.params)-l.fresh(e)]
		}
		return m.params
	})
	return cfg, loaded, err
}

// fresh returns how many parameters, the last ones, a checkpoint of a body lacks: those
// of the classifier, and of the head before it.
func (l *loader) fresh(e *Encoder) int {
	n := 1
	if e.score.Bias != nil {
		n++
	}
	if _, ok := l.r.Lookup(modernBERTHead); e.head != nil && !ok {
		n += 2
	}
	return n
}

// modernBERTHead is a tensor of a ModernBERT with a head.
const modernBERTHead = "head.dense.weight"

// readPretrained reads the configuration of a pretrained encoder.
func (l *loader) readPretrained(dir string, classes int) (EncoderConfig, error) {
	path, fields, h, err := readConfig(dir)
	if err != nil {
		return EncoderConfig{}, err
	}
	switch {
	case h.ModelType == "bert":
		l.name = bertNames
	case h.ModelType == "modernbert":
		l.name, l.prefix = without("decoder.", "classifier."), "model."
	case hfFamilies[h.ModelType].architectures != nil:
		l.name, l.prefix = without("lm_head.", "score."), "model."
	default:
		known := append(slices.Sorted(maps.Keys(hfFamilies)), "bert", "modernbert")
		return EncoderConfig{}, optionError(path, "model_type", fmt.Sprintf("%q", h.ModelType), fmt.Sprintf("one of %q", known))
	}
	if err := checkModules(dir); err != nil {
		return EncoderConfig{}, err
	}
	if l.pooling == "" {
		if l.pooling, err = readPooling(dir); err != nil {
			return EncoderConfig{}, err
		}
	}
	return parseEncoder(fields, path, h, hfLabels{Classes: classes, Pooling: l.pooling})
}

// without leaves out the tensors of heads, which begin as given, and the tables of
// old checkpoints.
func without(heads ...string) func(name string) (string, bool) {
	return func(name string) (string, bool) {
		head := slices.ContainsFunc(heads, func(h string) bool { return strings.HasPrefix(name, h) })
		return name, !head && !strings.HasSuffix(name, "rotary_emb.inv_freq")
	}
}

// checkModules returns an error if a sentence-transformers checkpoint does more than to
// pool hidden states and scale the result.
func checkModules(dir string) error {
	path := filepath.Join(dir, "modules.json")
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var modules []struct {
		Type string `json:"type"`
	}
	if err := infile.JSON(text, &modules); err != nil {
		return fmt.Errorf("model: %s: %w", path, err)
	}
	known := []string{"Transformer", "Pooling", "Normalize"}
	for i, m := range modules {
		if kind := m.Type[strings.LastIndex(m.Type, ".")+1:]; !slices.Contains(known, kind) {
			return optionError(path, fmt.Sprintf("[%d].type", i), fmt.Sprintf("%q", m.Type), fmt.Sprintf("one that ends in one of %q", known))
		}
	}
	return nil
}

// bertNames translates the names of BERT's tensors, which may have the prefix of
// a model with a head, or LayerNorm's old names.
func bertNames(name string) (string, bool) {
	if strings.HasPrefix(name, "cls.") {
		return "", false
	}
	name = strings.TrimPrefix(name, "bert.")
	if strings.HasPrefix(name, "pooler.") || name == "embeddings.position_ids" {
		return "", false
	}
	if norm, ok := strings.CutSuffix(name, ".LayerNorm.gamma"); ok {
		return norm + ".LayerNorm.weight", true
	}
	if norm, ok := strings.CutSuffix(name, ".LayerNorm.beta"); ok {
		return norm + ".LayerNorm.bias", true
	}
	return name, true
}

// readPooling reads the pooling of a sentence-transformers checkpoint; empty if
// it does not say.
func readPooling(dir string) (Pooling, error) {
	path, modes, err := readFields(filepath.Join(dir, "1_Pooling"), ConfigFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	known := map[string]Pooling{"pooling_mode_mean_tokens": MeanPooling, "pooling_mode_cls_token": FirstPooling, "pooling_mode_lasttoken": LastPooling}
	var pooling Pooling
	for field, v := range modes {
		if string(v) != "true" || !strings.HasPrefix(field, "pooling_mode_") {
			continue
		}
		mode, ok := known[field]
		if !ok || pooling != "" {
			return "", optionError(path, field, true, "pooling_mode_mean_tokens, pooling_mode_cls_token or pooling_mode_lasttoken alone")
		}
		pooling = mode
	}
	if pooling == "" {
		return "", fmt.Errorf("model: %s: no pooling mode is on", path)
	}
	return pooling, nil
}
