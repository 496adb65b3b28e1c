package tokenizer

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// definition is what a tokenizer is made of, as its file spells it.
type definition struct {
	spelling []string // by id: ordinary tokens as the model spells them, added ones as they are; "" if there is none
	added    []addedToken
	parts    file // as read, without model and added tokens

	normalizer normalizer
	metaspace  *metaspace  // nil if there is none
	spaced     *spaced     // nil if it puts no spaces before words
	marked     *wordMarker // nil unless the model is a unigram
	splitter   splitter
	template   template

	// One of these is the model, without its vocabulary.
	bpe       *fileBPE
	wordPiece *fileWordPiece
	unigram   *fileUnigram

	merges [][2]string // by rank
	// ranks holds the ranks of the merges if some are equal; nil means that a
	// merge's rank is its index.
	ranks   []int32
	cleanup bool      // what WordPiece decodes
	scores  []float64 // of Unigram, by id
	// What Unigram decodes: whether the marks of the first token are left out, or the
	// space that the text begins with.
	dropsMarks, dropsSpace bool
}

// marksSpaces reports whether the tokenizer is of the Llama 2 kind.
func (d *definition) marksSpaces() bool {
	_, ok := d.normalizer.(spaceMarker)
	return ok || d.metaspace != nil
}

// addsSpace reports whether it puts a space before a text.
func (d *definition) addsSpace() bool {
	m, _ := d.normalizer.(spaceMarker)
	return m.prefix || d.metaspace != nil && d.metaspace.prefix
}

// build checks a definition and makes its tokenizer. An error names the place in
// the file.
func build(d definition) (*Tokenizer, error) {
	t := &Tokenizer{
		def:        d,
		text:       make([][]byte, len(d.spelling)),
		special:    make([]bool, len(d.spelling)),
		ids:        make(map[string]int32, len(d.spelling)),
		normalizer: d.normalizer,
		metaspace:  d.metaspace,
		spaced:     d.spaced,
		marked:     d.marked,
		splitter:   d.splitter,
	}
	roles, err := t.buildAdded()
	if err != nil {
		return nil, err
	}
	if err := t.checkTemplate(); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	if d.wordPiece != nil {
		return t, t.buildWordPiece(roles)
	}
	if d.unigram != nil {
		return t, t.buildUnigram(roles)
	}
	for id, s := range d.spelling {
		if roles[id] != roleOrdinary || s == "" {
			continue
		}
		text, ok := d.unspell(s)
		if !ok || len(text) == 0 {
			return nil, fmt.Errorf("model.vocab: token %q (id %d) is not spelled in byte-level characters", s, id)
		}
		t.text[id] = text
		if _, ok := t.ids[string(text)]; !ok { // an added token takes precedence when text is encoded
			t.ids[string(text)] = int32(id)
		}
	}
	return t, t.buildBPE(roles)
}

// unspell returns the bytes that a token of the model stands for.
func (d *definition) unspell(s string) (text []byte, ok bool) {
	if d.unigram == nil && !d.marksSpaces() {
		return unspell(s)
	}
	if b, ok := unspellByte(s); ok && (d.unigram == nil || d.unigram.ByteFallback) {
		return []byte{b}, true
	}
	return bytes.ReplaceAll([]byte(s), []byte(spaceMark), []byte(" ")), true
}

// unspellByte reads a byte as the files of Llama 2 write it: <0x0A>.
func unspellByte(s string) (byte, bool) {
	if len(s) != len("<0x0A>") || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(s[3:5], 16, 8)
	return byte(b), err == nil
}

// spellByte returns how the file writes the token of a byte.
func (d *definition) spellByte(b byte) string {
	if d.marksSpaces() {
		return fmt.Sprintf("<0x%02X>", b)
	}
	return string(byteToRune[b])
}

// role is what a token is to the model.
type role uint8

const (
	roleOrdinary   role = iota
	roleAddedText       // an added token that is also in the model's vocabulary
	roleNotInModel      // an added token that is not, or that stands for no text
)

