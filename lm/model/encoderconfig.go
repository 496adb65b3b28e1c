package model

import (
	"cmp"
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
	// LastPooling takes the last token's hidden state (Qwen3-Embedding).
	LastPooling Pooling = "last"
)

// Style is a kind of encoder blocks.
type Style string

const (
	// LlamaStyle is the decoder's blocks without a causal mask.
	LlamaStyle Style = "llama"
	// BERTStyle is the blocks of BERT, MiniLM and BGE: LayerNorm after each
	// layer, GELU, learned positions, token types.
	BERTStyle Style = "bert"
	// RoBERTaStyle and XLMRobertaStyle are BERT's blocks in RoBERTa and in XLM-R (BGE-M3,
	// multilingual E5), where positions begin after that of padding. They differ in
	// what their files are called.
	RoBERTaStyle    Style = "roberta"
	XLMRobertaStyle Style = "xlm-roberta"
	// ModernBERTStyle is the blocks of ModernBERT: LayerNorm before each layer,
	// GeGLU, rotary positions, windows of attention, no biases.
	ModernBERTStyle Style = "modernbert"
)

// bert reports whether the blocks are BERT's.
func (s Style) bert() bool { return s == BERTStyle || s == RoBERTaStyle || s == XLMRobertaStyle }

// EncoderConfig describes an encoder classifier.
type EncoderConfig struct {
	// Config describes the blocks; TieEmbeddings must be false. With
	// BERTStyle, MaxSeq is the number of positions that have an embedding
	// (max_position_embeddings), NormEps is LayerNorm's (layer_norm_eps) and 0
	// means 1e-12, KVHeads equals Heads, and the fields for rotary positions,
	// q and k norms and biases stay 0. The same goes for RoBERTaStyle and
	// XLMRobertaStyle, whose MaxSeq is max_position_embeddings less FirstPosition.
	//
	// With ModernBERTStyle, NormEps is LayerNorm's (norm_eps) and 0 means 1e-5,
	// RopeTheta is that of the layers without a window (global_rope_theta) and 0
	// means 160000, KVHeads equals Heads, and the fields for scaled rotary
	// positions, q and k norms and biases stay 0.
	Config
	// Style is the kind of blocks; LlamaStyle unless set.
	Style Style `json:",omitempty"`
	// Causal lets a token of LlamaStyle see only those before it, as in the decoder
	// that an embedding model such as Qwen3-Embedding is. Its classifier has no bias.
	Causal bool `json:",omitempty"`
	// With ModernBERTStyle, every GlobalEvery-th layer, from the first on
	// (global_attn_every_n_layers, 0 means 3), sees the whole sequence; in the others
	// a token sees those up to Window tokens away (half of local_attention, 0 means
	// 64), and the base of their rotary positions is LocalRopeTheta
	// (local_rope_theta, 0 means 10000).
	GlobalEvery    int     `json:",omitempty"`
	Window         int     `json:",omitempty"`
	LocalRopeTheta float64 `json:",omitempty"`
	// TokenTypes is the number of token types of BERTStyle
	// (type_vocab_size); 0 means 2, or 1 with RoBERTaStyle and XLMRobertaStyle.
	TokenTypes int `json:",omitempty"`
	// FirstPosition is where the positions of RoBERTaStyle and XLMRobertaStyle begin in
	// their table (pad_token_id + 1); 0 means 2.
	FirstPosition int `json:",omitempty"`
	// DenseHead puts a layer with tanh between the first token's state and the
	// classifier, as BertForSequenceClassification, RobertaForSequenceClassification
	// and XLMRobertaForSequenceClassification have it. Pooling is then FirstPooling.
	DenseHead bool `json:",omitempty"`
	// Classes is the number of classes; 1 is a single score, such as a reranker's.
	Classes int
	// Pooling is MeanPooling unless set, or FirstPooling with DenseHead.
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
	case c.Classes < 1:
		return fmt.Errorf("model: EncoderConfig.Classes is %d, want at least 1", c.Classes)
	case c.Pooling != "" && c.Pooling != MeanPooling && c.Pooling != FirstPooling && c.Pooling != LastPooling:
		return fmt.Errorf("model: EncoderConfig.Pooling is %q, want %q, %q or %q", c.Pooling, MeanPooling, FirstPooling, LastPooling)
	case c.Causal && c.Style != "" && c.Style != LlamaStyle:
		return fmt.Errorf("model: EncoderConfig.Causal is true, want false with Style %q", c.Style)
	case c.Style != ModernBERTStyle && (c.GlobalEvery != 0 || c.Window != 0 || c.LocalRopeTheta != 0):
		return fmt.Errorf("model: EncoderConfig.GlobalEvery, Window and LocalRopeTheta are %d, %d and %g, want 0 (only %q has them)", c.GlobalEvery, c.Window, c.LocalRopeTheta, ModernBERTStyle)
	case c.Style != RoBERTaStyle && c.Style != XLMRobertaStyle && c.FirstPosition != 0:
		return fmt.Errorf("model: EncoderConfig.FirstPosition is %d, want 0 (only %q and %q have one)", c.FirstPosition, RoBERTaStyle, XLMRobertaStyle)
	case c.DenseHead && !c.Style.bert():
		return fmt.Errorf("model: EncoderConfig.DenseHead is true, want false with Style %q", c.Style)
	case c.DenseHead && c.Pooling != "" && c.Pooling != FirstPooling:
		return fmt.Errorf("model: EncoderConfig.Pooling is %q, want %q with DenseHead", c.Pooling, FirstPooling)
	case !c.Style.bert() && c.TokenTypes != 0:
		return fmt.Errorf("model: EncoderConfig.TokenTypes is %d, want 0 with Style %q", c.TokenTypes, c.Style)
	case c.Style.bert() || c.Style == ModernBERTStyle:
		return c.validateBlocks()
	case c.Style != "" && c.Style != LlamaStyle:
		return fmt.Errorf("model: EncoderConfig.Style is %q, want one of %q", c.Style, []Style{LlamaStyle, BERTStyle, RoBERTaStyle, XLMRobertaStyle, ModernBERTStyle})
	}
	return nil
}

