package gguf

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/internal/infile"
	"github.com/stepwise-rl/stepwise/lm/chat"
)

// maxFile bounds the size of a tokenizer's files.
const maxFile = 256 << 20

// hfTokenizer is the part of a tokenizer.json that llama.cpp needs.
type hfTokenizer struct {
	Added []struct {
		ID      int    `json:"id"`
		Content string `json:"content"`
		Special bool   `json:"special"`
		Single  bool   `json:"single_word"`
		LStrip  bool   `json:"lstrip"`
		RStrip  bool   `json:"rstrip"`
	} `json:"added_tokens"`
	Normalizer    *hfPart `json:"normalizer"`
	PreTokenizer  *hfPart `json:"pre_tokenizer"`
	PostProcessor *hfPart `json:"post_processor"`
	Model         struct {
		Type         string         `json:"type"`
		Vocab        map[string]int `json:"vocab"`
		Merges       []merge        `json:"merges"`
		ByteFallback bool           `json:"byte_fallback"`
		IgnoreMerges bool           `json:"ignore_merges"`
		Unknown      *string        `json:"unk_token"`
		Prefix       string         `json:"continuing_subword_prefix"`
		Suffix       string         `json:"end_of_word_suffix"`
	} `json:"model"`
}

// hfPart is a normaliser, pre-tokeniser or post-processor, or a list of them.
type hfPart struct {
	Type          string   `json:"type"`
	Normalizers   []hfPart `json:"normalizers"`
	PreTokenizers []hfPart `json:"pretokenizers"`
	Processors    []hfPart `json:"processors"`

	Pattern struct {
		String string
		Regex  string
	} `json:"pattern"`
	Behavior       string `json:"behavior"`
	Invert         bool   `json:"invert"`
	Content        string `json:"content"`
	Prepend        string `json:"prepend"`
	UseRegex       *bool  `json:"use_regex"`
	AddPrefixSpace *bool  `json:"add_prefix_space"`
	PrependScheme  string `json:"prepend_scheme"`
	Digits         bool   `json:"individual_digits"`

	Single []hfPiece `json:"single"`
}

// hfPiece is a part of a template: a special token, or the text if nil.
type hfPiece struct {
	Special *struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
}

// merge is a pair of tokens, in JSON "a b" or ["a", "b"].
type merge string

func (m *merge) UnmarshalJSON(text []byte) error {
	var pair [2]string
	if json.Unmarshal(text, &pair) == nil {
		*m = merge(pair[0] + " " + pair[1])
		return nil
	}
	return json.Unmarshal(text, (*string)(m))
}

// The types of tokens in llama.cpp.
const (
	tokenNormal  = 1
	tokenUnknown = 2
	tokenControl = 3
	tokenAdded   = 4
	tokenUnused  = 5
	tokenByte    = 6
)

// readTokenizer translates the tokenizer in dir for a model of vocab tokens. It
// fills up with padding tokens if the tokenizer has fewer.
func readTokenizer(dir string, vocab int) ([]KV, error) {
	path := filepath.Join(dir, "tokenizer.json")
	text, err := infile.Read(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	metadata, err := tokenizerMetadata(text, vocab)
	if err != nil {
		return nil, fmt.Errorf("gguf: %s: %w", path, err)
	}
	templates, err := chat.ReadConfig(dir)
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(templates.Templates)) {
		key := "tokenizer.chat_template"
		if name != "default" {
			key += "." + name
		}
		metadata = append(metadata, KV{key, templates.Templates[name]})
	}
	return metadata, nil
}

// tokenizerMetadata translates a tokenizer.json.
func tokenizerMetadata(text []byte, vocab int) ([]KV, error) {
	var t hfTokenizer
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, err
	}
	if t.Model.Type != "BPE" && (t.Model.Type != "" || t.Model.Merges == nil) { // old files do not say
		return nil, fmt.Errorf("model.type is %q, want \"BPE\"", t.Model.Type)
	}
	if t.Model.Prefix != "" || t.Model.Suffix != "" {
		return nil, fmt.Errorf("model.continuing_subword_prefix is %q and end_of_word_suffix %q, want null: llama.cpp knows neither", t.Model.Prefix, t.Model.Suffix)
	}
	tokens, types, err := t.tokens(vocab)
	if err != nil {
		return nil, err
	}
	var metadata []KV
	if t.Model.ByteFallback {
		metadata, err = t.sentencePiece(tokens, types)
	} else {
		metadata, err = t.byteLevel()
	}
	if err != nil {
		return nil, err
	}
	metadata = append(metadata, KV{"tokenizer.ggml.tokens", tokens}, KV{"tokenizer.ggml.token_type", types})
	return t.addTokens(metadata)
}

