package tokenizer

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// matchTimeout is how long an unknown pattern may look for the end of one
// word.
const matchTimeout = time.Second

// regexpSplitter is a pattern that no scanner is written for. Each match is a
// word, and so is what lies between two matches. Where the pattern runs out of
// time, the rest of the text is one word: its tokens stand for the same text,
// but are not those that the model was trained on.
type regexpSplitter struct{ re *regexp2.Regexp }

func newRegexpSplitter(pattern string) (splitter, error) {
	re, err := regexp2.Compile(pattern, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	re.MatchTimeout = matchTimeout
	return regexpSplitter{re}, nil
}

func (s regexpSplitter) split(text string, word func(start, end int)) {
	// The pattern sees characters: where does each start?
	runes := make([]rune, 0, len(text))
	starts := make([]int, 0, len(text)+1)
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		runes, starts = append(runes, r), append(starts, i)
		i += n
	}
	starts = append(starts, len(text))

	done := 0
	cut := func(end int) {
		if done < end {
			word(done, end)
			done = end
		}
	}
	m, err := s.re.FindRunesMatch(runes)
	for ; m != nil && err == nil; m, err = s.re.FindNextMatch(m) {
		cut(starts[m.Index])
		cut(starts[m.Index+m.Length])
	}
	cut(len(text))
}
