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

	KVHeads   *int           `json:"num_key_value_heads"`
	HeadDim   *int           `json:"head_dim,omitempty"`
	TieEmbed  *bool          `json:"tie_word_embeddings"`
	NormEps   *float64       `json:"rms_norm_eps"`
	RopeTheta *float64       `json:"rope_theta,omitempty"`
	Scaling   map[string]any `json:"rope_scaling,omitempty"`    // transformers 4
	Rope      map[string]any `json:"rope_parameters,omitempty"` // transformers 5
	Kinds     []string       `json:"layer_types,omitempty"`

	// Options that must be off.
	AttnBias    bool `json:"attention_bias,omitempty"`
	MLPBias     bool `json:"mlp_bias,omitempty"`
	Sliding     bool `json:"use_sliding_window,omitempty"`
	MRope       bool `json:"use_mrope,omitempty"`
	Interleaved bool `json:"rope_interleaved,omitempty"`

	// Ours, where the model type does not imply them.
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

// Family returns the model type under which Save writes a decoder of this
// configuration: "qwen3" with QKNorm, "qwen2" with QKVBias, else "llama".
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

// ReadConfig reads a decoder's configuration from a directory that Save wrote
// or from a Hugging Face checkpoint of model type llama, qwen2 or qwen3, with
// defaults filled in. An option that this package does not know is an error
// that names it; dropout is known and not applied.
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

// parseDecoder translates a config.json; what it cannot express is an error.
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
	for _, r := range []struct {
		field   string
		options map[string]any
	}{{"rope_parameters", h.Rope}, {"rope_scaling", h.Scaling}} {
		if err := c.setRope(r.options); err != nil {
			return Config{}, fmt.Errorf("model: %s: %s %w", path, r.field, err)
		}
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c.withDefaults(), nil
}

// check returns an error that names an option that must be off.
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

// setRope takes RopeTheta and RopeScaling from the options of a configuration;
// nil changes nothing.
func (c *Config) setRope(options map[string]any) error {
	if options == nil {
		return nil
	}
	kind := RopeDefault
	for _, key := range []string{"type", "rope_type"} {
		if v, ok := options[key]; ok {
			s, _ := v.(string)
			if kind = RopeType(s); s == "default" {
				kind = RopeDefault
			}
			if kind != RopeDefault && kind != RopeLinear && kind != RopeDynamic && kind != RopeLlama3 {
				return fmt.Errorf("has %s %v, want default, linear, dynamic or llama3", key, v)
			}
		}
	}
	s := RopeScaling{Type: kind}
	original, partial := 0.0, 1.0
	numbers := map[string]*float64{"rope_theta": &c.RopeTheta, "partial_rotary_factor": &partial}
	var required []string
	switch kind {
	case RopeLlama3:
		numbers["low_freq_factor"], numbers["high_freq_factor"] = &s.LowFreqFactor, &s.HighFreqFactor
		numbers["original_max_position_embeddings"] = &original
		required = append(required, "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
		fallthrough
	case RopeLinear, RopeDynamic:
		numbers["factor"] = &s.Factor
		required = append(required, "factor")
	}
	for key, v := range options {
		if key == "type" || key == "rope_type" {
			continue
		}
		to, ok := numbers[key]
		if !ok {
			return fmt.Errorf("has %s, which is no option of rope_type %q", key, kind)
		}
		if *to, ok = v.(float64); !ok {
			return fmt.Errorf("has %s %v, want a number", key, v)
		}
	}
	for _, key := range required {
		if _, ok := options[key]; !ok {
			return fmt.Errorf("has no %s", key)
		}
	}
	if partial != 1 {
		return fmt.Errorf("has partial_rotary_factor %v, want 1", partial)
	}
	if kind == RopeLlama3 {
		if s.OriginalMaxSeq = int(original); float64(s.OriginalMaxSeq) != original {
			return fmt.Errorf("has original_max_position_embeddings %v, want an integer", original)
		}
	}
	if kind != RopeDefault {
		c.RopeScaling = s
	}
	return nil
}

// options is the inverse of setRope, without the base.
func (s RopeScaling) options() map[string]any {
	if s.Type == RopeDefault {
		return nil
	}
	o := map[string]any{"rope_type": string(s.Type), "factor": s.Factor}
	if s.Type == RopeLlama3 {
		o["low_freq_factor"], o["high_freq_factor"] = s.LowFreqFactor, s.HighFreqFactor
		o["original_max_position_embeddings"] = s.OriginalMaxSeq
	}
	return o
}

// null is written where transformers has a default that is not wanted.
var null = json.RawMessage("null")
