package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// hfDecoder is a decoder's config.json.
type hfDecoder struct {
	hfHeader
	hfShape
	hfInert

	KVHeads   *int            `json:"num_key_value_heads"`
	HeadDim   *int            `json:"head_dim,omitempty"`
	TieEmbed  *bool           `json:"tie_word_embeddings"`
	NormEps   *float64        `json:"rms_norm_eps"`
	RopeTheta *float64        `json:"rope_theta,omitempty"`
	Scaling   json.RawMessage `json:"rope_scaling,omitempty"`    // transformers 4
	Rope      json.RawMessage `json:"rope_parameters,omitempty"` // transformers 5
	Kinds     []string        `json:"layer_types,omitempty"`

	// Options that must be off.
	AttnBias    bool `json:"attention_bias,omitempty"`
	MLPBias     bool `json:"mlp_bias,omitempty"`
	Sliding     bool `json:"use_sliding_window,omitempty"`
	MRope       bool `json:"use_mrope,omitempty"`
	Interleaved bool `json:"rope_interleaved,omitempty"`

	// Ours, for what the model type does not imply.
	QKNorm  *bool `json:"qk_norm,omitempty"`
	QKVBias *bool `json:"qkv_bias,omitempty"`
}

// hfFamily is what a decoder's model type implies.
type hfFamily struct {
	architecture    string
	qkNorm, qkvBias bool
	kvHeads         int // if num_key_value_heads is absent; 0 = num_attention_heads
	headDim         int // if head_dim is absent; 0 = hidden_size/num_attention_heads
}

var hfFamilies = map[string]hfFamily{
	"llama": {architecture: "LlamaForCausalLM"},
	"qwen2": {architecture: "Qwen2ForCausalLM", qkvBias: true, kvHeads: 32},
	"qwen3": {architecture: "Qwen3ForCausalLM", qkNorm: true, kvHeads: 32, headDim: 128},
}

// Family returns the model type that Save writes for a decoder of this
// configuration: "qwen3" with QKNorm, else "qwen2" with QKVBias, else "llama".
// Hugging Face has no family with both.
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
		hfHeader: hfHeader{ModelType: c.Family(), Architectures: []string{family.architecture}},
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
// llama, qwen2 or qwen3. An option that this package does not know is an error
// that names it. Dropout is accepted but not applied.
func ReadConfig(dir string) (Config, error) {
	path, text, h, err := readConfig(dir)
	if err != nil {
		return Config{}, err
	}
	if h.Encoder != nil {
		return Config{}, fmt.Errorf("model: %s is of an encoder, want a decoder's", path)
	}
	return parseDecoder(text, path, h)
}

// parseDecoder translates a config.json. What a Config cannot express is an
// error.
func parseDecoder(text []byte, path string, header *hfHeader) (Config, error) {
	family, ok := hfFamilies[header.ModelType]
	if !ok {
		known := fmt.Sprintf("one of %q", slices.Sorted(maps.Keys(hfFamilies)))
		return Config{}, optionError(path, "model_type", fmt.Sprintf("%q", header.ModelType), known)
	}
	if err := header.checkArchitecture(path, family.architecture); err != nil {
		return Config{}, err
	}
	var h hfDecoder
	if err := strict(text, path, &h); err != nil {
		return Config{}, err
	}
	if err := h.check(path); err != nil {
		return Config{}, err
	}
	c := Config{
		Vocab:         h.Vocab,
		Dim:           h.Dim,
		Layers:        h.Layers,
		Heads:         h.Heads,
		KVHeads:       family.kvHeads,
		HeadDim:       or(h.HeadDim, family.headDim),
		FF:            h.FF,
		MaxSeq:        h.MaxSeq,
		RopeTheta:     or(h.RopeTheta, 10000),
		NormEps:       or(h.NormEps, 1e-6), // the default of transformers
		QKNorm:        or(h.QKNorm, family.qkNorm),
		QKVBias:       or(h.QKVBias, family.qkvBias),
		TieEmbeddings: or(h.TieEmbed, false),
	}
	if c.KVHeads == 0 {
		c.KVHeads = h.Heads
	}
	c.KVHeads = or(h.KVHeads, c.KVHeads)
	if err := c.setRope(h.Rope, path, "rope_parameters"); err != nil {
		return Config{}, err
	}
	if err := c.setRope(h.Scaling, path, "rope_scaling"); err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c.withDefaults(), nil
}

// check returns an error that names the first option that must be off.
func (h *hfDecoder) check(path string) error {
	if h.Act != "" && h.Act != "silu" {
		return optionError(path, "hidden_act", fmt.Sprintf("%q", h.Act), `"silu"`)
	}
	for _, o := range []struct {
		field string
		on    bool
	}{
		{"attention_bias", h.AttnBias}, // it biases the output projection too
		{"mlp_bias", h.MLPBias},
		{"use_sliding_window", h.Sliding},
		{"use_mrope", h.MRope},
		{"rope_interleaved", h.Interleaved},
	} {
		if o.on {
			return optionError(path, o.field, true, "false")
		}
	}
	for i, kind := range h.Kinds {
		if kind != "full_attention" {
			return optionError(path, fmt.Sprintf("layer_types[%d]", i), fmt.Sprintf("%q", kind), `"full_attention"`)
		}
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

// setRope sets RopeTheta and RopeScaling from text, the value of field in a
// configuration. An absent field and null change nothing.
func (c *Config) setRope(text json.RawMessage, path, field string) error {
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	var kind struct {
		Type    string `json:"rope_type"`
		OldType string `json:"type"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return fmt.Errorf("model: %s: %s: %w", path, field, err)
	}
	// Check the type first: an unknown one has unknown options.
	name := kind.OldType
	if kind.Type != "" {
		name = kind.Type
	}
	switch t := RopeType(name); t {
	case RopeDefault, "default":
		name = string(RopeDefault)
	case RopeLinear, RopeDynamic, RopeLlama3:
	default:
		return optionError(path, field+".rope_type", fmt.Sprintf("%q", name), `"default", "linear", "dynamic" or "llama3"`)
	}
	var h hfRope
	if err := strict(text, path+": "+field, &h); err != nil {
		return err
	}
	if partial := or(h.Partial, 1); partial != 1 {
		return optionError(path, field+".partial_rotary_factor", partial, "1")
	}
	c.RopeTheta = or(h.Theta, c.RopeTheta)
	s := RopeScaling{
		Type:           RopeType(name),
		Factor:         h.Factor,
		LowFreqFactor:  h.LowFreq,
		HighFreqFactor: h.HighFreq,
		OriginalMaxSeq: h.Original,
	}
	if s != (RopeScaling{}) {
		c.RopeScaling = s
	}
	return nil
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
