package model

import (
	"encoding/json"
	"fmt"
	"slices"
)

// hfModernBERT is the config.json of an encoder with ModernBERT's blocks.
type hfModernBERT struct {
	hfHeader
	hfShape
	hfLabelNames

	Activation *string  `json:"hidden_activation"`
	NormEps    *float64 `json:"norm_eps"`
	Local      *int     `json:"local_attention"`

	// Which layers have a window: layer_types in transformers 5, before that all but
	// every n-th.
	Every *int     `json:"global_attn_every_n_layers,omitempty"`
	Kinds []string `json:"layer_types,omitempty"`

	GlobalTheta *float64        `json:"global_rope_theta,omitempty"` // transformers 4
	LocalTheta  *float64        `json:"local_rope_theta,omitempty"`
	Rope        json.RawMessage `json:"rope_parameters,omitempty"` // transformers 5
	Scaling     json.RawMessage `json:"rope_scaling,omitempty"`

	Pooling              string `json:"classifier_pooling"`
	ClassifierActivation string `json:"classifier_activation,omitempty"`

	// Options that must be false.
	NormBias       bool `json:"norm_bias,omitempty"`
	ClassifierBias bool `json:"classifier_bias,omitempty"`

	// What files have and nothing reads: of a head for masked words, or of BERT.
	TieEmbed     any `json:"tie_word_embeddings,omitempty"`
	DecoderBias  any `json:"decoder_bias,omitempty"`
	Sparse       any `json:"sparse_prediction,omitempty"`
	SparseIgnore any `json:"sparse_pred_ignore_index,omitempty"`
	Positions    any `json:"position_embedding_type,omitempty"`
	LayerNormEps any `json:"layer_norm_eps,omitempty"`
}

// modernBERTArchitectures are those whose tensors include an encoder's.
var modernBERTArchitectures = []string{"ModernBertModel", "ModernBertForMaskedLM", "ModernBertForSequenceClassification"}

// poolings are the names of classifier_pooling.
var poolings = map[string]Pooling{"cls": FirstPooling, "mean": MeanPooling}

// modernBERTConfig translates c, which has its defaults filled in, in the form that
// transformers 4 and 5 read.
func modernBERTConfig(c EncoderConfig) *hfModernBERT {
	h := &hfModernBERT{
		hfHeader: hfHeader{ModelType: "modernbert", Architectures: modernBERTArchitectures[2:]},
		hfShape: hfShape{
			Vocab:  c.Vocab,
			Dim:    c.Dim,
			Layers: c.Layers,
			Heads:  c.Heads,
			FF:     c.FF,
			MaxSeq: c.MaxSeq,
			DType:  "float32",
		},
		hfLabelNames: labelNames(c.Classes),
		Activation:   new("gelu"),
		NormEps:      &c.NormEps,
		Local:        new(2 * c.Window),
		Every:        &c.GlobalEvery,
		GlobalTheta:  &c.RopeTheta,
		LocalTheta:   &c.LocalRopeTheta,
	}
	for name, p := range poolings {
		if p == c.Pooling {
			h.Pooling = name
		}
	}
	return h
}

