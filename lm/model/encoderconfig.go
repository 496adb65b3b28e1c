package model

import (
	"errors"
	"fmt"
	"math"
)

// Pooling is how an encoder turns the hidden states of a sequence into one.
type Pooling string

const (
	// MeanPooling takes the mean over all tokens.
	MeanPooling Pooling = "mean"
	// FirstPooling takes the first token's hidden state.
	FirstPooling Pooling = "first"
)

// Style is a kind of encoder blocks.
type Style string

const (
	// LlamaStyle is the decoder's blocks without a causal mask.
	LlamaStyle Style = "llama"
	// BERTStyle is the blocks of BERT, MiniLM and BGE: LayerNorm after each
	// layer, GELU, learned positions, token types.
	BERTStyle Style = "bert"
)

// EncoderConfig describes an encoder classifier.
type EncoderConfig struct {
	// Config describes the blocks; TieEmbeddings must be false. With
	// BERTStyle, MaxSeq is the number of positions that have an embedding
	// (max_position_embeddings), NormEps is LayerNorm's (layer_norm_eps) and 0
	// means 1e-12, KVHeads equals Heads, and the fields for rotary positions,
	// q and k norms and biases stay 0.
	Config
	// Style is the kind of blocks; LlamaStyle unless set.
	Style Style `json:",omitempty"`
	// TokenTypes is the number of token types of BERTStyle
	// (type_vocab_size); 0 means 2.
	TokenTypes int `json:",omitempty"`
	// Classes is the number of classes, at least 2.
	Classes int
	// Pooling is MeanPooling unless set.
	Pooling Pooling
}

// Validate returns an error that names the first invalid field.
func (c EncoderConfig) Validate() error {
	if err := c.Config.Validate(); err != nil {
		return err
	}
	switch {
	case c.TieEmbeddings:
		return errors.New("model: EncoderConfig.TieEmbeddings is true, but an encoder has no output embedding")
	case c.Classes < 2:
		return fmt.Errorf("model: EncoderConfig.Classes is %d, want at least 2", c.Classes)
	case c.Pooling != "" && c.Pooling != MeanPooling && c.Pooling != FirstPooling:
		return fmt.Errorf("model: EncoderConfig.Pooling is %q, want %q or %q", c.Pooling, MeanPooling, FirstPooling)
	case c.Style == BERTStyle:
		return c.validateBERT()
	case c.Style != "" && c.Style != LlamaStyle:
		return fmt.Errorf("model: EncoderConfig.Style is %q, want %q or %q", c.Style, LlamaStyle, BERTStyle)
	case c.TokenTypes != 0:
		return fmt.Errorf("model: EncoderConfig.TokenTypes is %d, want 0 (only %q has them)", c.TokenTypes, BERTStyle)
	}
	return nil
}

// validateBERT checks what BERTStyle adds or rules out.
func (c EncoderConfig) validateBERT() error {
	fail := func(field string, got, want any) error {
		return fmt.Errorf("model: EncoderConfig.%s is %v, want %v with Style %q", field, got, want, BERTStyle)
	}
	switch dim := c.Config.withDefaults().HeadDim; {
	case c.TokenTypes < 0 || c.TokenTypes > math.MaxInt32:
		return fail("TokenTypes", c.TokenTypes, "0 (for 2) or more")
	case c.KVHeads != c.Heads:
		return fail("KVHeads", c.KVHeads, fmt.Sprintf("Heads (%d)", c.Heads))
	case dim*c.Heads != c.Dim:
		return fail("HeadDim", dim, fmt.Sprintf("Dim/Heads (%d/%d)", c.Dim, c.Heads))
	case c.RopeTheta != 0:
		return fail("RopeTheta", c.RopeTheta, 0)
	case c.RopeScaling != RopeScaling{}:
		return fail("RopeScaling.Type", fmt.Sprintf("%q", c.RopeScaling.Type), `""`)
	case c.QKNorm:
		return fail("QKNorm", true, false)
	case c.QKVBias:
		return fail("QKVBias", true, "false (its projections always have one)")
	}
	return nil
}

// withDefaults fills in the fields whose zero value means a default.
func (c EncoderConfig) withDefaults() EncoderConfig {
	if c.Style == "" {
		c.Style = LlamaStyle
	}
	if c.Style == BERTStyle && c.NormEps == 0 {
		c.NormEps = 1e-12
	}
	c.Config = c.Config.withDefaults()
	if c.Style == BERTStyle {
		c.RopeTheta = 0
		if c.TokenTypes == 0 {
			c.TokenTypes = 2
		}
	}
	if c.Pooling == "" {
		c.Pooling = MeanPooling
	}
	return c
}
