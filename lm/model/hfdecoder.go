package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// hfDecoder is a decoder's config.json.
type hfDecoder struct {
	hfHeader
	hfShape
	hfLabelNames // of an encoder

	KVHeads   *int            `json:"num_key_value_heads"`
	HeadDim   *int            `json:"head_dim,omitempty"`
	TieEmbed  *bool           `json:"tie_word_embeddings"`
	NormEps   *float64        `json:"rms_norm_eps"`
	RopeTheta *float64        `json:"rope_theta,omitempty"`
	Scaling   json.RawMessage `json:"rope_scaling,omitempty"`    // transformers 4
	Rope      json.RawMessage `json:"rope_parameters,omitempty"` // transformers 5
	Partial   *float64        `json:"partial_rotary_factor,omitempty"`
	Original  *int            `json:"original_max_position_embeddings,omitempty"`

	// Which layers see only the last tokens: none may.
	Kinds        []string `json:"layer_types,omitempty"`
	UseWindow    bool     `json:"use_sliding_window,omitempty"`
	Window       *int     `json:"sliding_window,omitempty"`
	WindowLayers *int     `json:"max_window_layers,omitempty"`

	// Decoder is whether the model is one part of another: true changes
	// nothing in these families.
	Decoder *bool `json:"is_decoder,omitempty"`

	// Ours, for what the model type does not imply.
	QKNorm  *bool `json:"qk_norm,omitempty"`
	QKVBias *bool `json:"qkv_bias,omitempty"`
}

// hfFamily is what a decoder's model type implies.
type hfFamily struct {
	architectures   []string // of the decoder, and of its body alone
	qkNorm, qkvBias bool
	window          windowRule
	// What transformers takes for fields that are absent or null. 0 KVHeads
	// and HeadDim stand for num_attention_heads and
	// hidden_size/num_attention_heads.
	shape            hfShape
	kvHeads, headDim int
}

// windowRule is how a family says which layers see only the last tokens.
type windowRule int

const (
	windowNone  windowRule = iota // none do, whatever the file says
	windowAll                     // all, if sliding_window is set
	windowUpper                   // those from max_window_layers on, if use_sliding_window is set too
)

var hfFamilies = map[string]hfFamily{
	"llama": {
		architectures: []string{"LlamaForCausalLM", "LlamaModel"},
		shape:         hfShape{Vocab: 32000, Dim: 4096, Layers: 32, Heads: 32, FF: 11008, MaxSeq: 2048},
	},
	"mistral": {
		architectures: []string{"MistralForCausalLM", "MistralModel"}, window: windowAll,
		shape: hfShape{Vocab: 32000, Dim: 4096, Layers: 32, Heads: 32, FF: 14336, MaxSeq: 131072}, kvHeads: 8,
	},
	"qwen2": {
		architectures: []string{"Qwen2ForCausalLM", "Qwen2Model"}, qkvBias: true, window: windowUpper,
		shape: hfShape{Vocab: 151936, Dim: 4096, Layers: 32, Heads: 32, FF: 22016, MaxSeq: 32768}, kvHeads: 32,
	},
	"qwen3": {
		architectures: []string{"Qwen3ForCausalLM", "Qwen3Model"}, qkNorm: true, window: windowUpper,
		shape: hfShape{Vocab: 151936, Dim: 4096, Layers: 32, Heads: 32, FF: 22016, MaxSeq: 32768}, kvHeads: 32, headDim: 128,
	},
}

// Family returns the model type that Save writes for a decoder of this
// configuration: "qwen3" with QKNorm, else "qwen2" with QKVBias, else "llama",
// which a model of type mistral is too once it is read. Hugging Face has no
// family with both.
func (c Config) Family() string {
	switch {
	case c.QKNorm:
		return "qwen3"
	case c.QKVBias:
		return "qwen2"
	}
	return "llama"
}

// decoderConfig translates c, which has its defaults filled in.
func decoderConfig(c Config) *hfDecoder {
	family := hfFamilies[c.Family()]
	h := &hfDecoder{
		hfHeader: hfHeader{ModelType: c.Family(), Architectures: family.architectures[:1]},
		hfShape: hfShape{
			Vocab:  c.Vocab,
			Dim:    c.Dim,
			Layers: c.Layers,
			Heads:  c.Heads,
			FF:     c.FF,
			MaxSeq: c.MaxSeq,
			Act:    "silu",
			DType:  "float32",
		},
		KVHeads:   &c.KVHeads,
		HeadDim:   &c.HeadDim,
		TieEmbed:  &c.TieEmbeddings,
		NormEps:   &c.NormEps,
		RopeTheta: &c.RopeTheta,
		Scaling:   c.RopeScaling.options(),
	}
	if c.QKVBias != family.qkvBias {
		h.QKVBias = &c.QKVBias
	}
	return h
}

