package model

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// hfConfig is the part of a Hugging Face config.json that matters here.
type hfConfig struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`

	Vocab    int   `json:"vocab_size"`
	Dim      int   `json:"hidden_size"`
	Layers   int   `json:"num_hidden_layers"`
	Heads    int   `json:"num_attention_heads"`
	KVHeads  *int  `json:"num_key_value_heads"`
	HeadDim  *int  `json:"head_dim"`
	FF       int   `json:"intermediate_size"`
	MaxSeq   int   `json:"max_position_embeddings"`
	TieEmbed *bool `json:"tie_word_embeddings"`

	RopeTheta *float64  `json:"rope_theta,omitempty"`
	NormEps   *float64  `json:"rms_norm_eps"`
	Rope      *hfRope   `json:"rope_parameters,omitempty"` // transformers 5
	Scaling   *hfRope   `json:"rope_scaling,omitempty"`    // transformers 4
	Act       string    `json:"hidden_act"`
	DType     string    `json:"torch_dtype"`
	AttnBias  bool      `json:"attention_bias"`
	MLPBias   bool      `json:"mlp_bias"`
	Sliding   bool      `json:"use_sliding_window"`
	Kinds     []string  `json:"layer_types,omitempty"`
	Encoder   *hfLabels `json:"stepwise_encoder,omitempty"`

	// Set only where the model type does not imply them.
	QKNorm  *bool `json:"qk_norm,omitempty"`
	QKVBias *bool `json:"qkv_bias,omitempty"`
}

type hfRope struct {
	Type    string   `json:"rope_type"`
	OldType string   `json:"type,omitempty"`
	Theta   *float64 `json:"rope_theta,omitempty"`
}

// hfLabels is what an encoder classifier adds.
type hfLabels struct {
	Classes int     `json:"classes"`
	Pooling Pooling `json:"pooling"`
}

// hfTypes lists the model types that are known: architecture, whether q and k
// are normalised, and whether q, k and v have a bias.
var hfTypes = map[string]struct {
	architecture    string
	qkNorm, qkvBias bool
}{
	"llama": {"LlamaForCausalLM", false, false},
	"qwen2": {"Qwen2ForCausalLM", false, true},
	"qwen3": {"Qwen3ForCausalLM", true, false},
}

func decoderConfig(c Config) *hfConfig {
	h := &hfConfig{
		ModelType: "llama",
		Vocab:     c.Vocab,
		Dim:       c.Dim,
		Layers:    c.Layers,
		Heads:     c.Heads,
		KVHeads:   &c.KVHeads,
		HeadDim:   &c.HeadDim,
		FF:        c.FF,
		MaxSeq:    c.MaxSeq,
		TieEmbed:  &c.TieEmbeddings,
		RopeTheta: &c.RopeTheta,
		NormEps:   &c.NormEps,
		Act:       "silu",
		DType:     "float32",
	}
	switch {
	case c.QKNorm:
		h.ModelType = "qwen3"
	case c.QKVBias:
		h.ModelType = "qwen2"
	}
	t := hfTypes[h.ModelType]
	h.Architectures = []string{t.architecture}
	if c.QKVBias != t.qkvBias { // no published model has norm and bias
		h.QKVBias = &c.QKVBias
	}
	return h
}

// ReadConfig reads a decoder's configuration from a directory that Save wrote
// or from a Hugging Face checkpoint, with defaults filled in. Settings that
// this package does not know are errors that name the field.
func ReadConfig(dir string) (Config, error) {
	path := filepath.Join(dir, ConfigFile)
	h, err := readConfig(path)
	if err != nil {
		return Config{}, err
	}
	if h.Encoder != nil {
		return Config{}, fmt.Errorf("model: %s is of an encoder, want a decoder's", path)
	}
	c, err := h.config(path)
	if err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c.withDefaults(), nil
}

func readConfig(path string) (*hfConfig, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseConfig(text, path)
}

func parseConfig(text []byte, path string) (*hfConfig, error) {
	var h hfConfig
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("model: %s: %w", path, err)
	}
	return &h, nil
}

// config translates h; what it cannot express is an error.
func (h *hfConfig) config(path string) (Config, error) {
	fail := func(field string, got any, want string) (Config, error) {
		return Config{}, fmt.Errorf("model: %s: %s is %v, want %s", path, field, got, want)
	}
	t, ok := hfTypes[h.ModelType]
	switch {
	case !ok:
		return fail("model_type", fmt.Sprintf("%q", h.ModelType), `"llama", "qwen2" or "qwen3"`)
	case h.Act != "" && h.Act != "silu":
		return fail("hidden_act", fmt.Sprintf("%q", h.Act), `"silu"`)
	case h.AttnBias:
		return fail("attention_bias", true, "false (it biases the output projection too)")
	case h.MLPBias:
		return fail("mlp_bias", true, "false")
	case h.Sliding:
		return fail("use_sliding_window", true, "false")
	}
	for i, kind := range h.Kinds {
		if kind != "full_attention" {
			return fail(fmt.Sprintf("layer_types[%d]", i), fmt.Sprintf("%q", kind), `"full_attention"`)
		}
	}
	theta := h.RopeTheta
	for _, r := range []struct {
		field string
		*hfRope
	}{{"rope_parameters", h.Rope}, {"rope_scaling", h.Scaling}} {
		if r.hfRope == nil {
			continue
		}
		for _, kind := range []string{r.Type, r.OldType} {
			if kind != "" && kind != "default" {
				return Config{}, fmt.Errorf("model: %s: %s has rope_type %q, want %q", path, r.field, kind, "default")
			}
		}
		if r.Theta != nil {
			theta = r.Theta
		}
	}
	return Config{
		Vocab:         h.Vocab,
		Dim:           h.Dim,
		Layers:        h.Layers,
		Heads:         h.Heads,
		KVHeads:       or(h.KVHeads, h.Heads),
		HeadDim:       or(h.HeadDim, 0),
		FF:            h.FF,
		MaxSeq:        h.MaxSeq,
		RopeTheta:     or(theta, 10000),
		NormEps:       or(h.NormEps, 1e-6), // the default of transformers
		QKNorm:        or(h.QKNorm, t.qkNorm),
		QKVBias:       or(h.QKVBias, t.qkvBias),
		TieEmbeddings: or(h.TieEmbed, false),
	}, nil
}

// or returns *p, or v if p is nil.
func or[T any](p *T, v T) T {
	if p == nil {
		return v
	}
	return *p
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o666)
}
