package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// parseNormalizer reads the part of the file of that name.
func parseNormalizer(p filePart) (normalizer, error) {
	if p == nil {
		return nil, nil
	}
	for _, m := range []spaceMarker{{}, {prefix: true}, {trim: true}, {prefix: true, trim: true}} {
		if same(p, m.json()) {
			return m, nil
		}
	}
	kind, err := p.kind()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "NFC":
		return nfc{}, decodeStrict(p, &struct{ Type string }{})
	case "BertNormalizer":
		var b struct {
			Type               string
			CleanText          bool  `json:"clean_text"`
			HandleChineseChars bool  `json:"handle_chinese_chars"`
			StripAccents       *bool `json:"strip_accents"`
			Lowercase          bool
		}
		err := decodeStrict(p, &b)
		strip := b.Lowercase
		if b.StripAccents != nil {
			strip = *b.StripAccents
		}
		return bertNormalizer{clean: b.CleanText, chinese: b.HandleChineseChars, strip: strip, lower: b.Lowercase}, err
	case "Sequence":
		var s struct {
			Type        string
			Normalizers []filePart
		}
		if err := decodeStrict(p, &s); err != nil {
			return nil, err
		}
		if len(s.Normalizers) == 1 {
			return parseNormalizer(s.Normalizers[0])
		}
	}
	return nil, fmt.Errorf("%s is not supported, only \"NFC\", \"BertNormalizer\" and what marks spaces as Llama 2 does", p)
}

// same reports whether two pieces of JSON, the second well-formed, hold the
// same.
func same(p filePart, want string) bool {
	var a, b any
	if json.Unmarshal(p, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return false
	}
	return reflect.DeepEqual(a, b)
}

// parseByteLevel reads the pre-tokeniser of a byte-level BPE: ByteLevel alone,
// or last in a Sequence.
func parseByteLevel(p filePart) (splitter, error) {
	parts := []filePart{p}
	switch kind, err := p.kind(); {
	case p == nil:
		return nil, errors.New("null is not supported without byte_fallback")
	case err != nil:
		return nil, err
	case kind == "Sequence":
		var s struct {
			Type          string
			Pretokenizers []filePart
		}
		if err := decodeStrict(p, &s); err != nil {
			return nil, err
		}
		parts = s.Pretokenizers
	}
	var c chain
	for i, part := range parts {
		kind, err := part.kind()
		if err != nil {
			return nil, err
		}
		var s splitter
		switch last := i == len(parts)-1; {
		case kind == "ByteLevel" && last:
			s, err = parseByteLevelSplitter(part)
		case kind == "ByteLevel":
			err = errors.New("ByteLevel is supported only as the last of a Sequence")
		case last:
			err = fmt.Errorf("type: %q is not supported, only \"ByteLevel\" alone or after others", kind)
		case kind == "Split":
			s, err = parseSplit(part)
		case kind == "Digits":
			var d struct {
				Type             string
				IndividualDigits bool `json:"individual_digits"`
			}
			err = decodeStrict(part, &d)
			s = digitSplitter{single: d.IndividualDigits}
		default:
			err = fmt.Errorf("type: %q is not supported, only \"Split\", \"Digits\" and \"ByteLevel\"", kind)
		}
		if err != nil {
			return nil, err
		}
		if s != nil {
			c = append(c, s)
		}
	}
	switch len(parts) {
	case 0:
		return nil, errors.New("an empty Sequence is not supported")
	case 1:
		if len(c) == 1 {
			return c[0], nil
		}
	}
	return c, nil
}

type fileByteLevel struct {
	Type           string
	AddPrefixSpace bool  `json:"add_prefix_space"`
	TrimOffsets    bool  `json:"trim_offsets"`
	UseRegex       *bool `json:"use_regex"` // absent in older files: true
}