func parseModernBERT(fields map[string]json.RawMessage, path string, header *hfHeader) (EncoderConfig, error) {
	fail := func(field string, got any, want string) (EncoderConfig, error) {
		return EncoderConfig{}, optionError(path, field, got, want)
	}
	if err := header.checkArchitecture(path, modernBERTArchitectures...); err != nil {
		return EncoderConfig{}, err
	}
	// What transformers takes for fields that are absent or null.
	h := hfModernBERT{hfShape: hfShape{Vocab: 50368, Dim: 768, Layers: 22, Heads: 12, FF: 1152, MaxSeq: 8192}, Pooling: "cls"}
	if err := configVocabulary.decode(fields, &h); err != nil {
		return EncoderConfig{}, fmt.Errorf("model: %s: %w", path, err)
	}
	pooling, known := poolings[h.Pooling]
	switch local := or(h.Local, 128); {
	case or(h.Activation, "gelu") != "gelu":
		return fail("hidden_activation", fmt.Sprintf("%q", *h.Activation), `"gelu"`)
	case h.ClassifierActivation != "" && h.ClassifierActivation != "gelu":
		return fail("classifier_activation", fmt.Sprintf("%q", h.ClassifierActivation), `"gelu"`)
	case h.NormBias:
		return fail("norm_bias", true, "false")
	case h.ClassifierBias:
		return fail("classifier_bias", true, "false")
	case !known:
		return fail("classifier_pooling", fmt.Sprintf("%q", h.Pooling), `"cls" or "mean"`)
	case local < 2:
		return fail("local_attention", local, "at least 2")
	}
	every, err := h.globalEvery(path)
	if err != nil {
		return EncoderConfig{}, err
	}
	c := EncoderConfig{
		Config: Config{
			Vocab:   h.Vocab,
			Dim:     h.Dim,
			Layers:  h.Layers,
			Heads:   h.Heads,
			KVHeads: h.Heads,
			FF:      h.FF,
			MaxSeq:  h.MaxSeq,
			NormEps: or(h.NormEps, 1e-5),
		},
		Style:       ModernBERTStyle,
		GlobalEvery: every,
		Window:      or(h.Local, 128) / 2,
		Pooling:     pooling,
	}
	c.RopeTheta, c.LocalRopeTheta, err = h.thetas(path)
	return c, err
}

// globalEvery returns n, where every n-th layer, from the first on, has no window.
func (h *hfModernBERT) globalEvery(path string) (int, error) {
	if h.Kinds == nil {
		every := or(h.Every, 3)
		if every < 1 {
			return 0, optionError(path, "global_attn_every_n_layers", every, "at least 1")
		}
		return every, nil
	}
	if len(h.Kinds) != h.Layers {
		return 0, optionError(path, "layer_types", fmt.Sprintf("of %d layers", len(h.Kinds)), fmt.Sprintf("num_hidden_layers (%d)", h.Layers))
	}
	const full, sliding = "full_attention", "sliding_attention"
	every := len(h.Kinds)
	if next := slices.Index(h.Kinds[min(1, len(h.Kinds)):], full); next >= 0 {
		every = next + 1
	}
	for i, kind := range h.Kinds {
		want := sliding
		if i%every == 0 {
			want = full
		}
		if kind != want {
			return 0, optionError(path, fmt.Sprintf("layer_types[%d]", i), fmt.Sprintf("%q", kind),
				fmt.Sprintf("%q, as every %d layers from the first on see the whole sequence", want, every))
		}
	}
	return every, nil
}

// thetas returns the bases of the rotary positions without and with a window. What
// rope_parameters says counts before the older fields.
func (h *hfModernBERT) thetas(path string) (global, local float64, err error) {
	global, local = or(h.GlobalTheta, 160000), or(h.LocalTheta, 10000)
	read := func(field string, text json.RawMessage, thetas ...*float64) error {
		fields, err := parseRope(text)
		if err != nil {
			return fmt.Errorf("model: %s: %s: %w", path, field, err)
		}
		var r hfRope
		if err := ropeVocabulary.decode(fields, &r); err != nil {
			return fmt.Errorf("model: %s: %s: %w", path, field, err)
		}
		for _, kind := range []string{r.Type, r.OldType} {
			if kind != "" && kind != "default" {
				return optionError(path, field+".rope_type", fmt.Sprintf("%q", kind), `"default"`)
			}
		}
		if partial := or(r.Partial, 1); partial != 1 {
			return optionError(path, field+".partial_rotary_factor", partial, "1")
		}
		for _, theta := range thetas {
			*theta = or(r.Theta, *theta)
		}
		return nil
	}
	layers, err := parseRope(h.Rope)
	if err != nil {
		return 0, 0, fmt.Errorf("model: %s: rope_parameters: %w", path, err)
	}
	for kind, text := range layers {
		theta := map[string]*float64{"full_attention": &global, "sliding_attention": &local}[kind]
		switch {
		case isNull(text):
			continue
		case theta == nil:
			return 0, 0, fmt.Errorf("model: %s: rope_parameters has %q, want full_attention and sliding_attention", path, kind)
		}
		if err := read("rope_parameters."+kind, text, theta); err != nil {
			return 0, 0, err
		}
	}
	return global, local, read("rope_scaling", h.Scaling, &global, &local)
}
