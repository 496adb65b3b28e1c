package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is found in the text before it is cut into words.
type addedToken struct {
	content string
	id      int32
	special bool
	// normalized tokens are looked for after all the others, and after the
	// text has been normalised.
	normalized bool
	singleWord bool // not next to a letter, digit or underscore
	lstrip     bool // takes the white space before it
	rstrip     bool // takes the white space after it
	inVocab    bool // the file has it in the model's vocabulary too
}

// matcher finds added tokens in a text. A nil matcher finds none.
type matcher struct {
	tokens  map[string]addedToken
	lengths []int // of the tokens, descending
	first   [256]bool
}

// newMatcher returns a matcher that looks for f of the tokens' contents.
func newMatcher(tokens []addedToken, f func(string) string) *matcher {
	m := &matcher{tokens: make(map[string]addedToken)}
	for _, a := range tokens {
		content := f(a.content)
		if content == "" {
			continue // the normaliser removes all of it
		}
		if _, ok := m.tokens[content]; !ok {
			m.tokens[content] = a
		}
		m.first[content[0]] = true
		m.lengths = append(m.lengths, len(content))
	}
	if len(m.tokens) == 0 {
		return nil
	}
	slices.Sort(m.lengths)
	m.lengths = slices.Compact(m.lengths)
	slices.Reverse(m.lengths)
	return m
}

// markup reports whether a token is more than a frequent piece of text: it is
// special, or is found before the text is normalised, as tags are.
func (a *addedToken) markup() bool { return a.special || !a.normalized }

// find returns the first token from text[from] on, the longest where several
// begin. If there is none, start is len(text).
func (m *matcher) find(text string, from int) (start, end int, a addedToken) {
	for start = from; start < len(text); start++ {
		if !m.first[text[start]] {
			continue
		}
		for _, n := range m.lengths {
			if n > len(text)-start {
				continue
			}
			if a, ok := m.tokens[text[start:start+n]]; ok {
				return start, start + n, a
			}
		}
	}
	return len(text), len(text), a
}

// split calls piece for each added token in a text and, with id -1, for what
// lies between them. A token that takes the white space after it does not keep
// others from being found there, and these are pieces again, as in the library.
// Markup for which ordinary is true is no token; nil is false throughout.
func (m *matcher) split(text string, ordinary func(start, end int) bool, piece func(start, end int, id int32)) {
	done, blankEnd := 0, -1
	if m != nil {
		for from := 0; ; {
			start, end, a := m.find(text, from)
			if start == len(text) {
				break
			}
			if ordinary != nil && a.markup() && ordinary(start, end) {
				from = start + 1
				continue
			}
			from = end
			if a.singleWord && (endsWithWord(text[:start]) || startsWithWord(text[end:])) {
				continue
			}
			if a.lstrip {
				start = max(start, done)
				start = done + len(strings.TrimRightFunc(text[done:start], unicode.IsSpace))
			}
			if a.rstrip {
				if end > blankEnd { // else it lies in the white space found last, which ends there
					blankEnd = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
				}
				end = blankEnd
			}
			if start >= end {
				continue // it is white space that the one before it took
			}
			if done < start {
				piece(done, start, -1)
			}
			piece(start, end, a.id)
			done = end
		}
	}
	if done < len(text) {
		piece(done, len(text), -1)
	}
}

// each calls f for all markup in a text, or only for special tokens, overlapping ones
// included.
func (m *matcher) each(text string, specialOnly bool, f func(start, end int)) {
	if m == nil {
		return
	}
	for start := range len(text) {
		if !m.first[text[start]] {
			continue
		}
		for _, n := range m.lengths {
			if n > len(text)-start {
				continue
			}
			if a, ok := m.tokens[text[start:start+n]]; ok && a.markup() && (a.special || !specialOnly) {
				f(start, start+n)
			}
		}
	}
}

func startsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

func endsWithWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w of Unicode's regular expressions (UTS #18, annex C).
func isWord(r rune) bool {
	const nonJoiner, joiner = '\u200C', '\u200D'
	return letters.has(r) || r == nonJoiner || r == joiner ||
		unicode.In(r, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic)
}
