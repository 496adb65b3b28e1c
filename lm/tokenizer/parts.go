package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// flatten returns the parts that a part of the file consists of: those of a
// Sequence, whose field list has them, and of Sequences in it; none for null.
func flatten(p filePart, list string) (parts []filePart, err error) {
	return appendParts(nil, p, list, 0)
}

// maxDepth bounds how deep Sequences may be in one another.
const maxDepth = 32

func appendParts(parts []filePart, p filePart, list string, depth int) ([]filePart, error) {
	if p == nil {
		return parts, nil
	}
	kind, err := p.kind()
	if err != nil {
		return nil, err
	}
	if kind != "Sequence" {
		return append(parts, p), nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("more than %d Sequences in one another are not supported", maxDepth)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(p, &fields); err != nil {
		return nil, err
	}
	for name := range fields {
		if name != "type" && name != list {
			return nil, fmt.Errorf("unknown field %q", name)
		}
	}
	var inner []filePart
	if err := json.Unmarshal(fields[list], &inner); err != nil {
		return nil, fmt.Errorf("%s: want a list", list)
	}
	for i, q := range inner {
		if q == nil {
			return nil, fmt.Errorf("%s[%d]: null, want a part", list, i)
		}
		if parts, err = appendParts(parts, q, list, depth+1); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// one returns what parts are together: the only one, or a Sequence; nil if there
// are none.
func one(parts []filePart, list string) filePart {
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	}
	return sequence(parts, list)
}

// sequence returns a Sequence.
func sequence(parts []filePart, list string) filePart {
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = string(p)
	}
	return filePart(fmt.Sprintf(`{"type":"Sequence",%q:[%s]}`, list, strings.Join(texts, ",")))
}

// parseNormalizer reads the part of the file of that name.
func parseNormalizer(p filePart) (normalizer, error) {
	parts, err := flatten(p, "normalizers")
	if err != nil {
		return nil, err
	}
	if p = one(parts, "normalizers"); p == nil {
		return nil, nil
	}
	for _, m := range []spaceMarker{{}, {prefix: true}, {trim: true}, {prefix: true, trim: true}} {
		if same(sequence(parts, "normalizers"), m.json()) {
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
// or last in a Sequence. The first result is not nil if it puts spaces before
// words.
func parseByteLevel(p filePart) (*spaced, splitter, error) {
	parts, err := flatten(p, "pretokenizers")
	if err != nil {
		return nil, nil, err
	}
	if len(parts) == 0 {
		return nil, nil, errors.New("null is not supported without byte_fallback")
	}
	var c chain
	for i, part := range parts {
		kind, err := part.kind()
		if err != nil {
			return nil, nil, err
		}
		var s splitter
		switch last := i == len(parts)-1; {
		case kind == "ByteLevel" && last:
			return parseLast(c, part)
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
			return nil, nil, err
		}
		c = append(c, s)
	}
	panic("tokenizer: the last of a Sequence returns")
}

type fileByteLevel struct {
	Type           string
	AddPrefixSpace bool  `json:"add_prefix_space"`
	TrimOffsets    bool  `json:"trim_offsets"`
	UseRegex       *bool `json:"use_regex"` // absent in older files: true
}

// parseLast reads a ByteLevel that follows other splitters.
func parseLast(before chain, p filePart) (*spaced, splitter, error) {
	var b fileByteLevel
	if err := decodeStrict(p, &b); err != nil {
		return nil, nil, err
	}
	last := chain{}
	if b.UseRegex == nil || *b.UseRegex {
		last = chain{scannerGPT2}
	}
	if b.AddPrefixSpace {
		return &spaced{before}, last, nil
	}
	if all := append(before, last...); len(all) != 1 {
		return nil, all, nil
	} else {
		return nil, all[0], nil
	}
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

// parseMetaspace reads the pre-tokeniser Metaspace, which may also cut before every
// mark, or the decoder of that name.
func parseMetaspace(p filePart) (m *metaspace, split bool, err error) {
	var f struct {
		Type, Replacement string
		PrependScheme     *string `json:"prepend_scheme"`
		Split             *bool
		// Of older files.
		AddPrefixSpace *bool   `json:"add_prefix_space"`
		StrRep         *string `json:"str_rep"`
	}
	if err := decodeStrict(p, &f); err != nil {
		return nil, false, err
	}
	scheme := "always"
	if f.PrependScheme != nil {
		scheme = *f.PrependScheme
	}
	switch {
	case f.Replacement != spaceMark:
		return nil, false, fmt.Errorf("replacement: %q is not supported, only %q", f.Replacement, spaceMark)
	case f.AddPrefixSpace != nil && !*f.AddPrefixSpace && scheme != "never":
		return nil, false, fmt.Errorf("add_prefix_space: false, but prepend_scheme is %q", scheme)
	}
	split = f.Split == nil || *f.Split
	switch scheme {
	case "always":
		return &metaspace{prefix: true, always: true}, split, nil
	case "first":
		return &metaspace{prefix: true}, split, nil
	case "never":
		return &metaspace{}, split, nil
	}
	return nil, false, fmt.Errorf("prepend_scheme: %q is not supported, only \"always\", \"first\" and \"never\"", scheme)
}

// parseMetaspaceBPE reads the pre-tokeniser of a BPE model with byte fallback. It
// returns nil if that is not Metaspace.
func parseMetaspaceBPE(p filePart) (*metaspace, error) {
	parts, err := flatten(p, "pretokenizers")
	if err != nil || len(parts) != 1 {
		return nil, err
	}
	if kind, err := parts[0].kind(); err != nil || kind != "Metaspace" {
		return nil, err
	}
	m, split, err := parseMetaspace(parts[0])
	if err == nil && split {
		err = errors.New("split: true is not supported with BPE")
	}
	return m, err
}

func parseBertPreTokenizer(p filePart) (splitter, error) {
	parts, err := flatten(p, "pretokenizers")
	if err != nil {
		return nil, err
	}
	if p = one(parts, "pretokenizers"); p == nil {
		return nil, errors.New("null is not supported with WordPiece, only \"BertPreTokenizer\"")
	}
	if kind, err := p.kind(); err != nil || kind != "BertPreTokenizer" {
		return nil, errors.Join(err, fmt.Errorf("type: %q is not supported with WordPiece, only \"BertPreTokenizer\"", kind))
	}
	return bertSplitter{}, decodeStrict(p, &struct{ Type string }{})
}

// parseByteLevelDecoder accepts any ByteLevel: its options change offsets and
// text in the library, never ids.
func parseByteLevelDecoder(p filePart) error {
	parts, err := flatten(p, "decoders")
	if err != nil {
		return err
	}
	if p = one(parts, "decoders"); p == nil {
		return nil
	}
	if kind, err := p.kind(); err != nil || kind != "ByteLevel" {
		return errors.Join(err, fmt.Errorf("type: %q is not supported, only \"ByteLevel\"", kind))
	}
	return decodeStrict(p, &fileByteLevel{})
}

func parseWordPieceDecoder(p filePart, prefix string) (cleanup bool, err error) {
	parts, err := flatten(p, "decoders")
	if err != nil {
		return false, err
	}
	if p = one(parts, "decoders"); p == nil {
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
