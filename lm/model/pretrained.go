package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// LoadEncoder reads an encoder from a directory that Save wrote, or from a Hugging Face
// checkpoint of a …ForSequenceClassification, such as a cross-encoder: see
// ReadEncoderConfig. Errors name the invalid field or tensor.
func LoadEncoder(b tensor.Backend, dir string, options ...LoadOption) (*Encoder, error) {
	return loadEncoder(newLoader(options), dir, nil, &maker{b: b})
}

// WithPooling sets the pooling of PretrainedEncoder, whatever the checkpoint
// says.
func WithPooling(p Pooling) LoadOption { return func(o *loader) { o.pooling = p } }

// WithDenseHead gives what PretrainedEncoder loads the classifier of transformers:
// EncoderConfig.DenseHead says which. Its first layer, BERT's pooler or that of a
// classifier of RoBERTa, is loaded if the checkpoint has it. The pooling of
// sentence-transformers is not read.
func WithDenseHead() LoadOption { return func(o *loader) { o.dense = true } }

// PretrainedEncoder reads the body of a pretrained encoder of model type bert
// (BERT, MiniLM, BGE, E5, GTE and the like), roberta, xlm-roberta (BGE-M3,
// multilingual E5) or modernbert, or of a decoder that is used as one
// (Qwen3-Embedding), from a Hugging Face checkpoint, and gives it a new classifier drawn
// from the seed. Train it as a student, or use it as the sentence encoder that it was,
// with Embed. Its pooling is that of WithPooling, else that of
// sentence-transformers' 1_Pooling/config.json, else that of the family: the mean;
// classifier_pooling of ModernBERT; of a decoder the last token. The checkpoint's
// pooler and heads are not read, except for the layer that ModernBERT has between body
// and classifier. A folder of sentence-transformers with further modules, except for
// one that scales vectors to length 1, is an error, and so is one whose do_lower_case
// its tokenizer does not see to. Errors name the invalid field or tensor.
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
	if e.origin, err = readOrigin(dir, classes == nil); err != nil {
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
	switch {
	case classes != nil: // readPretrained has set it
	case cfg.DenseHead:
		l.name = bertNames(&cfg, false)
	case cfg.Style == LlamaStyle:
		l.name = without() // but for the tables of old checkpoints
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
	if e.head == nil {
		return n
	}
	head := e.params[len(e.params)-n-headTensors].Name
	for _, t := range l.r.Tensors() {
		if name, wanted := l.name(t.Name); wanted && name == head {
			return n
		}
	}
	return n + headTensors
}

// headTensors is how many tensors a pooledHead has.
const headTensors = 2

// readPretrained reads the configuration of a pretrained encoder.
func (l *loader) readPretrained(dir string, classes int) (EncoderConfig, error) {
	path, fields, h, err := readConfig(dir)
	if err != nil {
		return EncoderConfig{}, err
	}
	switch {
	case Style(h.ModelType).bert():
	case h.ModelType == "modernbert":
		l.name, l.prefix = without("decoder.", "classifier."), "model."
	case hfFamilies[h.ModelType].architectures != nil:
		l.name, l.prefix = without("lm_head.", "score."), "model."
	default:
		known := append(slices.Sorted(maps.Keys(hfFamilies)), "bert", "roberta", "xlm-roberta", "modernbert")
		return EncoderConfig{}, optionError(path, "model_type", fmt.Sprintf("%q", h.ModelType), fmt.Sprintf("one of %q", known))
	}
	if l.dense && !Style(h.ModelType).bert() {
		return EncoderConfig{}, optionError(path, "model_type", fmt.Sprintf("%q", h.ModelType), `"bert", "roberta" or "xlm-roberta" with WithDenseHead`)
	}
	if err := checkModules(dir); err != nil {
		return EncoderConfig{}, err
	}
	if l.pooling == "" && !l.dense {
		if l.pooling, err = readPooling(dir); err != nil {
			return EncoderConfig{}, err
		}
	}
	c, err := parseEncoder(fields, path, h, hfLabels{Classes: classes, Pooling: l.pooling, dense: l.dense})
	if err == nil && c.Style.bert() {
		l.name = bertNames(&c, true)
	}
	return c, err
}

// without leaves out the tensors of heads, which begin as given, and the tables of
// old checkpoints.
func without(heads ...string) func(name string) (string, bool) {
	return func(name string) (string, bool) {
		head := slices.ContainsFunc(heads, func(h string) bool { return strings.HasPrefix(name, h) })
		return name, !head && !strings.HasSuffix(name, "rotary_emb.inv_freq")
	}
}

// modulesFile lists the modules of a sentence-transformers checkpoint.
const modulesFile = "modules.json"

// checkModules returns an error if a sentence-transformers checkpoint does more than to
// pool hidden states and scale the result, or lower-cases texts.
func checkModules(dir string) error {
	path := filepath.Join(dir, modulesFile)
	var modules []struct {
		Type string `json:"type"`
	}
	if err := readOptional(path, maxConfig, &modules); err != nil || modules == nil {
		return err
	}
	known := []string{"Transformer", "Pooling", "Normalize"}
	for i, m := range modules {
		if kind := m.Type[strings.LastIndex(m.Type, ".")+1:]; !slices.Contains(known, kind) {
			return optionError(path, fmt.Sprintf("[%d].type", i), fmt.Sprintf("%q", m.Type), fmt.Sprintf("one that ends in one of %q", known))
		}
	}
	return checkCase(dir)
}

// sentenceFile has the settings of the module Transformer.
const sentenceFile = "sentence_bert_config.json"

// checkCase returns an error if sentence-transformers lower-cases texts before it gives
// them to a tokenizer that does not do so itself.
func checkCase(dir string) error {
	path := filepath.Join(dir, sentenceFile)
	var settings struct {
		Lower bool `json:"do_lower_case"`
	}
	if err := readOptional(path, maxConfig, &settings); err != nil || !settings.Lower {
		return err
	}
	var tokenizer struct {
		Normalizer *caseNormalizer `json:"normalizer"`
	}
	const maxTokenizer = 256 << 20
	if err := readOptional(filepath.Join(dir, "tokenizer.json"), maxTokenizer, &tokenizer); err != nil {
		return err
	}
	if !tokenizer.Normalizer.lowers() {
		return optionError(path, "do_lower_case", true, "false, or a tokenizer.json whose normalizer lower-cases: nothing else does it here")
	}
	return nil
}

// caseNormalizer is the part of a normaliser that says whether it lower-cases.
type caseNormalizer struct {
	Type  string            `json:"type"`
	Lower bool              `json:"lowercase"` // of BertNormalizer
	Parts []*caseNormalizer `json:"normalizers"`
}

func (n *caseNormalizer) lowers() bool {
	return n != nil && (n.Type == "Lowercase" || n.Lower || slices.ContainsFunc(n.Parts, (*caseNormalizer).lowers))
}

// bertNames translates the names of tensors of BERT, RoBERTa and XLM-R to those of c's
// parameters. They may have the prefix of a model with a head, or LayerNorm's old
// names. Heads that c lacks are left out, and with fresh the last layer.
func bertNames(c *EncoderConfig, fresh bool) func(name string) (string, bool) {
	prefix, style, dense := c.bertPrefix(), c.Style, c.DenseHead
	return func(name string) (string, bool) {
		switch {
		case strings.HasPrefix(name, "cls."), strings.HasPrefix(name, "lm_head."):
			return "", false
		case strings.HasPrefix(name, "classifier."):
			return name, dense && !(fresh && strings.HasPrefix(name, bertFamilies[style].last+"."))
		}
		name = strings.TrimPrefix(strings.TrimPrefix(name, "bert."), "roberta.")
		if name == "embeddings.position_ids" || strings.HasPrefix(name, "pooler.") && !(dense && style == BERTStyle) {
			return "", false
		}
		if norm, ok := strings.CutSuffix(name, ".LayerNorm.gamma"); ok {
			name = norm + ".LayerNorm.weight"
		}
		if norm, ok := strings.CutSuffix(name, ".LayerNorm.beta"); ok {
			name = norm + ".LayerNorm.bias"
		}
		return prefix + name, true
	}
}

// poolingModes are the fields of sentence-transformers before version 6.
var poolingModes = map[string]Pooling{
	"pooling_mode_mean_tokens": MeanPooling, "pooling_mode_cls_token": FirstPooling, "pooling_mode_lasttoken": LastPooling,
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
	pooling, err := poolingMode(path, modes)
	if err == nil && pooling == MeanPooling && string(modes["include_prompt"]) == "false" {
		err = optionError(path, "include_prompt", false, "true: here the mean is over all tokens, those of a prompt included")
	}
	return pooling, err
}

// poolingMode returns the pooling that is on.
func poolingMode(path string, modes map[string]json.RawMessage) (pooling Pooling, err error) {
	if text, ok := modes["pooling_mode"]; ok { // sentence-transformers 6
		mode, ok := map[string]Pooling{`"mean"`: MeanPooling, `"cls"`: FirstPooling, `"lasttoken"`: LastPooling}[string(text)]
		if !ok {
			return "", optionError(path, "pooling_mode", string(text), `"mean", "cls" or "lasttoken"`)
		}
		return mode, nil
	}
	for field, v := range modes {
		if string(v) != "true" || !strings.HasPrefix(field, "pooling_mode_") {
			continue
		}
		mode, ok := poolingModes[field]
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
