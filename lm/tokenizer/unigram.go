package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unigram is SentencePiece's unigram language model (Kudo, arXiv:1804.10959), as
// XLM-R has it: a word becomes the tokens whose log-probs have the largest sum. A
// character that no token consists of is unknown.
type unigram struct {
	trie    trie
	scores  []float64 // by id
	worst   float64   // the score of an unknown character
	unknown int32
	byteID  []int32 // the tokens of the 256 bytes, for characters without a token; nil if there are none
}

// unknownPenalty is how much worse than the worst token an unknown character is.
const unknownPenalty = 10

// path is the best way to encode a text up to some byte.
type path struct {
	score float64
	id    int32 // of the last token
	start int32 // where it begins; -1 if there is no way
}

// encode finds the best tokens for bytes start to end of a text, from left to right
// (Viterbi). Where two ways are equally good, the one found first counts. Unknown
// characters in a row are one token, or the tokens of their bytes.
func (m *unigram) encode(e *encoder, text string, start, end int) {
	word := text[start:end]
	e.paths = slices.Grow(e.paths[:0], len(word)+1)
	paths := e.paths[:len(word)+1]
	for i := range paths {
		paths[i] = path{start: -1}
	}
	for at := 0; at < len(word); {
		_, n := utf8.DecodeRuneInString(word[at:])
		reach := func(id int32, score float64, to int) {
			if s := &paths[to]; s.start < 0 || score > s.score {
				*s = path{score, id, int32(at)}
			}
		}
		before, single := paths[at].score, false
		m.trie.prefixes(word[at:], func(id int32, length int) {
			reach(id, m.scores[id]+before, at+length)
			single = single || length == n
		})
		if !single {
			reach(m.unknown, m.worst+before, at+n)
		}
		at += n
	}
	e.ends = e.ends[:0]
	for at := len(word); at > 0; at = int(paths[at].start) {
		e.ends = append(e.ends, at)
	}
	from := 0
	for k := len(e.ends) - 1; k >= 0; k-- {
		to := e.ends[k]
		if id := paths[to].id; id != m.unknown {
			e.emit(id, start+from, start+to)
		} else if k > 0 && paths[e.ends[k-1]].id == m.unknown {
			continue
		} else {
			m.emitUnknown(e, text, start+from, start+to)
		}
		from = to
	}
}

func (m *unigram) emitUnknown(e *encoder, text string, start, end int) {
	if m.byteID == nil {
		e.emit(m.unknown, start, end)
		return
	}
	for i := start; i < end; i++ {
		if m.byteID[text[i]] < 0 {
			e.emit(m.unknown, start, end)
			return
		}
	}
	for i := start; i < end; i++ {
		e.emit(m.byteID[text[i]], start, end)
	}
}

// trie finds the tokens that a text begins with. The children of a node are next to
// each other, in the order of their bytes.
type trie []trieNode

type trieNode struct {
	id       int32 // of the token that ends here; -1 if none does
	first    int32 // of its children
	children int16
	label    byte
}

// newTrie returns the trie of tokens [text, id], of which no two are the same text.
func newTrie(tokens []trieToken) trie {
	slices.SortFunc(tokens, func(a, b trieToken) int { return cmp.Compare(a.text, b.text) })
	type span struct{ from, to, depth int } // the tokens that pass through a node
	t, spans := trie{{id: -1}}, []span{{0, len(tokens), 0}}
	for i := 0; i < len(t); i++ {
		s := spans[i]
		if s.from < s.to && len(tokens[s.from].text) == s.depth {
			t[i].id = tokens[s.from].id
			s.from++
		}
		t[i].first = int32(len(t))
		for from := s.from; from < s.to; {
			label := tokens[from].text[s.depth]
			to := from + 1
			for to < s.to && tokens[to].text[s.depth] == label {
				to++
			}
			t, spans = append(t, trieNode{id: -1, label: label}), append(spans, span{from, to, s.depth + 1})
			t[i].children++
			from = to
		}
	}
	return t
}

type trieToken struct {
	text string
	id   int32
}

// prefixes calls f with every token that a text begins with, the shortest first.
func (t trie) prefixes(text string, f func(id int32, length int)) {
	node := t[0]
	for i := range len(text) {
		children := t[node.first : int(node.first)+int(node.children)]
		k, found := slices.BinarySearchFunc(children, text[i], func(n trieNode, b byte) int { return int(n.label) - int(b) })
		if !found {
			return
		}
		if node = children[k]; node.id >= 0 {
			f(node.id, i+1)
		}
	}
}

// wordMarker is the pre-tokeniser of SentencePiece's unigram models: Metaspace, perhaps
// after WhitespaceSplit.
type wordMarker struct {
	blank     bool       // cut at white space, which is left out
	metaspace *metaspace // nil if spaces are not marked
	marks     bool       // cut before every mark
}

// split cuts bytes start to end of a text into words. n begins at byte at of the
// original.
func (s *wordMarker) split(n *normalized, at, start, end int, word func(m *normalized, from, to int)) {
	var pieces splitter = chain{}
	if s.blank {
		pieces = blankSplitter{}
	}
	pieces.split(n.text[start:end], func(from, to int) {
		from, to = start+from, start+to
		if s.metaspace == nil {
			word(n, from, to)
			return
		}
		piece := n.text[from:to]
		marks := s.metaspace.mark(piece, at+n.origin(from, from+1).Start == 0)
		m := n.then(&marks, from)
		if s.marks {
			eachMark(m.text, func(from, to int) { word(&m, from, to) })
		} else {
			word(&m, 0, len(m.text))
		}
	})
}

// blankSplitter is WhitespaceSplit.
type blankSplitter struct{}