// tokens lists the texts and types of all tokens.
func (t *hfTokenizer) tokens(vocab int) ([]string, []int32, error) {
	tokens, types := make([]string, vocab), make([]int32, vocab)
	set := func(id int, text string, kind int32) error {
		if id < 0 || id >= vocab {
			return fmt.Errorf("token %q has id %d, but the model has embeddings for %d", text, id, vocab)
		}
		if types[id] != tokenUnused && tokens[id] != text {
			return fmt.Errorf("tokens %q and %q both have id %d", tokens[id], text, id)
		}
		tokens[id], types[id] = text, kind
		return nil
	}
	for i := range tokens {
		tokens[i], types[i] = fmt.Sprintf("[PAD%d]", i), tokenUnused
	}
	for text, id := range t.Model.Vocab {
		kind := int32(tokenNormal)
		if t.Model.ByteFallback && len(text) == 6 && strings.HasPrefix(text, "<0x") {
			kind = tokenByte
		}
		if err := set(id, text, kind); err != nil {
			return nil, nil, err
		}
	}
	for i, a := range t.Added {
		if a.Single || a.LStrip || a.RStrip {
			return nil, nil, fmt.Errorf("added_tokens[%d] (%q) has single_word, lstrip or rstrip, which a GGUF file cannot say", i, a.Content)
		}
		kind := int32(tokenAdded)
		if a.Special {
			kind = tokenControl
		}
		if u := t.Model.Unknown; u != nil && *u == a.Content {
			kind = tokenUnknown
		}
		if err := set(a.ID, a.Content, kind); err != nil {
			return nil, nil, err
		}
	}
	return tokens, types, nil
}

// id returns the id of a token's text.
func (t *hfTokenizer) id(text string) (uint32, bool) {
	for _, a := range t.Added {
		if a.Content == text {
			return uint32(a.ID), true
		}
	}
	id, ok := t.Model.Vocab[text]
	return uint32(id), ok
}

// patterns are llama.cpp's names for the expressions that split a text into
// words.
var patterns = map[string]string{
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: "llama-bpe",
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:      "qwen2",
}

// byteLevel translates a byte-level BPE: GPT-2's, Llama 3's, Qwen's, SmolLM's.
func (t *hfTokenizer) byteLevel() ([]KV, error) {
	name, err := t.preTokenizer()
	if err != nil {
		return nil, err
	}
	if n := t.Normalizer; n != nil && (n.Type != "NFC" || name != "qwen2") {
		return nil, fmt.Errorf("normalizer %q is not known to llama.cpp with pre-tokenizer %s", n.Type, name)
	}
	if t.Model.IgnoreMerges != (name == "llama-bpe") {
		return nil, fmt.Errorf("model.ignore_merges is %v, which is not known to llama.cpp with pre-tokenizer %s", t.Model.IgnoreMerges, name)
	}
	merges := make([]string, len(t.Model.Merges))
	for i, m := range t.Model.Merges {
		merges[i] = string(m)
	}
	return []KV{
		{"tokenizer.ggml.model", "gpt2"},
		{"tokenizer.ggml.pre", name},
		{"tokenizer.ggml.merges", merges},
	}, nil
}

// preTokenizer returns llama.cpp's name of the pre-tokeniser.
func (t *hfTokenizer) preTokenizer() (string, error) {
	p := t.PreTokenizer
	if p == nil {
		return "", errors.New("pre_tokenizer is null, want that of a byte-level BPE")
	}
	parts := []hfPart{*p}
	if p.Type == "Sequence" {
		parts = p.PreTokenizers
	}
	last := hfPart{}
	if len(parts) > 0 {
		last = parts[len(parts)-1]
	}
	if last.Type != "ByteLevel" || last.AddPrefixSpace == nil || *last.AddPrefixSpace {
		return "", errors.New("pre_tokenizer does not end in ByteLevel with add_prefix_space false")
	}
	words := last.UseRegex == nil || *last.UseRegex
	switch first := parts[0]; {
	case len(parts) == 1 && words:
		return "gpt-2", nil
	case len(parts) == 2 && words && first.Type == "Digits" && first.Digits:
		return "smollm", nil
	case len(parts) == 2 && !words && first.Type == "Split" && first.Behavior == "Isolated" && !first.Invert:
		if name, ok := patterns[first.Pattern.Regex]; ok {
			return name, nil
		}
		return "", fmt.Errorf("pre_tokenizer has the pattern %q, for which llama.cpp's name is not known", first.Pattern.Regex)
	}
	return "", fmt.Errorf("pre_tokenizer of %d parts, the first a %s, is not known", len(parts), parts[0].Type)
}