// buildAdded enters the added tokens and returns the role of each id.
func (t *Tokenizer) buildAdded() (roles []role, err error) {
	roles = make([]role, len(t.text))
	var raw, late []addedToken
	for i, a := range t.def.added {
		switch _, repeated := t.ids[a.content]; {
		case a.content == "":
			return nil, fmt.Errorf("added_tokens[%d]: the content is empty", i)
		case !utf8.ValidString(a.content):
			return nil, fmt.Errorf("added_tokens[%d]: %q is not valid UTF-8", i, a.content)
		case repeated:
			return nil, fmt.Errorf("added_tokens[%d]: %q occurs twice", i, a.content)
		case roles[a.id] != roleOrdinary:
			return nil, fmt.Errorf("added_tokens[%d]: id %d is another token's", i, a.id)
		}
		roles[a.id] = roleNotInModel
		if a.inVocab && !a.special {
			roles[a.id] = roleAddedText
		}
		t.ids[a.content] = a.id
		t.text[a.id], t.special[a.id] = t.def.addedText(a), a.special
		if a.normalized {
			late = append(late, a)
		} else {
			raw = append(raw, a)
		}
	}
	t.raw = newMatcher(raw, func(s string) string { return s })
	t.late = newMatcher(late, func(s string) string {
		if t.normalizer == nil {
			return s
		}
		return t.normalizer.normalize(s).text
	})
	return roles, nil
}

// addedText returns the bytes that an added token stands for: as in the library
// those that its content spells, normalised if the token is. A content that
// spells no UTF-8 is what it says, unless it is one of the model's tokens. The
// content of a special token is only for display.
func (d *definition) addedText(a addedToken) []byte {
	if a.special {
		return []byte(a.content)
	}
	content := a.content
	if a.normalized && d.normalizer != nil {
		content = d.normalizer.normalize(content).text
	}
	if d.wordPiece != nil {
		return []byte(content)
	}
	text, ok := d.unspell(content)
	if !ok || !utf8.Valid(text) && (!a.inVocab || slices.ContainsFunc(text, impossible)) {
		return []byte(content)
	}
	return text
}

// checkTemplate checks that the ids that AddSpecial adds are tokens.
func (t *Tokenizer) checkTemplate() error {
	for _, parts := range [][]templatePart{t.def.template.single, t.def.template.pair} {
		for _, p := range parts {
			for _, id := range p.ids {
				if id < 0 || int(id) >= len(t.text) || t.def.spelling[id] == "" {
					return fmt.Errorf("id %d is not in the vocabulary", id)
				}
			}
		}
	}
	return nil
}

// buildBPE enters the tokens of bytes and the merges.
func (t *Tokenizer) buildBPE(roles []role) error {
	m := &bpe{
		merges: newMergeTable(len(t.def.merges)),
		whole:  make(map[string]int32),
	}
	t.model = m
	vocab := make(map[string]int32, len(t.def.spelling))
	for id, s := range t.def.spelling {
		if s != "" {
			vocab[s] = int32(id)
		}
	}
	// lookup finds a token that words can consist of: an ordinary one, or an
	// added one that stands for the same bytes.
	lookup := func(spelling string) (int32, error) {
		id, ok := vocab[spelling]
		if !ok {
			return 0, fmt.Errorf("%q is not in the vocabulary", spelling)
		}
		if text, ok := t.def.unspell(spelling); roles[id] == roleNotInModel || roles[id] == roleAddedText && !(ok && bytes.Equal(text, t.text[id])) {
			return 0, fmt.Errorf("%q (id %d) is an added token, not one that words consist of", spelling, id)
		}
		return id, nil
	}
	for b := range 256 {
		id, err := lookup(t.def.spellByte(byte(b)))
		if err != nil && impossible(byte(b)) {
			t.lacking += string([]byte{byte(b)})
			continue
		}
		if err != nil {
			return fmt.Errorf("model.vocab: the token of byte 0x%02X: %w", b, err)
		}
		m.byteID[b] = id
	}
	if t.def.marksSpaces() {
		m.chars = make(map[rune]int32)
		for s, id := range vocab {
			if r, n := utf8.DecodeRuneInString(s); n == len(s) && roles[id] != roleNotInModel {
				m.chars[r] = id
			}
		}
	}
	for i, pair := range t.def.merges {
		rank := int32(i)
		if t.def.ranks != nil {
			rank = t.def.ranks[i]
		}
		if err := m.enter(i, rank, pair, lookup); err != nil {
			return err
		}
	}
	t.enterWhole(m, roles)
	if t.def.marksSpaces() && t.splitsAtMarks(roles) {
		t.splitter = markSplitter{}
	}
	return nil
}