// validateBlocks checks what blocks other than the decoder's add or rule out.
func (c EncoderConfig) validateBlocks() error {
	fail := func(field string, got, want any) error {
		return fmt.Errorf("model: EncoderConfig.%s is %v, want %v with Style %q", field, got, want, c.Style)
	}
	modern := c.Style == ModernBERTStyle
	switch dim := c.Config.withDefaults().HeadDim; {
	case c.KVHeads != c.Heads:
		return fail("KVHeads", c.KVHeads, fmt.Sprintf("Heads (%d)", c.Heads))
	case dim*c.Heads != c.Dim:
		return fail("HeadDim", dim, fmt.Sprintf("Dim/Heads (%d/%d)", c.Dim, c.Heads))
	case c.RopeScaling != RopeScaling{}:
		return fail("RopeScaling.Type", fmt.Sprintf("%q", c.RopeScaling.Type), `""`)
	case c.QKNorm:
		return fail("QKNorm", true, false)
	case c.QKVBias:
		return fail("QKVBias", true, "false (which projections have one is part of the style)")
	case c.TokenTypes < 0 || c.TokenTypes > math.MaxInt32:
		return fail("TokenTypes", c.TokenTypes, "0 (for the usual number) or more")
	case c.FirstPosition < 0 || c.FirstPosition > math.MaxInt32-c.MaxSeq:
		return fail("FirstPosition", c.FirstPosition, "0 (for 2) or more")
	case !modern && c.RopeTheta != 0:
		return fail("RopeTheta", c.RopeTheta, 0)
	case c.GlobalEvery < 0 || c.GlobalEvery > math.MaxInt32:
		return fail("GlobalEvery", c.GlobalEvery, "0 (for 3) or more")
	case c.Window < 0 || c.Window > math.MaxInt32:
		return fail("Window", c.Window, "0 (for 64) or more")
	case !(c.LocalRopeTheta >= 0) || math.IsInf(c.LocalRopeTheta, 0):
		return fail("LocalRopeTheta", c.LocalRopeTheta, "0 (for 10000) or a positive number")
	case modern && c.Pooling == LastPooling:
		return fail("Pooling", fmt.Sprintf("%q", c.Pooling), fmt.Sprintf("%q or %q", MeanPooling, FirstPooling))
	}
	return nil
}

// withDefaults fills in the fields whose zero value means a default.
func (c EncoderConfig) withDefaults() EncoderConfig {
	if c.Style == ModernBERTStyle {
		c.RopeTheta = cmp.Or(c.RopeTheta, 160000)
		c.LocalRopeTheta = cmp.Or(c.LocalRopeTheta, 10000)
		c.GlobalEvery, c.Window = cmp.Or(c.GlobalEvery, 3), cmp.Or(c.Window, 64)
	}
	c.Style = cmp.Or(c.Style, LlamaStyle)
	if c.Style.bert() {
		c.NormEps = cmp.Or(c.NormEps, 1e-12)
	}
	c.Config = c.Config.withDefaults()
	switch {
	case c.Style == BERTStyle:
		c.RopeTheta, c.TokenTypes = 0, cmp.Or(c.TokenTypes, 2)
	case c.Style.bert():
		c.RopeTheta, c.TokenTypes, c.FirstPosition = 0, cmp.Or(c.TokenTypes, 1), cmp.Or(c.FirstPosition, 2)
	}
	switch {
	case c.Pooling != "":
	case c.DenseHead:
		c.Pooling = FirstPooling
	default:
		c.Pooling = MeanPooling
	}
	return c
}
