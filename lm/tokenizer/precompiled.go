package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// precompiled is SentencePiece's normaliser: a table of strings and what to write
// for them, such as "ﬁ" and "fi".
type precompiled struct {
	units []uint32 // a trie of the strings, as Darts-clone stores it
	text  string   // what to write, each ended by NUL
}

// parsePrecompiled reads the part of a file that has the table in base64: the size of
// the trie in bytes, the trie, and the text.
func parsePrecompiled(p filePart) (*precompiled, error) {
	var f struct {
		Type     string
		Charsmap []byte `json:"precompiled_charsmap"`
	}
	if err := decodeStrict(p, &f); err != nil {
		return nil, err
	}
	data := f.Charsmap
	if len(data) < 4 {
		return nil, fmt.Errorf("precompiled_charsmap: %d bytes, want at least 4", len(data))
	}
	size := int64(binary.LittleEndian.Uint32(data))
	if data = data[4:]; size == 0 || size%4 != 0 || size > int64(len(data)) {
		return nil, fmt.Errorf("precompiled_charsmap: a trie of %d bytes in %d, want a multiple of 4 that fits", size, len(data))
	}
	m := &precompiled{units: make([]uint32, size/4), text: string(data[size:])}
	if !utf8.ValidString(m.text) {
		return nil, errors.New("precompiled_charsmap: the text after the trie is not valid UTF-8")
	}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return m, nil
}

// find returns what to write for a string: as in the library, that of the shortest
// string in the table that it begins with. A table that leads nowhere has none.
func (m *precompiled) find(s string) (to string, ok bool) {
	// A unit holds a byte, where the units of the next bytes are, and whether a
	// string ends here. Then the unit without a byte says where its text begins.
	offset := func(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }
	at := offset(m.units[0])
	for i := range len(s) {
		at ^= uint32(s[i])
		if s[i] == 0 || int(at) >= len(m.units) {
			return "", false
		}
		unit := m.units[at]
		if unit&(1<<31|0xFF) != uint32(s[i]) {
			return "", false
		}
		at ^= offset(unit)
		if unit>>8&1 == 0 {
			continue
		}
		if int(at) >= len(m.units) {
			return "", false
		}
		place := int(m.units[at] &^ (1 << 31))
		if place >= len(m.text) || !utf8.RuneStart(m.text[place]) {
			return "", false
		}
		to, _, _ = strings.Cut(m.text[place:], "\x00")
		return to, true
	}
	return "", false
}

// maxCluster is how long a cluster may be to be looked up as one; the characters of a
// longer one are looked up one by one.
const maxCluster = 5

func (m *precompiled) normalize(text string) normalized {
	var w rewriter
	changed := false
	write := func(from, to int) bool {
		s, ok := m.find(text[from:to])
		switch {
		case !ok:
			return false
		case s != "" && w.out == nil:
			w.replace(s, Range{0, to}) // as in the library, with what was removed before it
		case s == text[from:to]:
			w.keep(s, from)
		case s != "":
			w.replace(s, Range{from, to})
		}
		changed = true
		return true
	}
	for i := 0; i < len(text); {
		end := graphemeEnd(text, i)
		if end-i <= maxCluster && write(i, end) {
			i = end
			continue
		}
		for i < end {
			_, n := utf8.DecodeRuneInString(text[i:])
			switch {
			case write(i, i+n):
			case w.out == nil && i > 0:
				w.replace(text[i:i+n], Range{0, i + n})
			default:
				w.keep(text[i:i+n], i)
			}
			i += n
		}
	}
	if !changed {
		return normalized{text: text}
	}
	return w.done()
}

// normalizers are applied one after the other.
type normalizers []normalizer

func (s normalizers) normalize(text string) normalized {
	n := normalized{text: text}
	for _, f := range s {
		m := f.normalize(n.text)
		n = n.then(&m, 0)
	}
	return n
}

