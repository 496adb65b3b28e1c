package model

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

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
// (BERT, MiniLM, BGE, E5, GTE and the like) from a Hugging Face checkpoint, and
// gives it a new classifier drawn from the seed. Train it as a student, or use
// it as the sentence encoder that it was, with Embed. Its pooling is that of
// WithPooling, else that of sentence-transformers' 1_Pooling/config.json, else
// the mean. The checkpoint's pooler and heads are not read. Errors name the
// invalid field or tensor.
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
		_, _ = newEncoder(cfg, m) // the configuration is valid
		if classes != nil {
			return m.params[:len(m.params)-2] // without score.weight and score.bias
		}
		return m.params
	})
	return cfg, loaded, err
}

// readPretrained reads the configuration of a pretrained encoder.
func (l *loader) readPretrained(dir string, classes int) (EncoderConfig, error) {
	path, fields, h, err := readConfig(dir)
	if err != nil {
		return EncoderConfig{}, err
	}
	if h.ModelType != "bert" {
		return EncoderConfig{}, optionError(path, "model_type", fmt.Sprintf("%q", h.ModelType), `"bert"`)
	}
	l.name = bertNames
	if l.pooling == "" {
		if l.pooling, err = readPooling(dir); err != nil {
			return EncoderConfig{}, err
		}
	}
	return parseEncoder(fields, path, h, hfLabels{Classes: classes, Pooling: l.pooling})
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
	known := map[string]Pooling{"pooling_mode_mean_tokens": MeanPooling, "pooling_mode_cls_token": FirstPooling}
	var pooling Pooling
	for field, v := range modes {
		if string(v) != "true" || !strings.HasPrefix(field, "pooling_mode_") {
			continue
		}
		mode, ok := known[field]
		if !ok || pooling != "" {
			return "", optionError(path, field, true, "pooling_mode_mean_tokens or pooling_mode_cls_token alone")
		}
		pooling = mode
	}
	if pooling == "" {
		return "", fmt.Errorf("model: %s: no pooling mode is on", path)
	}
	return pooling, nil
}
