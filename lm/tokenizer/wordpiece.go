package tokenizer

import "unicode/utf8"

// maxWordChars bounds max_input_chars_per_word, and with it how long a word
// can take: looking for the longest token again and again is quadratic.
const maxWordChars = 1000

// wordPiece is BERT's model: a word is cut from the left into the longest
// tokens that the vocabulary has; one that cannot be is unknown as a whole.
type wordPiece struct {
	first    map[string]int32 // tokens that start a word
	rest     map[string]int32 // tokens that go on, without their prefix
	longest  int              // in bytes
	maxChars int              // a longer word is unknown
	unknown  int32
	goesOn   []bool // by id: in rest
	cleanup  bool   // of decoded text
}

func (m *wordPiece) encode(e *encoder, text string, start, end int) {
	if n := utf8.RuneCountInString(text[start:end]); n > m.maxChars {
		e.emit(m.unknown, start, end)
		return
	}
	before, ranges := len(e.ids), len(e.ranges)
	tokens := m.first
	for at := start; at < end; {
		to := min(end, at+m.longest)
		for ; to > at; to-- {
			if id, ok := tokens[text[at:to]]; ok {
				e.emit(id, at, to)
				break
			}
		}
		if to == at {
			e.ids, e.ranges = e.ids[:before], e.ranges[:ranges]
			e.emit(m.unknown, start, end)
			return
		}
		at, tokens = to, m.rest
	}
}
