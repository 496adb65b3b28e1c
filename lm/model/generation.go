package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// GenerationFile is the name of the file with a checkpoint's generation
// settings.
const GenerationFile = "generation_config.json"

// Generation is a checkpoint's generation_config.json: the special tokens, and
// the sampling settings that its authors recommend. A nil pointer means that the
// file does not say.
type Generation struct {
	// BOS begins a text, EOS are the tokens that end it, Pad fills batches.
	BOS *int32   `json:"bos_token_id,omitempty"`
	EOS TokenIDs `json:"eos_token_id,omitempty"`
	Pad *int32   `json:"pad_token_id,omitempty"`

	Sample            *bool    `json:"do_sample,omitempty"` // false = greedy
	Temperature       *float64 `json:"temperature,omitempty"`
	TopK              *int     `json:"top_k,omitempty"`
	TopP              *float64 `json:"top_p,omitempty"`
	MinP              *float64 `json:"min_p,omitempty"`
	RepetitionPenalty *float64 `json:"repetition_penalty,omitempty"`
	MaxLength         *int     `json:"max_length,omitempty"`
	MaxNewTokens      *int     `json:"max_new_tokens,omitempty"`
}

// TokenIDs is a list of token ids. In JSON it is a list or, if it has one
// element, a number.
type TokenIDs []int32

// UnmarshalJSON accepts null, a number, and a list of numbers.
func (t *TokenIDs) UnmarshalJSON(text []byte) error {
	var ids []int32
	if err := json.Unmarshal(text, &ids); err != nil {
		var id int32
		if json.Unmarshal(text, &id) != nil {
			return err
		}
		ids = []int32{id}
	}
	*t = ids
	return nil
}

// MarshalJSON writes one id as a number.
func (t TokenIDs) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]int32(t))
}

// ReadGeneration reads a checkpoint's generation_config.json. If there is none,
// it returns just the special tokens of its config.json. An option that this
// package does not know is an error that names it.
func ReadGeneration(dir string) (Generation, error) {
	path := filepath.Join(dir, GenerationFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return specialTokens(dir)
	}
	if err != nil {
		return Generation{}, fmt.Errorf("model: %w", err)
	}
	var g struct {
		Generation
		// These have no effect on what is generated.
		Version            any `json:"transformers_version"`
		FromModel          any `json:"_from_model_config"`
		UseCache           any `json:"use_cache"`
		OutputAttentions   any `json:"output_attentions"`
		OutputHiddenStates any `json:"output_hidden_states"`
		OutputScores       any `json:"output_scores"`
		OutputLogits       any `json:"output_logits"`
		ReturnDict         any `json:"return_dict_in_generate"`
	}
	err = strict(text, path, &g)
	return g.Generation, err
}

// specialTokens reads the special tokens from dir's config.json.
func specialTokens(dir string) (Generation, error) {
	path, text, _, err := readConfig(dir)
	if err != nil {
		return Generation{}, err
	}
	var g struct {
		BOS *int32   `json:"bos_token_id"`
		EOS TokenIDs `json:"eos_token_id"`
		Pad *int32   `json:"pad_token_id"`
	}
	if err := json.Unmarshal(text, &g); err != nil {
		return Generation{}, fmt.Errorf("model: %s: %w", path, err)
	}
	return Generation{BOS: g.BOS, EOS: g.EOS, Pad: g.Pad}, nil
}

// tokens returns the special tokens in the form of config.json.
func (g *Generation) tokens() (bos, eos, pad json.RawMessage) {
	raw := func(v any) json.RawMessage {
		text, err := json.Marshal(v)
		if err != nil {
			panic("model: " + err.Error()) // numbers and lists of them
		}
		return text
	}
	if eos = null; len(g.EOS) > 0 {
		eos = raw(g.EOS)
	}
	return raw(g.BOS), eos, raw(g.Pad)
}
