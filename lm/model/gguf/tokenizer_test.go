package gguf

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

const llama2 = `{
	"added_tokens": [{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true}],
	"normalizer": {"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
	"post_processor": {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"</s>"}}]},
	"model": {"type":"BPE","byte_fallback":true,"unk_token":"<unk>",
		"vocab":{"<unk>":0,"<s>":1,"</s>":2,"<0x41>":3,"▁":4,"a":5,"b":6,"ab":7,"▁ab":8},
		"merges":["a b","▁ ab"]}
}`

func TestTokenizerOfTheLlama2Kind(t *testing.T) {
	metadata, err := tokenizerMetadata([]byte(llama2), 10)
	require.NoError(t, err)
	got := map[string]any{}
	for _, kv := range metadata {
		got[kv.Key] = kv.Value
	}
	require.Equal(t, map[string]any{
		"tokenizer.ggml.model":            "llama",
		"tokenizer.ggml.pre":              "default",
		"tokenizer.ggml.tokens":           []string{"<unk>", "<s>", "</s>", "<0x41>", "▁", "a", "b", "ab", "▁ab", "[PAD9]"},
		"tokenizer.ggml.token_type":       []int32{2, 3, 3, 6, 1, 1, 1, 1, 1, 5},
		"tokenizer.ggml.scores":           []float32{-2, -2, -2, -2, -2, -2, -2, 0, -1, -2},
		"tokenizer.ggml.add_space_prefix": true,
		"tokenizer.ggml.unknown_token_id": uint32(0),
		"tokenizer.ggml.add_bos_token":    true,
		"tokenizer.ggml.bos_token_id":     uint32(1),
		"tokenizer.ggml.add_eos_token":    true,
		"tokenizer.ggml.eos_token_id":     uint32(2),
	}, got)
}

// Tokens that several pairs make: each pair is listed, those of a token in a row.
func TestTokenizerOfSentencePiecesPairs(t *testing.T) {
	var changed map[string]any
	require.NoError(t, json.Unmarshal([]byte(llama2), &changed))
	m := changed["model"].(map[string]any)
	m["vocab"].(map[string]any)["▁a"] = 9
	m["merges"] = []string{"a b", "▁ a", "▁a b", "▁ ab"}
	text, err := json.Marshal(changed)
	require.NoError(t, err)
	metadata, err := tokenizerMetadata(text, 10)
	require.NoError(t, err)
	scores := metadata[slices.IndexFunc(metadata, func(kv KV) bool { return kv.Key == "tokenizer.ggml.scores" })].Value
	require.Equal(t, []float32{-4, -4, -4, -4, -4, -4, -4, 0, -2, -1}, scores)
}

func TestTokenizersThatLlamaCppDoesNotKnow(t *testing.T) {
	for want, change := range map[string]func(t map[string]any){
		`both have id 2`:                          func(t map[string]any) { t["model"].(map[string]any)["vocab"].(map[string]any)["x"] = 2 },
		"pre_tokenizer is Metaspace":              func(t map[string]any) { t["pre_tokenizer"] = map[string]any{"type": "Metaspace"} },
		"normalizer is null":                      func(t map[string]any) { t["normalizer"] = nil },
		"normalizer does not just turn spaces":    func(t map[string]any) { t["normalizer"] = map[string]any{"type": "NFKC"} },
		`post_processor adds "<x>", which is no `: func(t map[string]any) { single(t, "<x>", "") },
		"more than one token before or after":     func(t map[string]any) { single(t, "<s>", "<s>", "") },
		"post_processor repeats the text":         func(t map[string]any) { single(t, "", "") },
		`end_of_word_suffix "</w>", want null`:    func(t map[string]any) { t["model"].(map[string]any)["end_of_word_suffix"] = "</w>" },
		`continuing_subword_prefix is "##"`:       func(t map[string]any) { t["model"].(map[string]any)["continuing_subword_prefix"] = "##" },
		`added_tokens[2] ("</s>") has single_wor`: func(t map[string]any) { t["added_tokens"].([]any)[2].(map[string]any)["lstrip"] = true },
		`added_tokens[1] ("<s>") has single_wor`:  func(t map[string]any) { t["added_tokens"].([]any)[1].(map[string]any)["rstrip"] = true },
		`added_tokens[0] ("<unk>") has single_wo`: func(t map[string]any) { t["added_tokens"].([]any)[0].(map[string]any)["single_word"] = true },
		"model.ignore_merges is true":             func(t map[string]any) { t["model"].(map[string]any)["ignore_merges"] = true },
		`merges lacks "▁a b", but "▁ab" is a tok`: func(t map[string]any) { t["model"].(map[string]any)["vocab"].(map[string]any)["▁a"] = 9 },
		`merges lacks "a c", but "ac" is a token`: func(t map[string]any) { t["model"].(map[string]any)["vocab"].(map[string]any)["ac"] = 9 },
		`merges[2] ("▁a b") makes "▁ab" as model.merges[0]`: func(t map[string]any) {
			m := t["model"].(map[string]any)
			m["vocab"].(map[string]any)["▁a"] = 9
			m["merges"] = []string{"▁ ab", "a b", "▁a b", "▁ a"}
		},
		"pre_tokenizer of 2 parts, the first a Sp": func(t map[string]any) {
			t["model"].(map[string]any)["byte_fallback"] = false
			t["normalizer"] = nil
			t["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{
				map[string]any{"type": "Split", "behavior": "Isolated", "invert": true, "pattern": map[string]any{"Regex": slices.Sorted(maps.Keys(patterns))[0]}},
				map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
			}}
		},
	} {
		var changed map[string]any
		require.NoError(t, json.Unmarshal([]byte(llama2), &changed))
		change(changed)
		text, err := json.Marshal(changed)
		require.NoError(t, err)
		_, err = tokenizerMetadata(text, 10)
		require.ErrorContains(t, err, want)
	}
}

// single sets what a text is put between: special tokens, and "" for the text.
func single(t map[string]any, pieces ...string) {
	var list []any
	for _, p := range pieces {
		if p == "" {
			list = append(list, map[string]any{"Sequence": map[string]any{"id": "A"}})
		} else {
			list = append(list, map[string]any{"SpecialToken": map[string]any{"id": p}})
		}
	}
	t["post_processor"] = map[string]any{"type": "TemplateProcessing", "single": list}
}

// FuzzTokenizer: whatever is accepted gives every token a text and a type.
func FuzzTokenizer(f *testing.F) {
	f.Add([]byte(llama2))
	f.Add([]byte(`{"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","a"]]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		metadata, err := tokenizerMetadata(text, 10)
		if err != nil {
			return
		}
		for _, kv := range metadata {
			_, err := appendValue(nil, kv.Value)
			require.NoError(t, err)
			switch v := kv.Value.(type) {
			case []string:
				require.True(t, kv.Key == "tokenizer.ggml.merges" || len(v) == 10)
			case []int32:
				require.Len(t, v, 10)
			case []float32:
				require.Len(t, v, 10)
			}
		}
	})
}