// parseByteLevelSplitter returns nil if ByteLevel splits nothing.
func parseByteLevelSplitter(p filePart) (splitter, error) {
	var b fileByteLevel
	switch err := decodeStrict(p, &b); {
	case err != nil:
		return nil, err
	case b.AddPrefixSpace:
		return nil, errors.New("add_prefix_space: true is not supported")
	case b.UseRegex != nil && !*b.UseRegex:
		return nil, nil
	}
	return scannerGPT2, nil
}

func parseSplit(p filePart) (splitter, error) {
	var s struct {
		Type     string
		Pattern  struct{ String, Regex *string }
		Behavior string
		Invert   bool
	}
	switch err := decodeStrict(p, &s); {
	case err != nil:
		return nil, err
	case s.Behavior != "Isolated":
		return nil, fmt.Errorf("behavior: %q is not supported, only \"Isolated\"", s.Behavior)
	case s.Invert:
		return nil, errors.New("invert: true is not supported")
	case s.Pattern.Regex == nil || s.Pattern.String != nil:
		return nil, errors.New("pattern: only Regex is supported")
	}
	if known, ok := patterns[*s.Pattern.Regex]; ok {
		return known, nil
	}
	return newRegexpSplitter(*s.Pattern.Regex)
}

// parseMetaspace returns nil if the pre-tokeniser is another one.
func parseMetaspace(p filePart) (*metaspace, error) {
	if p == nil {
		return nil, nil
	}
	kind, err := p.kind()
	if err != nil || kind != "Metaspace" {
		return nil, err
	}
	var m struct {
		Type, Replacement string
		PrependScheme     string `json:"prepend_scheme"`
		Split             *bool
	}
	switch err := decodeStrict(p, &m); {
	case err != nil:
		return nil, err
	case m.Replacement != spaceMark:
		return nil, fmt.Errorf("replacement: %q is not supported, only %q", m.Replacement, spaceMark)
	case m.Split == nil || *m.Split:
		return nil, errors.New("split: true is not supported")
	}
	switch m.PrependScheme {
	case "always":
		return &metaspace{prefix: true, always: true}, nil
	case "first":
		return &metaspace{prefix: true}, nil
	case "never":
		return &metaspace{}, nil
	}
	return nil, fmt.Errorf("prepend_scheme: %q is not supported, only \"always\", \"first\" and \"never\"", m.PrependScheme)
}

func parseBertPreTokenizer(p filePart) (splitter, error) {
	switch kind, err := p.kind(); {
	case p == nil:
		return nil, errors.New("null is not supported with WordPiece, only \"BertPreTokenizer\"")
	case err != nil:
		return nil, err
	case kind != "BertPreTokenizer":
		return nil, fmt.Errorf("type: %q is not supported with WordPiece, only \"BertPreTokenizer\"", kind)
	}
	return bertSplitter{}, decodeStrict(p, &struct{ Type string }{})
}

// parseByteLevelDecoder accepts any ByteLevel: its options change offsets and
// text in the library, never ids.
func parseByteLevelDecoder(p filePart) error {
	if p == nil {
		return nil
	}
	kind, err := p.kind()
	if err == nil && kind != "ByteLevel" {
		err = fmt.Errorf("type: %q is not supported, only \"ByteLevel\"", kind)
	}
	if err != nil {
		return err
	}
	return decodeStrict(p, &fileByteLevel{})
}

func parseWordPieceDecoder(p filePart, prefix string) (cleanup bool, err error) {
	if p == nil {
		return false, nil
	}
	var w struct {
		Type, Prefix string
		Cleanup      bool
	}
	err = decodeStrict(p, &w)
	switch {
	case err != nil:
	case w.Type != "WordPiece":
		err = fmt.Errorf("type: %q is not supported, only \"WordPiece\"", w.Type)
	case w.Prefix != prefix:
		err = fmt.Errorf("prefix: %q, but the model's is %q", w.Prefix, prefix)
	}
	return w.Cleanup, err
}
