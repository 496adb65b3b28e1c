package model

import (
	"encoding/json"
	"fmt"
	"strings"
)

// hfBERT is the config.json of an encoder with BERT's blocks.
type hfBERT struct {
	hfHeader
	hfShape
	hfLabelNames

	TokenTypes *int     `json:"type_vocab_size"`
	NormEps    *float64 `json:"layer_norm_eps"`

	// Options that must have their usual values.
	Positions string `json:"position_embedding_type,omitempty"`
	Decoder   bool   `json:"is_decoder,omitempty"`

	TieEmbed any `json:"tie_word_embeddings,omitempty"` // of a head that is not read
}

// bertFamilies are the model types with BERT's blocks, as transformers has them.
var bertFamilies = map[Style]struct {
	name        string // begins the names of the architectures
	vocab       int    // the usual one
	body        string // begins the names of the body's tensors in a classifier
	dense, last string // the two layers of a classifier
}{
	BERTStyle:       {"Bert", 30522, "bert.", "bert.pooler.dense", "classifier"},
	RoBERTaStyle:    {"Roberta", 50265, "roberta.", "classifier.dense", "classifier.out_proj"},
	XLMRobertaStyle: {"XLMRoberta", 30522, "roberta.", "classifier.dense", "classifier.out_proj"},
}

// bertSuffixes end the architectures whose tensors include an encoder's.
var bertSuffixes = []string{"Model", "ForMaskedLM", "ForPreTraining", classifierSuffix}

// decoderSuffix ends the architectures of decoders.
const decoderSuffix = "ForCausalLM"

// encoderConfig translates c, which has its defaults filled in.
func encoderConfig(c EncoderConfig) any {
	labels := &hfLabels{Classes: c.Classes, Pooling: c.Pooling, Causal: c.Causal}
	if c.Style == ModernBERTStyle {
		return modernBERTConfig(c)
	}
	if c.Style == LlamaStyle {
		h := decoderConfig(c.Config)
		if c.Causal && c.Pooling == LastPooling {
			h.Architectures = []string{strings.TrimSuffix(h.Architectures[0], decoderSuffix) + classifierSuffix}
			h.hfLabelNames = labelNames(c.Classes)
			return h
		}
		h.Architectures = nil // transformers has no such model
		h.Encoder = labels
		return h
	}
	h := &hfBERT{
		hfHeader: hfHeader{ModelType: string(c.Style), Architectures: []string{bertFamilies[c.Style].name + "Model"}, Encoder: labels},
		hfShape: hfShape{
			Vocab:  c.Vocab,
			Dim:    c.Dim,
			Layers: c.Layers,
			Heads:  c.Heads,
			FF:     c.FF,
			MaxSeq: c.FirstPosition + c.MaxSeq,
			Act:    "gelu",
			DType:  "float32",
		},
		TokenTypes: &c.TokenTypes,
		NormEps:    &c.NormEps,
	}
	if c.DenseHead { // the whole is a model of transformers
		h.Architectures = []string{bertFamilies[c.Style].name + classifierSuffix}
		h.Encoder, h.hfLabelNames = nil, labelNames(c.Classes)
	}
	if c.FirstPosition > 0 {
		h.Pad = fmt.Append(nil, c.FirstPosition-1)
	}
	return h
}

// ReadEncoderConfig reads an encoder's configuration, with defaults filled in,
// from a directory that Save wrote, or from a Hugging Face checkpoint of a
// …ForSequenceClassification: of BERT, RoBERTa, XLM-R, ModernBERT, or of a decoder such
// as Qwen3's. Errors name the invalid field.
func ReadEncoderConfig(dir string) (EncoderConfig, error) {
	path, fields, h, err := readConfig(dir)
	if err != nil {
		return EncoderConfig{}, err
	}
	if h.Encoder != nil {
		return parseEncoder(fields, path, h, *h.Encoder)
	}
	if _, ok := h.classifier(); !ok {
		return EncoderConfig{}, fmt.Errorf("model: %s is not an encoder's with a classifier: architectures is %q, want a …%s (PretrainedEncoder loads the bodies of encoders, LoadDecoder decoders)", path, h.Architectures, classifierSuffix)
	}
	n, err := classes(fields, path)
	if err != nil {
		return EncoderConfig{}, err
	}
	return parseEncoder(fields, path, h, hfLabels{Classes: n, dense: true})
}

