package jinja

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/parser"
)

// The bounds of a source, beyond which the engine's recursive parser could
// exhaust the stack.
const (
	maxTokens   = 1000 // within one pair of {{ }} or {% %}
	maxBrackets = 100  // within each other
	maxBlocks   = 100  // within each other
)

// prepare rewrites what the engine cannot parse, in place, so that lines stay
// the same. A conditional expression becomes one of and, or and lists, which
// evaluates the same operands, wherever it stands,
//
//	a if c else b    ((c) and [a] or [b])[0]
//
// what a loop goes through becomes a list, adjacent string literals are
// concatenated, and a backslash in one is written \x5c. White space between two
// tags of a line is kept, which the engine would strip. It checks the bounds of
// the source. What is not Jinja is left for the engine to complain about.
func prepare(source string) (string, error) {
	p := preparer{rest: source, line: 1}
	for first := true; ; first = false {
		at := opening.FindStringIndex(p.rest)
		if at == nil {
			p.copy(len(p.rest))
			return p.out.String(), nil
		}
		text, mark := p.rest[:at[0]], p.rest[at[0]:at[1]]
		p.copy(at[1])
		if mark[1] != '{' && len(mark) == 2 && !first && text != "" && strings.Trim(text, " \t") == "" {
			p.out.WriteByte('+') // keeps the text
		}
		if mark[1] == '#' {
			p.copy(after(p.rest, "#}"))
		} else if err := p.tag(mark[1]); err != nil {
			return "", err
		}
	}
}

var (
	opening = regexp.MustCompile(`\{[{%#][-+]?`)
	endRaw  = regexp.MustCompile(`\{%[-+]?\s*endraw`)
	closing = map[byte]*regexp.Regexp{'{': regexp.MustCompile(`^-?\}\}`), '%': regexp.MustCompile(`^[-+]?%\}`)}
)

// after returns where what follows the first mark begins; the end without any.
func after(s, mark string) int {
	if i := strings.Index(s, mark); i >= 0 {
		return i + len(mark)
	}
	return len(s)
}

type preparer struct {
	out  strings.Builder
	rest string // of the source
	line int    // at which rest begins
}

// copy copies n bytes as they are.
func (p *preparer) copy(n int) {
	p.out.WriteString(p.rest[:n])
	p.skip(n)
}

func (p *preparer) skip(n int) {
	p.line += strings.Count(p.rest[:n], "\n")
	p.rest = p.rest[n:]
}

// tag rewrites the inside of {{ }} or {% %}, as kind says, and copies a raw
// block.
func (p *preparer) tag(kind byte) error {
	tokens, size, complaint := scan(p.rest, closing[kind])
	r := rewriter{tokens: tokens}
	switch {
	case complaint != "":
	case kind == '%' && r.text() == "for":
		if len(tokens) > 2 && tokens[len(tokens)-2].text == "recursive" {
			complaint = "recursive loops are not supported"
		}
		r.loop()
	case kind == '%': // the name of the statement
		r.out.WriteString(r.take())
	}
	if complaint != "" {
		return &parser.SyntaxError{Message: complaint, Line: p.line}
	}
	p.out.WriteString(r.all())
	p.skip(size)
	p.copy(len(closing[kind].FindString(p.rest)))
	if kind == '%' && tokens[0].text == "raw" {
		if end := endRaw.FindStringIndex(p.rest); end != nil {
			p.copy(end[0])
		}
	}
	return nil
}

// token is a part of an expression and the white space before it.
type token struct{ space, text string }

func (t token) literal() bool { return t.text != "" && strings.ContainsAny(t.text[:1], `"'`) }

// scan splits the inside of a tag, of that size, up to its end; the last token
// is empty. A tag that does not end reaches to the end of the source.
func scan(s string, end *regexp.Regexp) (tokens []token, size int, complaint string) {
	for depth, all := 0, len(s); ; {
		rest := strings.TrimLeftFunc(s, unicode.IsSpace)
		space := s[:len(s)-len(rest)]
		if rest == "" || depth <= 0 && end.MatchString(rest) {
			return append(tokens, token{space, ""}), all - len(rest), ""
		}
		n := width(rest)
		tokens = append(tokens, token{space, rest[:n]})
		s = rest[n:]
		switch rest[0] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
		if depth > maxBrackets {
			return nil, 0, "brackets nest too deep"
		}
		if len(tokens) > maxTokens {
			return nil, 0, "the expression is too long"
		}
	}
}

// width returns the length of the token that a text begins with.
func width(s string) int {
	switch c := s[0]; {
	case c == '"' || c == '\'':
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case c:
				return i + 1
			}
		}
		return len(s)
	case strings.IndexByte("=!<>", c) >= 0 && len(s) > 1 && s[1] == '=':
		return 2
	}
	word := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	if n := len(s) - len(strings.TrimLeftFunc(s, word)); n > 0 {
		return n
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}