// ReadConfig reads a decoder's configuration, with defaults filled in, from a
// directory that Save wrote or from a Hugging Face checkpoint of model type
// llama, mistral, qwen2 or qwen3. Fields that are null or absent have the
// defaults of transformers. An option that this package does not know is an
// error that names it, unless it changes nothing here. Dropout is accepted but
// not applied.
//
// With TieEmbeddings, a checkpoint may still have an output projection of its
// own; see [LoadDecoder].
func ReadConfig(dir string) (Config, error) {
	path, fields, h, err := readConfig(dir)
	if err != nil {
		return Config{}, err
	}
	if _, classifier := h.classifier(); classifier || h.Encoder != nil || Style(h.ModelType).bert() || h.ModelType == "modernbert" {
		return Config{}, fmt.Errorf("model: %s is of an encoder, want a decoder's: model_type is %q, architectures is %q (LoadEncoder loads classifiers, PretrainedEncoder the bodies of encoders)", path, h.ModelType, h.Architectures)
	}
	return parseDecoder(fields, path, h)
}

// parseDecoder translates a config.json. What a Config cannot express is an
// error.
func parseDecoder(fields map[string]json.RawMessage, path string, header *hfHeader) (Config, error) {
	family, ok := hfFamilies[header.ModelType]
	if !ok {
		known := fmt.Sprintf("one of %q", slices.Sorted(maps.Keys(hfFamilies)))
		return Config{}, optionError(path, "model_type", fmt.Sprintf("%q", header.ModelType), known)
	}
	if err := header.checkArchitecture(path, family.architectures...); err != nil {
		return Config{}, err
	}
	h := hfDecoder{hfShape: family.shape}
	if err := configVocabulary.decode(fields, &h); err != nil {
		return Config{}, fmt.Errorf("model: %s: %w", path, err)
	}
	if err := h.check(path); err != nil {
		return Config{}, err
	}
	if _, ok := fields["sliding_window"]; !ok {
		h.Window = new(int)
		*h.Window = 4096 // what transformers takes then
	}
	if err := h.checkWindow(path, family.window); err != nil {
		return Config{}, err
	}
	c := Config{
		Vocab:         h.Vocab,
		Dim:           h.Dim,
		Layers:        h.Layers,
		Heads:         h.Heads,
		KVHeads:       or(h.KVHeads, family.kvHeads),
		HeadDim:       or(h.HeadDim, family.headDim),
		FF:            h.FF,
		MaxSeq:        h.MaxSeq,
		NormEps:       or(h.NormEps, 1e-6), // the default of transformers
		QKNorm:        or(h.QKNorm, family.qkNorm),
		QKVBias:       or(h.QKVBias, family.qkvBias),
		TieEmbeddings: or(h.TieEmbed, false),
	}
	if family.kvHeads == 0 && h.KVHeads == nil || isNull(fields["num_key_value_heads"]) {
		c.KVHeads = h.Heads
	}
	if err := c.setRope(&h, path); err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c.withDefaults(), nil
}

// check returns an error that names the first option that must have another
// value.
func (h *hfDecoder) check(path string) error {
	if h.Act != "" && h.Act != "silu" && h.Act != "swish" { // two names of one function
		return optionError(path, "hidden_act", fmt.Sprintf("%q", h.Act), `"silu"`)
	}
	for i, kind := range h.Kinds {
		if kind != "full_attention" {
			return optionError(path, fmt.Sprintf("layer_types[%d]", i), fmt.Sprintf("%q", kind), `"full_attention"`)
		}
	}
	if h.Kinds != nil && len(h.Kinds) != h.Layers {
		return optionError(path, "layer_types", fmt.Sprintf("of %d layers", len(h.Kinds)), fmt.Sprintf("num_hidden_layers (%d)", h.Layers))
	}
	return nil
}