func (blankSplitter) split(text string, word func(start, end int)) {
	start := 0
	for i, r := range text {
		if unicode.IsSpace(r) {
			if start < i {
				word(start, i)
			}
			start = i + utf8.RuneLen(r)
		}
	}
	if start < len(text) {
		word(start, len(text))
	}
}

// eachMark cuts before every space's mark.
func eachMark(text string, word func(start, end int)) {
	for start := 0; start < len(text); {
		end := len(text)
		if _, n := utf8.DecodeRuneInString(text[start:]); start+n < len(text) {
			if k := strings.Index(text[start+n:], spaceMark); k >= 0 {
				end = start + n + k
			}
		}
		word(start, end)
		start = end
	}
}

type (
	fileUnigram struct {
		Type         string       `json:"type"`
		UnkID        *int32       `json:"unk_id"`
		Vocab        []fileScored `json:"vocab"`
		ByteFallback bool         `json:"byte_fallback"`
	}
	// fileScored is a token with its log-prob.
	fileScored struct {
		text  string
		score float64
	}
)

// UnmarshalJSON implements json.Unmarshaler.
func (s *fileScored) UnmarshalJSON(data []byte) error {
	var pair []json.RawMessage
	if json.Unmarshal(data, &pair) != nil || len(pair) != 2 || json.Unmarshal(pair[0], &s.text) != nil || json.Unmarshal(pair[1], &s.score) != nil {
		return fmt.Errorf("model.vocab: %.80s is not a token and its score", data)
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (s fileScored) MarshalJSON() ([]byte, error) { return encode([]any{s.text, s.score}) }

// parseUnigram reads a model of SentencePiece's unigram type.
func (d *definition) parseUnigram(f file) (vocab fileVocab, err error) {
	m := &fileUnigram{}
	if err := decodeStrict(f.Model, m); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if m.UnkID == nil || *m.UnkID < 0 || int(*m.UnkID) >= len(m.Vocab) {
		return nil, errors.New("model: unk_id: want the id of a token")
	}
	if d.normalizer, err = parseUnigramNormalizer(f.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if d.marked, err = parseMarked(f.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if err := d.parseUnigramDecoder(f.Decoder, m.ByteFallback); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	vocab = make(fileVocab, len(m.Vocab))
	for id, token := range m.Vocab {
		if old, ok := vocab[token.text]; ok {
			return nil, fmt.Errorf("model.vocab: %q has two ids, %d and %d", token.text, old, id)
		}
		vocab[token.text] = int32(id)
		d.scores = append(d.scores, token.score)
	}
	m.Type, m.Vocab = "Unigram", nil
	d.unigram = m
	return vocab, nil
}

// parseMarked reads the pre-tokeniser of a unigram model.
func parseMarked(p filePart) (*wordMarker, error) {
	parts, err := flatten(p, "pretokenizers")
	if err != nil {
		return nil, err
	}
	m := &wordMarker{}
	for i, part := range parts {
		kind, err := part.kind()
		switch {
		case err != nil:
		case kind == "WhitespaceSplit" && i == 0:
			m.blank = true
			err = decodeStrict(part, &struct{ Type string }{})
		case kind == "Metaspace" && i == len(parts)-1:
			m.metaspace, m.marks, err = parseMetaspace(part)
		default:
			err = fmt.Errorf("%.80s is not supported here with Unigram, only \"WhitespaceSplit\" and then \"Metaspace\"", part)
		}
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// parseUnigramDecoder accepts what undoes the marks.
func (d *definition) parseUnigramDecoder(p filePart, bytes bool) error {
	parts, err := flatten(p, "decoders")
	if err != nil {
		return err
	}
	d.dropsMarks = d.marked.metaspace != nil && d.marked.metaspace.prefix
	switch {
	case len(parts) == 0:
		return nil
	case len(parts) > 1 || bytes:
		for _, prefix := range []bool{false, true} {
			if want := unmarkerJSON(prefix); same(sequence(parts, "decoders"), want) {
				d.dropsMarks, d.dropsSpace = false, prefix
				return nil
			}
		}
	}
	if kind, err := parts[0].kind(); err != nil || kind != "Metaspace" || len(parts) > 1 {
		return errors.Join(err, fmt.Errorf("%.80s is not supported with Unigram, only \"Metaspace\" or, with byte_fallback, %s", p, unmarkerJSON(true)))
	}
	m, _, err := parseMetaspace(parts[0])
	d.dropsMarks = m != nil && m.prefix
	return err
}

// buildUnigram enters the tokens that words consist of. Special tokens are none of
// them: the library finds <s> in the text "＜s＞", which its normaliser rewrites.
func (t *Tokenizer) buildUnigram(roles []role) error {
	m := &unigram{scores: t.def.scores, unknown: *t.def.unigram.UnkID}
	t.model = m
	m.worst = slices.Min(m.scores) - unknownPenalty
	var tokens []trieToken
	for id := range m.scores {
		s := t.def.spelling[id]
		if roles[id] == roleOrdinary {
			text, _ := t.def.unspell(s)
			t.text[id] = text
			if _, ok := t.ids[string(text)]; !ok {
				t.ids[string(text)] = int32(id)
			}
		}
		if roles[id] != roleNotInModel {
			tokens = append(tokens, trieToken{s, int32(id)})
		}
	}
	m.trie = newTrie(tokens)
	if t.def.unigram.ByteFallback {
		m.byteID = slices.Repeat([]int32{-1}, 256)
		for id := range m.scores {
			if b, ok := unspellByte(t.def.spelling[id]); ok {
				m.byteID[b] = int32(id)
			}
		}
	}
	return nil
}
