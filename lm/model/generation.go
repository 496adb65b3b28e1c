package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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

// generationVocabulary is what a generation_config.json holds besides what is
// read.
var generationVocabulary = vocabulary{
	harmless: map[string][]string{
		"where the file comes from": {"_commit_hash", "_from_model_config", "transformers_version", "trust_remote_code"},
		"how, not what, is computed": {
			"assistant_confidence_threshold", "assistant_early_exit", "assistant_lookbehind", "cache_config", "compile_config",
			"continuous_batching_config", "disable_compile", "is_assistant", "low_memory", "max_cache_len", "max_matching_ngram_size",
			"num_assistant_tokens", "num_assistant_tokens_schedule", "prefill_chunk_size", "prompt_lookup_num_tokens",
			"return_legacy_cache", "speculation_type", "target_lookbehind", "use_cache", "use_mtp",
		},
		"what a call returns besides tokens": {
			"num_return_sequences", "output_attentions", "output_hidden_states", "output_logits", "output_scores", "return_dict_in_generate",
		},
		"for beam search only, which num_beams rules out":                    {"early_stopping", "length_penalty"},
		"for models with an encoder only":                                    {"decoder_start_token_id", "encoder_no_repeat_ngram_size"},
		"divides all probabilities by their sum, which sampling does anyway": {"renormalize_logits"},
	},
	neutral: map[string][]any{
		"assistant_ensemble_weight":        {nil},
		"bad_words_ids":                    {[]any{}},
		"begin_suppress_tokens":            {[]any{}},
		"cache_implementation":             {"dynamic", "static", "offloaded", "offloaded_static", "dynamic_full"},
		"constraints":                      {[]any{}},
		"diversity_penalty":                {0.0},
		"dola_layers":                      {nil},
		"encoder_repetition_penalty":       {1.0},
		"epsilon_cutoff":                   {0.0},
		"eta_cutoff":                       {0.0},
		"exponential_decay_length_penalty": {nil},
		"force_words_ids":                  {[]any{}},
		"forced_bos_token_id":              {nil},
		"forced_eos_token_id":              {nil},
		"guidance_scale":                   {1.0},
		"max_time":                         {nil},
		"min_length":                       {0.0},
		"min_new_tokens":                   {0.0},
		"no_repeat_ngram_size":             {0.0},
		"num_beam_groups":                  {1.0},
		"num_beams":                        {1.0},
		"penalty_alpha":                    {0.0},
		"remove_invalid_values":            {false},
		"sequence_bias":                    {map[string]any{}, []any{}},
		"stop_strings":                     {[]any{}},
		"suppress_tokens":                  {[]any{}},
		"token_healing":                    {false},
		"top_h":                            {1.0},
		"typical_p":                        {1.0},
		"watermarking_config":              {nil},
	},
}

// ReadGeneration reads a checkpoint's generation_config.json. If there is none,
// it returns just the special tokens of its config.json, whose eos_token_id also stands
// in for one that generation_config.json lacks. An option that this
// package does not know is an error that names it, unless it changes nothing
// that is generated.
func ReadGeneration(dir string) (Generation, error) {
	var g Generation
	path, fields, err := readFields(dir, GenerationFile)
	if err == nil {
		err = generationVocabulary.decode(fields, &g)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Generation{}, err
	} else if path, fields, err = readFields(dir, ConfigFile); err != nil {
		return Generation{}, err
	} else {
		err = generationVocabulary.decode(specialTokens(fields), &g)
	}
	if err != nil {
		return Generation{}, fmt.Errorf("model: %s: %w", path, err)
	}
	if g.EOS == nil {
		if g.EOS, err = readEnds(dir); err != nil {
			return Generation{}, err
		}
	}
	return g, nil
}

// readEnds returns the tokens that end a text: eos_token_id of generation_config.json,
// or if that has none of config.json.
func readEnds(dir string) (TokenIDs, error) {
	const name = "eos_token_id"
	for _, file := range []string{GenerationFile, ConfigFile} {
		path, fields, err := readFields(dir, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if fields[name] == nil || isNull(fields[name]) {
			continue
		}
		var ends TokenIDs
		if err := json.Unmarshal(fields[name], &ends); err != nil {
			return nil, optionError(path, name, fmt.Sprintf("%.80s", fields[name]), "a token id or a list of them")
		}
		return ends, nil
	}
	return nil, nil
}

// replaceEnds makes eos_token_id of the generation_config.json that a directory has, if it
// has one, what the decoder ends at: it counts before that of config.json.
func (d *Decoder) replaceEnds(dir string) error {
	path, fields, err := readFields(dir, GenerationFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	const name = "eos_token_id"
	var ends TokenIDs
	if fields[name] == nil || json.Unmarshal(fields[name], &ends) == nil && slices.Equal(ends, d.origin.ends) {
		return nil
	}
	if fields[name] = raw(d.origin.ends); len(d.origin.ends) == 0 {
		delete(fields, name)
	}
	return writeJSON(path, fields)
}

// specialTokens returns the special tokens among the fields of a config.json.
func specialTokens(fields map[string]json.RawMessage) map[string]json.RawMessage {
	some := map[string]json.RawMessage{}
	for _, name := range []string{"bos_token_id", "eos_token_id", "pad_token_id"} {
		if value, ok := fields[name]; ok {
			some[name] = value
		}
	}
	return some
}

// tokens returns the special tokens in the form of config.json.
func (g *Generation) tokens() (bos, eos, pad json.RawMessage) {
	if eos = null; len(g.EOS) > 0 {
		eos = raw(g.EOS)
	}
	return raw(g.BOS), eos, raw(g.Pad)
}

// raw is JSON of token ids.
func raw(ids any) json.RawMessage {
	text, err := json.Marshal(ids)
	if err != nil {
		panic("model: " + err.Error()) // numbers and lists of them
	}
	return text
}