// then returns what m makes of the end of a text, from byte start on. Where m keeps a
// stretch, its bytes are those of n.
func (n *normalized) then(m *normalized, start int) normalized {
	if n.stretches == nil && start == 0 {
		return *m
	}
	var w rewriter
	if m.stretches == nil {
		if m.text != "" {
			w.copy(n, start, start+len(m.text))
		}
		return w.done()
	}
	from := 0
	for _, s := range m.stretches {
		text, a, b := m.text[from:s.end], start+s.origin.Start, start+s.origin.End
		switch from = s.end; {
		case s.exact:
			w.copy(n, a, b)
		case a < b:
			w.replace(text, n.origin(a, b))
		case a < len(n.text): // added before a character
			at := n.origin(a, a+1).Start
			w.replace(text, Range{at, at})
		default:
			at := 0
			if a > 0 {
				at = n.origin(a-1, a).End
			}
			w.replace(text, Range{at, at})
		}
	}
	return w.done()
}

// replaceInvalid replaces every byte that is not part of valid UTF-8, which the
// library does not take, by U+FFFD.
type replaceInvalid struct{}

func (replaceInvalid) normalize(text string) normalized {
	if utf8.ValidString(text) {
		return normalized{text: text}
	}
	var w rewriter
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n == 1 {
			w.replace("\uFFFD", Range{i, i + 1})
		} else {
			w.keep(text[i:i+n], i)
		}
		i += n
	}
	return w.done()
}

// squeeze replaces every run of two spaces or more.
type squeeze struct{ by string }

func (s squeeze) normalize(text string) normalized {
	if !strings.Contains(text, "  ") {
		return normalized{text: text}
	}
	var w rewriter
	for i := 0; i < len(text); {
		run := len(text) - i
		if k := strings.Index(text[i:], "  "); k >= 0 {
			run = k
		}
		if run > 0 {
			w.keep(text[i:i+run], i)
		}
		i += run
		if spaces := len(text[i:]) - len(strings.TrimLeft(text[i:], " ")); spaces > 0 {
			w.replace(s.by, Range{i, i + spaces})
			i += spaces
		}
	}
	return w.done()
}

// strip removes white space at the ends of a text.
type strip struct {
	Type  string `json:"type"`
	Left  bool   `json:"strip_left"`
	Right bool   `json:"strip_right"`
}

func (s strip) normalize(text string) normalized {
	start, end := 0, len(text)
	if s.Right {
		end = len(strings.TrimRightFunc(text, unicode.IsSpace))
	}
	if s.Left {
		start = end - len(strings.TrimLeftFunc(text[:end], unicode.IsSpace))
	}
	if start == 0 && end == len(text) {
		return normalized{text: text}
	}
	var w rewriter
	if start < end {
		w.keep(text[start:end], start)
	}
	return w.done()
}

// parseUnigramNormalizer reads the normaliser of a unigram model.
func parseUnigramNormalizer(p filePart) (normalizer, error) {
	parts, err := flatten(p, "normalizers")
	if err != nil {
		return nil, err
	}
	all := normalizers{replaceInvalid{}}
	for _, part := range parts {
		kind, err := part.kind()
		if err != nil {
			return nil, err
		}
		var n normalizer
		switch kind {
		case "Precompiled":
			n, err = parsePrecompiled(part)
		case "NFC":
			n, err = nfc{}, decodeStrict(part, &struct{ Type string }{})
		case "Strip":
			s := strip{}
			err = decodeStrict(part, &s)
			n = s
		case "Replace":
			for _, by := range []string{" ", spaceMark} {
				if same(part, `{"type":"Replace","pattern":{"Regex":" {2,}"},"content":"`+by+`"}`) {
					n = squeeze{by}
				}
			}
			if n == nil {
				err = fmt.Errorf("%.80s is not supported, only the Regex \" {2,}\" by \" \" or %q", part, spaceMark)
			}
		default:
			err = fmt.Errorf("type: %q is not supported with Unigram, only \"Precompiled\", \"NFC\", \"Strip\" and \"Replace\"", kind)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}
