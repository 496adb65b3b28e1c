package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// LoadEncoder reads an encoder from a directory that Save wrote. Errors name the
// invalid field or tensor.
func LoadEncoder(b tensor.Backend, dir string, options ...LoadOption) (*Encoder, error) {
	cfg, err := ReadEncoderConfig(dir)
	if err != nil {
		return nil, err
	}
	return loadEncoder(dir, cfg, newLoader(options), &maker{b: b})
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
	path, text, h, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	if h.ModelType != "bert" {
		return nil, optionError(path, "model_type", fmt.Sprintf("%q", h.ModelType), `"bert"`)
	}
	l := newLoader(options)
	l.name = bertNames
	if l.pooling == "" {
		if l.pooling, err = readPooling(dir); err != nil {
			return nil, err
		}
	}
	cfg, err := parseEncoder(text, path, h, hfLabels{Classes: classes, Pooling: l.pooling})
	if err != nil {
		return nil, err
	}
	return loadEncoder(dir, cfg, l, &maker{b: b, seed: seed, randomHead: true})
}

// loadEncoder reads all parameters except those that m draws at random.
func loadEncoder(dir string, cfg EncoderConfig, l *loader, m *maker) (*Encoder, error) {
	m.frozen = l.frozen
	if err := l.open(dir); err != nil {
		return nil, err
	}
	defer l.close()
	loaded := func(params []*tensor.Param) []*tensor.Param {
		if m.randomHead {
			return params[:len(params)-2] // score.weight and score.bias
		}
		return params
	}
	err := l.check(cfg.Layers, func(m *maker) []*tensor.Param {
		_, _ = newEncoder(cfg, m) // the configuration is valid
		return loaded(m.params)
	})
	if err != nil {
		return nil, err
	}
	e, err := newEncoder(cfg, m)
	if err != nil {
		return nil, err
	}
	if err := l.read(m.b, loaded(e.params)); err != nil {
		e.Free()
		return nil, err
	}
	return e, nil
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
	path := filepath.Join(dir, "1_Pooling", ConfigFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("model: %w", err)
	}
	var modes map[string]any
	if err := json.Unmarshal(text, &modes); err != nil {
		return "", fmt.Errorf("model: %s: %w", path, err)
	}
	known := map[string]Pooling{"pooling_mode_mean_tokens": MeanPooling, "pooling_mode_cls_token": FirstPooling}
	var pooling Pooling
	for field, v := range modes {
		if on, _ := v.(bool); !on || !strings.HasPrefix(field, "pooling_mode_") {
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
