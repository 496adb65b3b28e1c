package tokenizer

import (
	"fmt"
	"regexp"
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
	translated, err := translate(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	re, err := regexp2.Compile(translated, regexp2.None)
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
// regexp2 would read it otherwise:
//
//   - an s that may have either case is also ſ, the long s, and an i is not İ;
//   - a quantifier with a + after it never gives back what it took, but {1,3}+ repeats
//     {1,3}, {2}? may be absent, and {,3} begins at 0;
//   - ^ and $ are the ends of lines, and with the flag m a dot is any character;
//   - \w has all marks and numbers, and \b is where it begins or ends.
//
// Classes in classes, such as [a[:digit:]] and [a-z&&[^x]], are errors.
func translate(pattern string) (string, error) {
	var t translator
	for t.in = pattern; t.in != "" && t.err == nil; {
		t.next()
	}
	return string(t.out), t.err
}

// What \w and \b stand for.
const (
	wordClass = `\p{L}\p{M}\p{N}\p{Pc}`
	isWordAt  = `[` + wordClass + `]`
)

// rewritten are the items that regexp2 writes otherwise.
var rewritten = map[string]string{
	`^`:  `(?:\A|(?<=\n)(?!\z))`,
	`$`:  `(?=\n|\z)`,
	`\w`: isWordAt,
	`\W`: `[^` + wordClass + `]`,
	`\b`: `(?:(?<=` + isWordAt + `)(?!` + isWordAt + `)|(?<!` + isWordAt + `)(?=` + isWordAt + `))`,
	`\B`: `(?:(?<=` + isWordAt + `)(?=` + isWordAt + `)|(?<!` + isWordAt + `)(?!` + isWordAt + `))`,
}

// translator is a pattern that is being translated.
type translator struct {
	in     string // the rest
	out    []byte
	atom   int // where the last atom begins in out; what a quantifier is for
	fold   bool
	groups []group
	err    error
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

// write replaces n bytes of the pattern by what regexp2 calls them.
func (t *translator) write(n int) {
	if to, ok := rewritten[t.in[:n]]; ok {
		t.out, t.in = append(t.out, to...), t.in[n:]
		return
	}
	t.take(n)
}

// next translates one item of the pattern.
func (t *translator) next() {
	start := len(t.out)
	switch c := t.in[0]; c {
	case '\\':
		t.write(escapeLen(t.in))
	case '^', '$':
		t.write(1)
	case '[':
		n := classLen(t.in)
		class, err := plainClass(t.in[:n])
		if err != nil {
			t.err = err
			return
		}
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
	case '{':
		if n := len(interval.FindString(t.in)); n > 0 {
			t.repeat(n)
			return
		}
		t.take(1)
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
		r, n := utf8.DecodeRuneInString(t.in)
		t.take(n)
		if t.fold && r == 'ſ' {
			t.out = append(t.out[:start], "[sſ]"...)
		}
	}
	t.atom = start
}

// interval matches a quantifier such as {3}, {2,}, {1,3} and {,3}.
var interval = regexp.MustCompile(`^\{(?:\d+(?:,\d*)?|,\d+)\}`)

// repeat translates a quantifier in braces of n bytes, and what follows it.
func (t *translator) repeat(n int) {
	exact := !strings.Contains(t.in[:n], ",")
	if t.in[1] == ',' {
		t.out, t.in, n = append(t.out, "{0"...), t.in[1:], n-1
	}
	t.take(n)
	switch {
	case strings.HasPrefix(t.in, "+"), exact && strings.HasPrefix(t.in, "?"):
		repeated := "(?:" + string(t.out[t.atom:]) + ")"
		t.out = append(t.out[:t.atom], repeated...)
		t.take(1)
	case strings.HasPrefix(t.in, "?"): // lazy
		t.take(1)
	}
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
			t.out = append(append(t.out, '?'), strings.ReplaceAll(flags, "m", "s")...)
			t.in = after
			t.take(1)
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

// plainClass returns a class without \w, or an error if it has a class within it.
func plainClass(class string) (string, error) {
	var out []byte
	for i := 0; i < len(class); {
		n := 1
		switch rest := class[i:]; {
		case rest[0] == '\\':
			n = escapeLen(rest)
			switch rest[:n] {
			case `\w`:
				out = append(out, wordClass...)
				i += n
				continue
			case `\W`:
				return "", fmt.Errorf("the class %s has \\W, which is not supported there", class)
			}
		case i > 0 && rest[0] == '[', strings.HasPrefix(rest, "&&"):
			return "", fmt.Errorf("the class %s has a class within it, which is not supported", class)
		}
		out, i = append(out, class[i:i+n]...), i+n
	}
	return string(out), nil
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