// checkWindow returns an error if a layer would see only the last tokens.
func (h *hfDecoder) checkWindow(path string, rule windowRule) error {
	switch {
	case h.Window == nil:
	case rule == windowAll:
		return optionError(path, "sliding_window", *h.Window, "null (the whole context): a window is not done here")
	case rule == windowUpper && h.UseWindow && h.Kinds == nil && or(h.WindowLayers, 28) < h.Layers:
		return optionError(path, "use_sliding_window", true, "false: a window is not done here")
	}
	return nil
}

// hfRope is the rope_parameters or rope_scaling of a configuration.
type hfRope struct {
	Type     string   `json:"rope_type,omitempty"`
	OldType  string   `json:"type,omitempty"`
	Theta    *float64 `json:"rope_theta,omitempty"`
	Partial  *float64 `json:"partial_rotary_factor,omitempty"`
	Factor   float64  `json:"factor,omitempty"`
	LowFreq  float64  `json:"low_freq_factor,omitempty"`
	HighFreq float64  `json:"high_freq_factor,omitempty"`
	Original int      `json:"original_max_position_embeddings,omitempty"`
}

// ropeVocabulary is what is of no use to the types of RopeScaling.
var ropeVocabulary = vocabulary{harmless: map[string][]string{
	"for types that are not known here": {
		"attention_factor", "beta_fast", "beta_slow", "finetuned", "long_factor", "mscale", "mscale_all_dim", "short_factor", "truncate",
	},
}}

// setRope sets RopeTheta and RopeScaling as transformers does: rope_scaling, if
// there is one, stands for rope_parameters, and what either says counts before
// the fields of the same names beside it.
func (c *Config) setRope(h *hfDecoder, path string) error {
	field := "rope_scaling"
	fields, err := parseRope(h.Scaling)
	if err == nil && len(fields) == 0 {
		field = "rope_parameters"
		fields, err = parseRope(h.Rope)
	}
	if err != nil {
		return fmt.Errorf("model: %s: %s: %w", path, field, err)
	}
	// Check the type first: an unknown one has unknown options.
	var r hfRope
	kind := map[string]json.RawMessage{"rope_type": fields["rope_type"], "type": fields["type"]}
	maps.DeleteFunc(kind, func(_ string, v json.RawMessage) bool { return v == nil })
	if err := ropeVocabulary.decode(kind, &r); err != nil {
		return fmt.Errorf("model: %s: %s: %w", path, field, err)
	}
	s := RopeScaling{Type: RopeType(cmp.Or(r.Type, r.OldType))}
	switch s.Type {
	case RopeDefault, "default":
		s.Type = RopeDefault
	case RopeLinear, RopeDynamic, RopeLlama3:
	default:
		return optionError(path, field+".rope_type", fmt.Sprintf("%q", s.Type), `"default", "linear", "dynamic" or "llama3"`)
	}
	if err := ropeVocabulary.decode(fields, &r); err != nil {
		return fmt.Errorf("model: %s: %s: %w", path, field, err)
	}
	if r.Partial == nil {
		r.Partial = h.Partial
	}
	if partial := or(r.Partial, 1); partial != 1 {
		return optionError(path, "partial_rotary_factor", partial, "1")
	}
	c.RopeTheta = or(r.Theta, or(h.RopeTheta, 10000))
	switch s.Type {
	case RopeLinear, RopeDynamic:
		s.Factor = r.Factor
	case RopeLlama3:
		s.Factor, s.LowFreqFactor, s.HighFreqFactor = r.Factor, r.LowFreq, r.HighFreq
		s.OriginalMaxSeq = or(h.Original, cmp.Or(r.Original, c.MaxSeq))
	}
	c.RopeScaling = s
	return nil
}

// parseRope returns the fields of a rope_parameters or rope_scaling, none if it
// is absent.
func parseRope(text json.RawMessage) (map[string]json.RawMessage, error) {
	if len(text) == 0 {
		return nil, nil
	}
	return parseFields(text)
}

// options is the inverse of setRope, without the base; nil if there is no
// scaling.
func (s RopeScaling) options() json.RawMessage {
	if s.Type == RopeDefault {
		return nil
	}
	text, err := json.Marshal(hfRope{
		Type:     string(s.Type),
		Factor:   s.Factor,
		LowFreq:  s.LowFreqFactor,
		HighFreq: s.HighFreqFactor,
		Original: s.OriginalMaxSeq,
	})
	if err != nil {
		panic("model: " + err.Error()) // finite numbers
	}
	return text
}

// null is written to override a default of transformers.
var null = json.RawMessage("null")
