package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// hfHeader is the part of a config.json that says how to read the rest.
type hfHeader struct {
	Architectures []string  `json:"architectures"`
	ModelType     string    `json:"model_type"`
	Encoder       *hfLabels `json:"stepwise_encoder,omitempty"`
}

// hfLabels is what an encoder adds to a config.json.
type hfLabels struct {
	Classes int     `json:"classes"`
	Pooling Pooling `json:"pooling"`
}

// hfShape is what the configurations of decoders and encoders share.
type hfShape struct {
	Vocab  int    `json:"vocab_size"`
	Dim    int    `json:"hidden_size"`
	Layers int    `json:"num_hidden_layers"`
	Heads  int    `json:"num_attention_heads"`
	FF     int    `json:"intermediate_size"`
	MaxSeq int    `json:"max_position_embeddings"`
	Act    string `json:"hidden_act"`

	// DType is "float32", "float16" or "bfloat16". Reading ignores it, because
	// the weights' own type counts.
	DType string `json:"torch_dtype,omitempty"`

	// The tokens that begin, end and pad a sequence; ReadGeneration reads them.
	BOS json.RawMessage `json:"bos_token_id,omitempty"`
	EOS json.RawMessage `json:"eos_token_id,omitempty"`
	Pad json.RawMessage `json:"pad_token_id,omitempty"`
}

// hfInert lists options that do not change what a model computes, apart from
// dropout in training.
type hfInert struct {
	NameOrPath         any `json:"_name_or_path,omitempty"`
	AttnImplementation any `json:"_attn_implementation_autoset,omitempty"`
	Version            any `json:"transformers_version,omitempty"`
	NewDType           any `json:"dtype,omitempty"`
	InitializerRange   any `json:"initializer_range,omitempty"`
	UseCache           any `json:"use_cache,omitempty"`
	AttentionDropout   any `json:"attention_dropout,omitempty"`
	PretrainingTP      any `json:"pretraining_tp,omitempty"` // how products are split
	WindowLayers       any `json:"max_window_layers,omitempty"`
	Window             any `json:"sliding_window,omitempty"` // see use_sliding_window
	IsLlamaConfig      any `json:"is_llama_config,omitempty"`
	JSConfig           any `json:"transformers.js_config,omitempty"`
	HiddenDropout      any `json:"hidden_dropout_prob,omitempty"`
	ProbsDropout       any `json:"attention_probs_dropout_prob,omitempty"`
	ClassifierDropout  any `json:"classifier_dropout,omitempty"`
	Checkpointing      any `json:"gradient_checkpointing,omitempty"`
	IDToLabel          any `json:"id2label,omitempty"`
	LabelToID          any `json:"label2id,omitempty"`
}

// readConfig reads dir's config.json and its header. The path is for errors.
func readConfig(dir string) (path string, text []byte, h *hfHeader, err error) {
	path = filepath.Join(dir, ConfigFile)
	if text, err = os.ReadFile(path); err != nil {
		return path, nil, nil, fmt.Errorf("model: %w", err)
	}
	h, err = parseHeader(text, path)
	return path, text, h, err
}

func parseHeader(text []byte, path string) (*hfHeader, error) {
	var h hfHeader
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("model: %s: %w", path, err)
	}
	return &h, nil
}

// checkArchitecture returns an error unless every architecture that h names is
// one of known. The files of this package's llama-style encoders name none.
func (h *hfHeader) checkArchitecture(path string, known ...string) error {
	for _, a := range h.Architectures {
		if !slices.Contains(known, a) {
			return optionError(path, "architectures", fmt.Sprintf("%q", a), fmt.Sprintf("%q", known))
		}
	}
	return nil
}

// strict decodes all of text into v. A field that v does not have is an error
// that names it.
func strict(text []byte, path string, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("model: %s: %w", path, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("model: %s goes on after its closing brace", path)
	}
	return nil
}

// optionError says that a field of a configuration is not what it should be.
func optionError(path, field string, got any, want string) error {
	return fmt.Errorf("model: %s: %s is %v, want %s", path, field, got, want)
}

// or returns *p, or v if p is nil.
func or[T any](p *T, v T) T {
	if p == nil {
		return v
	}
	return *p
}