// impossible reports whether no valid UTF-8 has a byte. Vocabularies that were
// learnt from text often lack tokens for these bytes, or have them as added
// tokens, which stand for the characters that spell them.
func impossible(b byte) bool { return b == 0xC0 || b == 0xC1 || b >= 0xF5 }

// enter enters merge i of the file.
func (m *bpe) enter(i int, rank int32, parts [2]string, lookup func(string) (int32, error)) error {
	var id [3]int32
	for k, spelling := range [3]string{parts[0], parts[1], parts[0] + parts[1]} {
		var err error
		if id[k], err = lookup(spelling); err != nil {
			return fmt.Errorf("model.merges[%d]: %w", i, err)
		}
	}
	if !m.merges.add(pair(id[0], id[1]), merge{rank: rank, id: id[2]}) {
		return fmt.Errorf("model.merges[%d]: %q and %q are merged by an earlier one already", i, parts[0], parts[1])
	}
	return nil
}

// enterWhole notes which words become one token, so that most words need no
// merging: those that merging makes one token, or, with ignore_merges, all words
// of the vocabulary.
func (t *Tokenizer) enterWhole(m *bpe, roles []role) {
	var g merger
	for id, s := range t.def.spelling {
		if s == "" || roles[id] == roleNotInModel {
			continue
		}
		word := s
		if m.chars == nil {
			text, ok := unspell(s)
			if !ok {
				continue // an added token of other characters
			}
			word = string(text)
		}
		if !t.def.bpe.IgnoreMerges {
			symbols := m.merge(&g, word)
			if symbols[0].id != int32(id) || symbols[0].next >= 0 {
				continue
			}
		}
		m.whole[word] = int32(id)
	}
}

// splitsAtMarks reports whether no token has a space's mark after another
// character. Then nothing is ever merged across such a place, so text may be cut
// there.
func (t *Tokenizer) splitsAtMarks(roles []role) bool {
	for id, s := range t.def.spelling {
		if roles[id] != roleNotInModel && strings.Contains(strings.TrimLeft(s, spaceMark), spaceMark) {
			return false
		}
	}
	return true
}

// buildWordPiece enters the tokens that begin a word and those that continue one.
func (t *Tokenizer) buildWordPiece(roles []role) error {
	w := t.def.wordPiece
	m := &wordPiece{
		first:    make(map[string]int32),
		rest:     make(map[string]int32),
		maxChars: w.MaxInputCharsPerWord,
		goesOn:   make([]bool, len(t.text)),
		cleanup:  t.def.cleanup,
	}
	t.model = m
	unknown := int32(-1)
	for id, s := range t.def.spelling {
		if s == "" {
			continue
		}
		if s == w.UnkToken {
			unknown = int32(id)
		}
		text := s
		if roles[id] == roleNotInModel {
			continue
		}
		if after, ok := strings.CutPrefix(s, w.ContinuingSubwordPrefix); ok {
			text = after
			m.rest[text] = int32(id)
			m.goesOn[id] = true
		} else {
			m.first[text] = int32(id)
		}
		m.longest = max(m.longest, len(text))
		if roles[id] == roleOrdinary || m.goesOn[id] {
			t.text[id] = []byte(text)
			t.ids[s] = int32(id)
		}
	}
	if unknown < 0 {
		return fmt.Errorf("model: unk_token: %q is not in the vocabulary", w.UnkToken)
	}
	m.unknown = unknown
	return nil
}

// GPT-2's vocabulary files spell each byte as one printable character: the
// printable bytes of Latin-1 as themselves, the others, in order, as the
// characters from U+0100 on (bytes_to_unicode in openai/gpt-2, encoder.py).
var (
	byteToRune [256]rune
	runeToByte = map[rune]byte{}
)

func init() {
	next := rune(0x100)
	for b := range rune(256) {
		r := b
		if !('!' <= b && b <= '~' || '¡' <= b && b <= '¬' || '®' <= b && b <= 'ÿ') {
			r = next
			next++
		}
		byteToRune[b] = r
		runeToByte[r] = byte(b)
	}
}

// unspell returns the bytes that a token of a vocabulary file stands for, and
// false if one of its characters stands for none.
func unspell(spelling string) (text []byte, ok bool) {
	text = make([]byte, 0, len(spelling))
	for _, r := range spelling {
		b, ok := runeToByte[r]
		if !ok {
			return nil, false
		}
		text = append(text, b)
	}
	return text, true
}
