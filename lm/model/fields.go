package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

// maxConfig bounds the size of a configuration file. The largest published ones,
// with thousands of labels, have less than a megabyte.
const maxConfig = 16 << 20

// vocabulary says which fields of a file change nothing here, although this
// package does not read them.
type vocabulary struct {
	// harmless are fields that change nothing, whatever their value, by the
	// reason why.
	harmless map[string][]string
	// neutral are fields that would change something, with the values that do
	// not.
	neutral map[string][]any
}

// readFile reads a configuration file.
func readFile(path string) ([]byte, error) {
	text, err := infile.Read(path, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	return text, nil
}

// readOptional decodes a JSON file of at most limit bytes; without the file v stays.
func readOptional(path string, limit int64, v any) error {
	text, err := infile.Read(path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if err := infile.JSON(text, v); err != nil {
		return fmt.Errorf("model: %s: %w", path, err)
	}
	return nil
}

// parseFields returns the fields of a JSON object.
func parseFields(text []byte) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	err := infile.JSON(text, &fields)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, fmt.Errorf("%s, want an object", wrong.Value)
	}
	if err != nil {
		return nil, err
	}
	if fields == nil {
		return nil, errors.New("null, want an object")
	}
	return fields, nil
}

// decode sets the fields of v, a pointer to a struct, whose values in JSON are
// in fields; null means the default. An error names every field that is neither
// v's nor harmless, or the first whose value is of another type than v's.
func (w *vocabulary) decode(fields map[string]json.RawMessage, v any) error {
	own := map[string]bool{}
	fieldNames(reflect.TypeOf(v).Elem(), own)
	known := map[string]json.RawMessage{}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if isNull(fields[name]) {
			continue
		}
		if own[name] {
			known[name] = fields[name]
		} else if err := w.check(name, fields[name]); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if wrong != nil {
		return errors.New(strings.Join(wrong, "; "))
	}
	text, err := json.Marshal(known)
	if err != nil {
		panic("model: " + err.Error()) // it was JSON before
	}
	if err = json.Unmarshal(text, v); err == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(known)) { // which one was it?
		text := fmt.Appendf(nil, "{%q:%s}", name, known[name])
		err := json.Unmarshal(text, reflect.New(reflect.TypeOf(v).Elem()).Interface())
		var wrong *json.UnmarshalTypeError
		switch {
		case errors.As(err, &wrong):
			return fmt.Errorf("%s is %.80s, want %s", name, known[name], jsonType(wrong.Type))
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return err
}

// jsonType names the values that a Go type takes.
func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32:
		return "an integer"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list of " + t.Elem().Kind().String()
	}
	return "an object"
}

func isNull(value json.RawMessage) bool { return string(value) == "null" }

// check returns an error unless a field that is not read is harmless.
func (w *vocabulary) check(name string, text json.RawMessage) error {
	for _, names := range w.harmless {
		if slices.Contains(names, name) {
			return nil
		}
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	neutral, known := w.neutral[name]
	if !known {
		return fmt.Errorf("%s is %.80s, which is not known here", name, text)
	}
	var want []string
	for _, v := range neutral {
		if reflect.DeepEqual(v, value) {
			return nil
		}
		s, _ := json.Marshal(v)
		want = append(want, string(s))
	}
	return fmt.Errorf("%s is %.80s, want %s", name, text, strings.Join(want, " or "))
}

// fieldNames adds the JSON names of the fields of a struct.
func fieldNames(t reflect.Type, names map[string]bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			fieldNames(f.Type, names)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names[name] = true
	}
}

// configVocabulary is what a config.json holds besides what is read.
var configVocabulary = vocabulary{
	harmless: map[string][]string{
		"where the model comes from": {
			"_name_or_path", "_commit_hash", "transformers_version", "auto_map", "custom_pipelines", "finetuning_task",
			"is_llama_config", "language", "license", "model_name", "output_past", "task_specific_params", "transformers.js_config",
			"unsloth_fixed", "unsloth_version", "vocab_file",
		},
		"how, not what, is computed; the stored type of the weights counts": {
			"_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal", "_experts_implementation",
			"_flash_attn_2_enabled", "attn_implementation", "chunk_size_feed_forward", "deterministic_flash_attn", "dtype",
			"gradient_checkpointing", "pretraining_tp", "reference_compile", "repad_logits_with_grad", "tf_legacy_loss", "torchscript", "use_bfloat16", "use_cache", "use_flash_attention_2", "use_flash_attn",
		},
		"what a call returns besides logits": {
			"output_attentions", "output_hidden_states", "output_router_logits", "return_dict", "use_return_dict",
		},
		"training only; dropout is not done": {
			"attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "classifier_dropout", "embd_pdrop", "embedding_dropout",
			"hidden_dropout", "hidden_dropout_prob", "initializer_cutoff_factor", "initializer_factor", "initializer_range", "layerdrop",
			"mlp_dropout", "resid_pdrop", "residual_dropout", "router_aux_loss_coef",
		},
		"text and its tokenizer": {
			"max_sequence_length", "model_max_length", "prefix", "seq_length", "tokenizer_class", "tokenizer_model_max_length",
			"tokenizer_padding_side",
		},
		"labels and heads that are not read": {
			"id2label", "label2id", "num_labels", "problem_type", "sentence_transformers", "sep_token_id", "cls_token_id", "mask_token_id",
			"directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type",
		},
		"generation, for which generation_config.json counts": {
			"bad_words_ids", "begin_suppress_tokens", "decoder_start_token_id", "diversity_penalty", "do_sample", "early_stopping",
			"encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id",
			"length_penalty", "max_length", "max_new_tokens", "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams",
			"num_return_sequences", "output_scores", "remove_invalid_values", "repetition_penalty", "return_dict_in_generate",
			"suppress_tokens", "temperature", "top_k", "top_p", "typical_p",
		},
	},
	neutral: map[string][]any{
		"add_cross_attention":         {false},
		"alibi":                       {false},
		"attn_logit_softcapping":      {0.0},
		"bias":                        {false},
		"cross_attention_hidden_size": {0.0},
		"embedding_multiplier":        {1.0},
		"final_logit_softcapping":     {0.0},
		"is_encoder_decoder":          {false},
		"lm_head_bias":                {false},
		"logit_scale":                 {1.0},
		"logits_scaling":              {1.0},
		"mlp_bias":                    {false},
		"n_routed_experts":            {0.0},
		"num_experts":                 {0.0},
		"num_local_experts":           {0.0},
		"num_nextn_predict_layers":    {0.0},
		"parallel_attn":               {false},
		"pruned_heads":                {map[string]any{}},
		"quantization_config":         {nil},
		"residual_multiplier":         {1.0},
		"rope_interleaved":            {false},
		"rope_ratio":                  {1.0},
		"scale_emb":                   {1.0},
		"tie_encoder_decoder":         {false},
		"use_bias":                    {false},
		"use_mrope":                   {false},
		"use_parallel_residual":       {false},
		"use_qk_norm":                 {false},
		"attention_bias":              {false}, // it biases the output projection too
	},
}

// readFields reads a JSON object in a folder. The path is for errors.
func readFields(dir, name string) (path string, fields map[string]json.RawMessage, err error) {
	path = filepath.Join(dir, name)
	text, err := readFile(path)
	if err != nil {
		return path, nil, err
	}
	if fields, err = parseFields(text); err != nil {
		return path, nil, fmt.Errorf("model: %s: %w", path, err)
	}
	return path, fields, nil
}
