package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Load reads a tokenizer.json. See [Parse].
func Load(path string) (*Tokenizer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	return t, nil
}

// Parse reads the contents of a tokenizer.json: a BPE model over all 256 bytes
// with the ByteLevel pre-tokeniser and nothing else that changes the ids. What
// is wrong or not supported is an error that names the field.
func Parse(data []byte) (*Tokenizer, error) {
	t, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

func read(data []byte) (*Tokenizer, error) {
	d, err := parse(data)
	if err != nil {
		return nil, err
	}
	return build(d)
}

func parse(data []byte) (definition, error) {
	var f file
	if err := decodeStrict(data, &f); err != nil {
		return definition{}, err
	}
	if f.Version != "1.0" {
		return definition{}, fmt.Errorf("version: %q is not supported, only \"1.0\"", f.Version)
	}
	for _, field := range []struct {
		name  string
		value json.RawMessage
	}{{"truncation", f.Truncation}, {"padding", f.Padding}, {"normalizer", f.Normalizer}} {
		if !isNull(field.value) {
			return definition{}, fmt.Errorf("%s: %.80s is not supported, only null", field.name, field.value)
		}
	}
	if err := parsePreTokenizer(f.PreTokenizer); err != nil {
		return definition{}, fmt.Errorf("pre_tokenizer: %w", err)
	}
	// These two change offsets and text there, never ids: any ByteLevel will do.
	for _, field := range []struct {
		name  string
		value json.RawMessage
	}{{"post_processor", f.PostProcessor}, {"decoder", f.Decoder}} {
		if isNull(field.value) {
			continue
		}
		if _, err := parseByteLevel(field.value); err != nil {
			return definition{}, fmt.Errorf("%s: %w", field.name, err)
		}
	}
	if isNull(f.Model) {
		return definition{}, errors.New("model: missing")
	}
	m, err := parseModel(f.Model)
	if err != nil {
		return definition{}, fmt.Errorf("model: %w", err)
	}
	return define(m, f.AddedTokens)
}

func parsePreTokenizer(raw json.RawMessage) error {
	if isNull(raw) {
		return errors.New("null is not supported, only ByteLevel")
	}
	p, err := parseByteLevel(raw)
	switch {
	case err != nil:
		return err
	case p.AddPrefixSpace:
		return errors.New("add_prefix_space: true is not supported")
	case p.UseRegex != nil && !*p.UseRegex:
		return errors.New("use_regex: false is not supported")
	}
	return nil
}

func parseByteLevel(raw json.RawMessage) (p fileByteLevel, err error) {
	var kind struct{ Type string }
	if err := json.Unmarshal(raw, &kind); err != nil {
		return p, err
	}
	if kind.Type != "ByteLevel" {
		return p, fmt.Errorf("type: %q is not supported, only \"ByteLevel\"", kind.Type)
	}
	return p, decodeStrict(raw, &p)
}

func parseModel(raw json.RawMessage) (m fileBPE, err error) {
	var kind struct{ Type *string }
	if err := json.Unmarshal(raw, &kind); err != nil {
		return m, err
	}
	if kind.Type != nil && *kind.Type != "BPE" {
		return m, fmt.Errorf("type: %q is not supported, only \"BPE\"", *kind.Type)
	}
	if err := decodeStrict(raw, &m); err != nil {
		return m, err
	}
	empty := func(s *string) bool { return s == nil || *s == "" }
	switch {
	case m.Dropout != nil && *m.Dropout != 0:
		err = errors.New("dropout: only null is supported")
	case !empty(m.ContinuingSubwordPrefix):
		err = fmt.Errorf("continuing_subword_prefix: %q is not supported, only null", *m.ContinuingSubwordPrefix)
	case !empty(m.EndOfWordSuffix):
		err = fmt.Errorf("end_of_word_suffix: %q is not supported, only null", *m.EndOfWordSuffix)
	case m.ByteFallback:
		err = errors.New("byte_fallback: true is not supported")
	case m.IgnoreMerges:
		err = errors.New("ignore_merges: true is not supported")
	}
	return m, err
}

// define puts vocabulary and added tokens in order of id; every id from 0 on
// must be there.
func define(m fileBPE, added []fileAdded) (definition, error) {
	spelling := make(map[int32]string, len(m.Vocab)+len(added))
	for s, id := range m.Vocab {
		if old, ok := spelling[id]; ok {
			return definition{}, fmt.Errorf("model.vocab: id %d is that of %q and of %q", id, min(s, old), max(s, old))
		}
		spelling[id] = s
	}
	var d definition
	for i, a := range added {
		if a.SingleWord || a.LStrip || a.RStrip {
			return definition{}, fmt.Errorf("added_tokens[%d] (%q): single_word, lstrip and rstrip are not supported", i, a.Content)
		}
		if id, ok := m.Vocab[a.Content]; ok && id != a.ID {
			return definition{}, fmt.Errorf("added_tokens[%d] (%q): id %d, but %d in model.vocab", i, a.Content, a.ID, id)
		}
		if s, ok := spelling[a.ID]; ok && s != a.Content {
			return definition{}, fmt.Errorf("added_tokens[%d] (%q): id %d is that of %q", i, a.Content, a.ID, s)
		}
		spelling[a.ID] = a.Content
		d.added = append(d.added, addedToken{content: a.Content, id: a.ID, special: a.Special, normalized: a.Normalized})
	}
	for id := range int32(len(spelling)) {
		s, ok := spelling[id]
		if !ok {
			return definition{}, fmt.Errorf("model.vocab: %d tokens, but none has id %d", len(spelling), id)
		}
		d.spelling = append(d.spelling, s)
	}
	for _, pair := range m.Merges {
		d.merges = append(d.merges, pair)
	}
	return d, nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// decodeStrict decodes one JSON value and refuses unknown fields.
func decodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the JSON value")
	}
	return nil
}
