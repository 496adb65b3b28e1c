package model

import (
	"cmp"
	"fmt"
	"math"
)

// Config describes a decoder or encoder of the Llama family. The field
// comments give the names in a Hugging Face config.json.
type Config struct {
	Vocab   int // vocab_size
	Dim     int // hidden_size
	Layers  int // num_hidden_layers
	Heads   int // num_attention_heads
	KVHeads int // num_key_value_heads; divides Heads
	HeadDim int // head_dim; 0 means Dim/Heads
	FF      int // intermediate_size
	MaxSeq  int // max_position_embeddings

	RopeTheta float64 // rope_theta; 0 means 10000
	NormEps   float64 // rms_norm_eps; 0 means 1e-5
	// RopeScaling stretches the rotary frequencies (Llama 3.1 and others).
	RopeScaling RopeScaling `json:",omitzero"` // rope_scaling
	// QKNorm normalises each head of q and k with RMSNorm (Qwen3).
	QKNorm bool
	// QKVBias adds a bias to the q, k and v projections (Qwen2).
	QKVBias bool
	// TieEmbeddings uses the embedding as the output projection.
	TieEmbeddings bool
}

// maxHeadDim bounds the table of rotary frequencies, which is made before a
// checkpoint's tensors are compared with its configuration.
const maxHeadDim = 1 << 20

// Validate returns an error that names the first invalid field, its value, and
// what was expected.
func (c Config) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"Vocab", c.Vocab},
		{"Dim", c.Dim},
		{"Layers", c.Layers},
		{"Heads", c.Heads},
		{"KVHeads", c.KVHeads},
		{"FF", c.FF},
		{"MaxSeq", c.MaxSeq},
	} {
		if f.value < 1 {
			return fmt.Errorf("model: Config.%s is %d, want at least 1", f.name, f.value)
		}
		if f.value > math.MaxInt32 {
			return fmt.Errorf("model: Config.%s is %d, want at most %d", f.name, f.value, math.MaxInt32)
		}
	}
	if c.Heads%c.KVHeads != 0 {
		return fmt.Errorf("model: Config.KVHeads is %d, want a divisor of Heads (%d)", c.KVHeads, c.Heads)
	}
	switch {
	case c.HeadDim < 0 || c.HeadDim > maxHeadDim:
		return fmt.Errorf("model: Config.HeadDim is %d, want 0 (for Dim/Heads) to %d", c.HeadDim, maxHeadDim)
	case c.HeadDim == 0 && c.Dim%c.Heads != 0:
		return fmt.Errorf("model: Config.HeadDim is 0, but Dim (%d) is no multiple of Heads (%d)", c.Dim, c.Heads)
	}
	switch hd := c.withDefaults().HeadDim; {
	case hd%2 != 0:
		return fmt.Errorf("model: Config.HeadDim is %d, want an even number (rotary embedding turns pairs)", hd)
	case hd > maxHeadDim:
		return fmt.Errorf("model: Config.Dim/Heads is %d, want at most %d", hd, maxHeadDim)
	}
	if !(c.RopeTheta >= 0) || math.IsInf(c.RopeTheta, 0) {
		return fmt.Errorf("model: Config.RopeTheta is %g, want 0 (for 10000) or a positive number", c.RopeTheta)
	}
	if !(c.NormEps >= 0) || math.IsInf(c.NormEps, 0) {
		return fmt.Errorf("model: Config.NormEps is %g, want 0 (for 1e-5) or a positive number", c.NormEps)
	}
	return c.RopeScaling.validate()
}

// withDefaults fills in the fields for which 0 means a default.
func (c Config) withDefaults() Config {
	if c.HeadDim == 0 {
		c.HeadDim = c.Dim / c.Heads
	}
	c.RopeTheta = cmp.Or(c.RopeTheta, 10000)
	c.NormEps = cmp.Or(c.NormEps, 1e-5)
	return c
}

// CheckTokenizer returns an error if a tokenizer has more tokens than the model
// has embeddings. Fewer are usual, because vocabularies are padded.
func (c Config) CheckTokenizer(tokens int) error {
	if tokens > c.Vocab {
		return fmt.Errorf("model: the tokenizer has %d tokens, but the model has embeddings for %d (vocab_size)", tokens, c.Vocab)
	}
	return nil
}