// sentencePiece translates a BPE with byte fallback: Llama 2's. llama.cpp
// merges the pair whose token has the highest score, so a token's score is the
// negative rank of its merge.
func (t *hfTokenizer) sentencePiece(tokens []string, types []int32) ([]KV, error) {
	prefix, err := t.spacePrefix()
	if err != nil {
		return nil, err
	}
	if t.Model.IgnoreMerges {
		return nil, errors.New("model.ignore_merges is true, which is not known to llama.cpp with byte_fallback")
	}
	if err := t.checkMerges(tokens, types); err != nil {
		return nil, err
	}
	rank := map[string]int{}
	for i, m := range t.Model.Merges {
		text := strings.Replace(string(m), " ", "", 1)
		if _, ok := rank[text]; !ok {
			rank[text] = i
		}
	}
	scores := make([]float32, len(tokens))
	for id, text := range tokens {
		scores[id] = -float32(len(t.Model.Merges)) // made by no merge
		if r, ok := rank[text]; ok {
			scores[id] = -float32(r)
		}
	}
	metadata := []KV{
		{"tokenizer.ggml.model", "llama"},
		{"tokenizer.ggml.pre", "default"},
		{"tokenizer.ggml.scores", scores},
		{"tokenizer.ggml.add_space_prefix", prefix},
	}
	if u := t.Model.Unknown; u != nil {
		if id, ok := t.id(*u); ok {
			metadata = append(metadata, KV{"tokenizer.ggml.unknown_token_id", id})
		}
	}
	return metadata, nil
}

// checkMerges returns an error if the merges are not those that SentencePiece's pieces
// allow. llama.cpp does not get them: it merges any two neighbours whose text is a
// token's, and all pairs that make the same token with the same score.
func (t *hfTokenizer) checkMerges(tokens []string, types []int32) error {
	listed, last := make(map[string]bool), make(map[string]int)
	for i, m := range t.Model.Merges {
		text := strings.Replace(string(m), " ", "", 1)
		if before, ok := last[text]; ok && before != i-1 {
			return fmt.Errorf("model.merges[%d] (%q) makes %q as model.merges[%d] does, with others between, which llama.cpp cannot do", i, m, text, before)
		}
		listed[string(m)], last[text] = true, i
	}
	kinds := make(map[string]int32)
	for id, text := range tokens {
		kinds[text] = types[id]
	}
	// A character that is no token is one of llama.cpp's symbols nevertheless.
	symbol := func(text string) bool {
		kind, ok := kinds[text]
		return kind == tokenNormal || !ok && utf8.RuneCountInString(text) == 1
	}
	for id, text := range tokens {
		if types[id] != tokenNormal {
			continue
		}
		for at := range text {
			if left, right := text[:at], text[at:]; symbol(left) && symbol(right) && !listed[left+" "+right] {
				return fmt.Errorf("model.merges lacks %q, but %q is a token: llama.cpp merges whatever makes a token, as SentencePiece does, so it would give texts other tokens", left+" "+right, text)
			}
		}
	}
	return nil
}

// spacePrefix reports whether the normaliser puts a space before a text. It must
// turn all spaces into ▁ and do nothing else.
func (t *hfTokenizer) spacePrefix() (bool, error) {
	if p := t.PreTokenizer; p != nil {
		return false, fmt.Errorf("pre_tokenizer is %s, want null with byte_fallback", p.Type)
	}
	n := t.Normalizer
	if n == nil {
		return false, errors.New("normalizer is null, want one that turns spaces into ▁ with byte_fallback")
	}
	parts := []hfPart{*n}
	if n.Type == "Sequence" {
		parts = n.Normalizers
	}
	prefix := len(parts) == 2 && parts[0].Type == "Prepend" && parts[0].Prepend == "▁"
	if prefix {
		parts = parts[1:]
	}
	if len(parts) != 1 || parts[0].Type != "Replace" || parts[0].Pattern.String != " " || parts[0].Content != "▁" {
		return false, errors.New("normalizer does not just turn spaces into ▁")
	}
	return prefix, nil
}

// addTokens adds the tokens that begin and end an encoded text.
func (t *hfTokenizer) addTokens(metadata []KV) ([]KV, error) {
	var parts []hfPart
	if p := t.PostProcessor; p != nil {
		parts = []hfPart{*p}
		if p.Type == "Sequence" {
			parts = p.Processors
		}
	}
	bos, eos := "", ""
	for _, p := range parts {
		switch p.Type {
		case "ByteLevel": // changes offsets only
		case "TemplateProcessing":
			at := slices.IndexFunc(p.Single, func(s hfPiece) bool { return s.Special == nil })
			if at < 0 || at > 1 || len(p.Single) > at+2 {
				return nil, errors.New("post_processor puts more than one token before or after a text")
			}
			if at == 1 {
				bos = p.Single[0].Special.ID
			}
			if len(p.Single) == at+2 {
				if p.Single[at+1].Special == nil {
					return nil, errors.New("post_processor repeats the text")
				}
				eos = p.Single[at+1].Special.ID
			}
		default:
			return nil, fmt.Errorf("post_processor is %q, want ByteLevel or TemplateProcessing", p.Type)
		}
	}
	metadata = append(metadata, KV{"tokenizer.ggml.add_bos_token", bos != ""}, KV{"tokenizer.ggml.add_eos_token", eos != ""})
	for _, special := range []struct{ key, text string }{{"tokenizer.ggml.bos_token_id", bos}, {endKey, eos}} {
		if special.text == "" {
			continue
		}
		id, ok := t.id(special.text)
		if !ok {
			return nil, fmt.Errorf("post_processor adds %q, which is no token", special.text)
		}
		metadata = append(metadata, KV{special.key, id})
	}
	return metadata, nil
}
