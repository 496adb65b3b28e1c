package tokenizer

import (
	"fmt"
	"strings"
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
	re, err := regexp2.Compile(translate(pattern), regexp2.None)
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

// translate rewrites a pattern of Oniguruma's, which the library uses, where
// regexp2 would read it otherwise: an s that may have either case is also ſ, the
// long s, an i is not İ, and a quantifier with a + after it never gives back what
// it took.
func translate(pattern string) string {
	var t translator
	for t.in = pattern; t.in != ""; {
		t.next()
	}
	return string(t.out)
}

// translator is a pattern that is being translated.
type translator struct {
	in     string // the rest
	out    []byte
	atom   int // where the last atom begins in out; what a quantifier is for
	fold   bool
	groups []group
}

// group is an open parenthesis.
type group struct {
	start int  // in out
	fold  bool // as outside
}

// take moves n bytes to out.
func (t *translator) take(n int) {
	t.out = append(t.out, t.in[:n]...)
	t.in = t.in[n:]
}

// next translates one item of the pattern.
func (t *translator) next() {
	start := len(t.out)
	switch c := t.in[0]; c {
	case '\\':
		t.take(escapeLen(t.in))
	case '[':
		n := classLen(t.in)
		class := t.in[:n]
		t.in = t.in[n:]
		if t.fold && n > 1 {
			class = foldClass(class)
		}
		t.out = append(t.out, class...)
	case '(':
		t.open()
		return
	case ')':
		t.take(1)
		if n := len(t.groups) - 1; n >= 0 {
			start, t.fold = t.groups[n].start, t.groups[n].fold
			t.groups = t.groups[:n]
		}
	case '?', '*', '+':
		t.take(1)
		if strings.HasPrefix(t.in, "+") { // possessive
			t.in = t.in[1:]
			quantified := "(?>" + string(t.out[t.atom:]) + ")"
			t.out = append(t.out[:t.atom], quantified...)
		} else if strings.HasPrefix(t.in, "?") { // lazy
			t.take(1)
		}
		return
	case 's', 'S':
		t.take(1)
		if t.fold {
			t.out = append(t.out[:start], "[sſ]"...)
		}
	case 'i', 'I':
		t.take(1)
		if t.fold {
			t.out = append(t.out[:start], "(?-i:[iI])"...)
		}
	default:
		_, n := utf8.DecodeRuneInString(t.in)
		t.take(n)
	}
	t.atom = start
}

// open translates an open parenthesis, and the flags after it.
func (t *translator) open() {
	start, fold := len(t.out), t.fold
	t.take(1)
	if rest, ok := strings.CutPrefix(t.in, "?"); ok {
		flags := rest[:len(rest)-len(strings.TrimLeft(rest, "imsx-"))]
		after := rest[len(flags):]
		if strings.HasPrefix(after, ":") || flags != "" && strings.HasPrefix(after, ")") {
			on, off, _ := strings.Cut(flags, "-")
			fold = (fold || strings.Contains(on, "i")) && !strings.Contains(off, "i")
			t.take(1 + len(flags) + 1)
			if after[0] == ')' { // until the group around it ends
				t.fold = fold
				return
			}
		}
	}
	t.groups = append(t.groups, group{start, t.fold})
	t.fold = fold
}

// escapeLen returns the length of the escape that s begins with.
func escapeLen(s string) int {
	if len(s) == 1 {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s[1:])
	n++
	if strings.ContainsRune("pPxgk", rune(s[1])) && len(s) > 2 {
		if end := strings.IndexByte(s, map[byte]byte{'{': '}', '<': '>'}[s[2]]); end > 0 && (s[2] == '{' || s[2] == '<') {
			return end + 1
		}
	}
	return n
}

// classLen returns the length of the class that s begins with, classes in it
// included.
func classLen(s string) int {
	depth := 0
	for i := 0; i < len(s); {
		switch s[i] {
		case '\\':
			i += escapeLen(s[i:])
			continue
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return len(s)
}

// foldClass returns a class for text of either case.
func foldClass(class string) string {
	negated := strings.HasPrefix(class, "[^")
	// What it has without the negation.
	re, err := regexp2.Compile("["+strings.TrimPrefix(class[1:], "^"), regexp2.IgnoreCase)
	if err != nil {
		return class // which the error of the whole pattern will name
	}
	has := func(s string) bool {
		found, err := re.MatchString(s)
		return found && err == nil
	}
	if has("s") {
		class = class[:len(class)-1] + "ſ]"
	}
	if has("i") && !strings.Contains(class, "İ") {
		if negated {
			return "(?:" + class + "|(?-i:İ))"
		}
		return "(?:(?!(?-i:İ))" + class + ")"
	}
	return class
}