// parseEncoder translates a config.json, with labels for the classifier. Without
// labels.Pooling, pooling is that of the family.
func parseEncoder(fields map[string]json.RawMessage, path string, h *hfHeader, labels hfLabels) (c EncoderConfig, err error) {
	switch {
	case Style(h.ModelType).bert():
		c, err = parseBERT(fields, path, h)
		c.DenseHead = labels.dense
	case h.ModelType == "modernbert":
		c, err = parseModernBERT(fields, path, h)
	case h.Encoder != nil:
		c.Config, err = parseDecoder(fields, path, h)
		c.Causal = h.Encoder.Causal
	default:
		as := *h
		if family, ok := h.classifier(); ok {
			as.Architectures = []string{family + decoderSuffix}
		}
		c.Config, err = parseDecoder(fields, path, &as)
		c.Causal, c.Pooling, c.TieEmbeddings = true, LastPooling, false // to an output embedding that it lacks
	}
	if err != nil {
		return EncoderConfig{}, err
	}
	c.Classes = labels.Classes
	if labels.Pooling != "" {
		c.Pooling = labels.Pooling
	}
	if err := c.Validate(); err != nil {
		return EncoderConfig{}, fmt.Errorf("%s: %w", path, err)
	}
	return c.withDefaults(), nil
}

func parseBERT(fields map[string]json.RawMessage, path string, header *hfHeader) (EncoderConfig, error) {
	style := Style(header.ModelType)
	family := bertFamilies[style]
	var known []string
	for _, suffix := range bertSuffixes {
		known = append(known, family.name+suffix)
	}
	if err := header.checkArchitecture(path, known...); err != nil {
		return EncoderConfig{}, err
	}
	// What transformers takes for fields that are absent or null.
	h := hfBERT{hfShape: hfShape{Vocab: family.vocab, Dim: 768, Layers: 12, Heads: 12, FF: 3072, MaxSeq: 512}}
	if err := configVocabulary.decode(fields, &h); err != nil {
		return EncoderConfig{}, fmt.Errorf("model: %s: %w", path, err)
	}
	switch {
	case h.Act != "" && h.Act != "gelu" && h.Act != "gelu_python": // two names of one function
		return EncoderConfig{}, optionError(path, "hidden_act", fmt.Sprintf("%q", h.Act), `"gelu"`)
	case h.Positions != "" && h.Positions != "absolute":
		return EncoderConfig{}, optionError(path, "position_embedding_type", fmt.Sprintf("%q", h.Positions), `"absolute"`)
	case h.Decoder:
		return EncoderConfig{}, optionError(path, "is_decoder", true, "false")
	}
	first := 0
	if style != BERTStyle {
		pad := 1
		if h.Pad != nil && json.Unmarshal(h.Pad, &pad) != nil || pad < 0 || pad >= h.MaxSeq-1 {
			return EncoderConfig{}, optionError(path, "pad_token_id", string(h.Pad), "a position with others after it (max_position_embeddings)")
		}
		first = pad + 1
	}
	return EncoderConfig{
		Config: Config{
			Vocab:   h.Vocab,
			Dim:     h.Dim,
			Layers:  h.Layers,
			Heads:   h.Heads,
			KVHeads: h.Heads,
			FF:      h.FF,
			MaxSeq:  h.MaxSeq - first,
			NormEps: or(h.NormEps, 1e-12),
		},
		Style:         style,
		TokenTypes:    or(h.TokenTypes, 2),
		FirstPosition: first,
	}, nil
}
