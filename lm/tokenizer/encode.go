package tokenizer

import (
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// Encode returns the token ids of a text. Where the text contains an added token,
// it becomes that token, even a special one; see [Tokenizer.EncodeOrdinary] for
// text in which it must not. [Tokenizer.AddSpecial] adds the tokens that a model
// expects around a text.
func (t *Tokenizer) Encode(text string) []int32 {
	e := encoder{t: t}
	t.walk(text, true, nil, &e)
	return e.ids
}

// EncodeExcept is Encode, except that no markup begins at the given bytes of the
// text, in ascending order: there it is ordinary text. It is for text that is partly
// from outside; see [Tokenizer.Markup].
func (t *Tokenizer) EncodeExcept(text string, ordinary []int) []int32 {
	e := encoder{t: t}
	t.walk(text, true, ordinary, &e)
	return e.ids
}

// Markup returns at which bytes of a text markup begins: an added token that is
// special, or that the file has searched for before the text is normalised, as chat
// models have their tags. The other added tokens, such as runs of spaces, are
// frequent pieces of text. Tokens that overlap are all in the list. With
// specialOnly, tags that are not special, such as <think> in many models, are not: a
// demonstration that quotes a user is EncodeExcept(text, Markup(text, true)).
func (t *Tokenizer) Markup(text string, specialOnly bool) []int {
	var starts []int
	t.raw.each(text, specialOnly, func(start, _ int) { starts = append(starts, start) })
	if t.late != nil {
		n := normalized{text: text}
		if t.normalizer != nil {
			n = t.normalizer.normalize(text)
		}
		if t.lacking != "" {
			n = n.without(t.lacking)
		}
		t.late.each(n.text, specialOnly, func(start, end int) { starts = append(starts, n.origin(start, end).Start) })
	}
	slices.Sort(starts)
	return slices.Compact(starts)
}

// EncodeOrdinary is Encode without looking for added tokens. It is for text from
// outside, which must not be able to end a prompt or to fake parts of it.
func (t *Tokenizer) EncodeOrdinary(text string) []int32 {
	e := encoder{t: t}
	t.walk(text, false, nil, &e)
	return e.ids
}

// Clip returns the beginning of a text from outside that has at most n tokens, counted
// as [Tokenizer.EncodeOrdinary] gives them. It ends between two characters, where one
// more would not fit. A limit in tokens treats all scripts alike, as one in words
// does not: Chinese has no spaces.
func (t *Tokenizer) Clip(text string, n int) string {
	e := encoder{t: t, wantRanges: true}
	t.walk(text, false, nil, &e)
	if len(e.ids) <= n {
		return text
	}
	if n <= 0 {
		return ""
	}
	fits := func(end int) bool { return len(t.EncodeOrdinary(text[:end])) <= n }
	end := e.ranges[n-1].End
	for end > 0 && (end < len(text) && !utf8.RuneStart(text[end]) || !fits(end)) {
		end-- // a token may be a part of a character, and an end may change the tokens before it
	}
	// Many more characters fit only where no token stands for them, such as white
	// space in BERT's. There the steps grow, or the time would be quadratic.
	for added, step := 0, 1; step > 0 && end < len(text); added++ {
		_, size := utf8.DecodeRuneInString(text[end:])
		to := min(end+size+step-1, len(text))
		for to < len(text) && step > 1 && !utf8.RuneStart(text[to]) {
			to++
		}
		switch {
		case !fits(to):
			step /= 2
		case added < 64:
			end = to
		default:
			end, step = to, 2*step
		}
	}
	return text[:end]
}

// EncodeRanges is Encode, and also returns the range of the text that each token
// stands for. Neither starts nor ends ever decrease. Where the normaliser did not
// change the text, the ranges are exact: a token of two of a character's three
// bytes has a range of two bytes. A stretch that it did change, such as an "é" of
// two characters that NFC composes, belongs as a whole to every token that has a
// part of it. Text that the normaliser removes is in no range, nor is white space
// in BERT's; a space that the normaliser or add_prefix_space adds has an empty
// range, or is not counted in that of the token that begins with it.
func (t *Tokenizer) EncodeRanges(text string) ([]int32, []Range) {
	e := encoder{t: t, wantRanges: true}
	t.walk(text, true, nil, &e)
	return e.ids, e.ranges
}

// visitor receives the words and the added tokens of a text in order.
type visitor interface {
	// word is given bytes start to end of n.text, where n begins at byte at of
	// the text.
	word(n *normalized, at, start, end int)
	token(id int32, at Range)
}

// walk cuts a text into words and, if added is set, added tokens, but no markup
// that begins at one of the bytes of ordinary.
func (t *Tokenizer) walk(text string, added bool, ordinary []int, v visitor) {
	if !added {
		t.walkRaw(text, 0, nil, nil, v)
		return
	}
	t.raw.split(text, exempt(ordinary, func(start, _ int) int { return start }), func(start, end int, id int32) {
		if id >= 0 {
			v.token(id, Range{start, end})
		} else {
			t.walkRaw(text[start:end], start, t.late, ordinary, v)
		}
	})
}

// exempt returns what matcher.split asks, for a text of which origin says where in
// the original a part begins.
func exempt(ordinary []int, origin func(start, end int) int) func(start, end int) bool {
	if len(ordinary) == 0 {
		return nil
	}
	return func(start, end int) bool {
		_, found := slices.BinarySearch(ordinary, origin(start, end))
		return found
	}
}

// walkRaw normalises a piece of the text that begins at byte at, looks for added
// tokens in the result, and cuts the rest into words.
func (t *Tokenizer) walkRaw(text string, at int, late *matcher, ordinary []int, v visitor) {
	n := normalized{text: text}
	if t.normalizer != nil {
		n = t.normalizer.normalize(text)
	}
	if t.lacking != "" {
		n = n.without(t.lacking)
	}
	not := exempt(ordinary, func(start, end int) int { return at + n.origin(start, end).Start })
	late.split(n.text, not, func(start, end int, id int32) {
		if id >= 0 {
			s := n.origin(start, end)
			v.token(id, Range{at + s.Start, at + s.End})
			return
		}
		if t.metaspace != nil {
			m := t.metaspace.mark(n.text[start:end], at+start == 0)
			t.splitter.split(m.text, func(from, to int) { v.word(&m, at+start, from, to) })
			return
		}
		if t.marked != nil {
			t.marked.split(&n, at, start, end, func(m *normalized, from, to int) { v.word(m, at, from, to) })
			return
		}
		if t.spaced != nil {
			t.spaced.split(&n, start, end, t.splitter, func(m *normalized, from, to int) { v.word(m, at, from, to) })
			return
		}
		t.splitter.split(n.text[start:end], func(from, to int) { v.word(&n, at, start+from, start+to) })
	})
}

// encoder is the visitor that collects tokens.
type encoder struct {
	t          *Tokenizer
	ids        []int32
	ranges     []Range
	wantRanges bool

	// The text that the word being encoded is a part of.
	n  *normalized
	at int

	merger merger
	paths  []path // of unigram
	ends   []int  // of its tokens, the last one first
}

func (e *encoder) word(n *normalized, at, start, end int) {
	e.n, e.at = n, at
	e.t.model.encode(e, n.text, start, end)
}

func (e *encoder) token(id int32, at Range) {
	e.ids = append(e.ids, id)
	if e.wantRanges {
		e.addRange(at)
	}
}

// addRange appends a range that begins and ends no earlier than the one before
// it: tokens in white space that an added token took lie in its range.
func (e *encoder) addRange(r Range) {
	if n := len(e.ranges); n > 0 {
		r.Start, r.End = max(r.Start, e.ranges[n-1].Start), max(r.End, e.ranges[n-1].End)
	}
	e.ranges = append(e.ranges, r)
}

// emit appends a token that stands for bytes start to end of the normalised
// text.
func (e *encoder) emit(id int32, start, end int) {
	e.ids = append(e.ids, id)
	if e.wantRanges {
		s := e.n.origin(start, end)
		e.addRange(Range{e.at + s.Start, e.at + s.End})
	}
}

// Decode returns the text that tokens stand for; special tokens and ids outside
// the vocabulary stand for none.
//
// In byte-level BPE the text is the tokens' bytes end to end. It need not be valid
// UTF-8, because a character can be spread over several tokens. A space that
// add_prefix_space put before a text stays. In the Llama 2 kind it is the same
// without the space that is put before a text. In WordPiece, words are separated
// by spaces; if the file asks for it, the spaces that English does not write are
// removed, as the library does it, and a first token that continues a word keeps
// its mark "##". The original capitals, accents and spaces are lost.
//
// In Unigram it is the tokens' bytes with the decoder's treatment of marks: that of
// XLM-R leaves out the marks of the first token.
//
// As in the library, an added token stands for what its content spells, marks of
// spaces included, and for the normalised content if it is found in normalised
// text.
func (t *Tokenizer) Decode(ids []int32) string {
	var s strings.Builder
	if w, ok := t.model.(*wordPiece); ok {
		t.decodeWords(&s, w, ids)
		return s.String()
	}
	first := true
	for _, id := range ids {
		text := t.Bytes(id)
		if first && text != nil && t.def.dropsMarks && strings.Contains(t.def.spelling[id], spaceMark) {
			text = []byte(strings.ReplaceAll(t.def.spelling[id], spaceMark, ""))
		}
		s.Write(text)
		first = first && text == nil
	}
	if t.def.addsSpace() || t.def.dropsSpace {
		return strings.TrimPrefix(s.String(), " ")
	}
	return s.String()
}

// cleanup is the library's list; the replacements are made in this order.
var cleanup = [][2]string{
	{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"},
	{" n't", "n't"}, {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
}

func (t *Tokenizer) decodeWords(out *strings.Builder, w *wordPiece, ids []int32) {
	started := false
	for _, id := range ids {
		if !t.known(id) || t.special[id] {
			continue
		}
		word := string(t.text[id])
		switch {
		case started && !w.goesOn[id]:
			word = " " + word
		case !started && w.goesOn[id]:
			word = t.def.wordPiece.ContinuingSubwordPrefix + word
		}
		started = true
		if w.cleanup {
			for _, c := range cleanup {
				word = strings.ReplaceAll(word, c[0], c[1])
			}
		}
		out.WriteString(word)
	}
}

// Range is the half-open interval [Start, End): of bytes of a text, or of indices
// of tokens.
type Range struct{ Start, End int }

// Overlapping returns which tokens stand for bytes of a part of a text. ranges are
// those of the text's tokens, from [Tokenizer.EncodeRanges]; the result is a range
// of indices of them. It is empty if there are no such tokens.
func Overlapping(ranges []Range, part Range) Range {
	first := sort.Search(len(ranges), func(i int) bool { return ranges[i].End > part.Start })
	if part.Start >= part.End {
		return Range{first, first}
	}
	n := sort.Search(len(ranges)-first, func(i int) bool { return ranges[first+i].Start >= part.End })
	return Range{first, first + n}
}
