package jinja

import (
	"regexp"
	"strings"
)

// rewriter goes through the tokens of a tag.
type rewriter struct {
	tokens []token
	at     int
	out    strings.Builder
}

func (r *rewriter) text() string { return r.tokens[r.at].text }

// take returns the token at hand, with the white space before it.
func (r *rewriter) take() string {
	t := r.tokens[r.at]
	joined := ""
	if t.literal() {
		if r.at > 0 && r.tokens[r.at-1].literal() {
			joined = " ~"
		}
		t.text = escapes.ReplaceAllStringFunc(t.text, func(e string) string {
			if e == `\\` {
				return `\x5c`
			}
			return e
		})
	}
	r.at++
	return joined + t.space + t.text
}

var escapes = regexp.MustCompile(`(?s)\\.`)

// all rewrites the tokens that are left.
func (r *rewriter) all() string {
	for r.at < len(r.tokens) {
		r.out.WriteString(r.expression())
		if r.at < len(r.tokens) {
			r.out.WriteString(r.take())
		}
	}
	return r.out.String()
}

// loop rewrites "for a, b in x" to "for a, b in (x)|list". An if may follow,
// which is no conditional.
func (r *rewriter) loop() {
	for r.at < len(r.tokens)-1 {
		if r.out.WriteString(r.take()); r.tokens[r.at-1].text == "in" {
			r.out.WriteString(" (" + r.operand() + ")|list")
			if r.text() == "if" {
				r.out.WriteString(r.take())
			}
			return
		}
	}
}

// expression rewrites up to a separator, a closing bracket, or the end.
func (r *rewriter) expression() string {
	value := r.operand()
	if r.at == len(r.tokens) || r.text() != "if" {
		return value
	}
	r.at++
	condition, other := r.operand(), " none"
	if r.at < len(r.tokens) && r.text() == "else" {
		r.at++
		other = r.expression()
	}
	return " ((" + condition + ") and [" + value + "] or [" + other + "])[0]"
}

// operand rewrites up to an if or else as well.
func (r *rewriter) operand() string {
	var b strings.Builder
	for r.at < len(r.tokens) {
		switch r.text() {
		case "if", "else", ",", ":", "=", ")", "]", "}", "":
			return b.String()
		case "(", "[", "{":
			b.WriteString(r.take())
			for closed := false; !closed && r.at < len(r.tokens); {
				b.WriteString(r.expression())
				if r.at < len(r.tokens) {
					closed = strings.Contains(")]}", r.text())
					b.WriteString(r.take())
				}
			}
		default:
			b.WriteString(r.take())
		}
	}
	return b.String()
}
