package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// parser makes a tree of tokens. It panics with a failure.
type parser struct {
	tokens []token
	tok    token // the current one
	tags   []string
	ends   [][]string // the tags that open blocks wait for
	depth  int
	// late is what Python finds wrong with the program that Jinja makes of a
	// template, after all that Jinja finds itself.
	late *Error
}

// parse makes a tree of a template.
func parse(source string) ([]stmt, *parser) {
	p := &parser{tokens: tokenize(source)}
	p.next()
	return p.statements(nil), p
}

func (p *parser) fail(line int, format string, args ...any) {
	p.failClass(ClassSyntax, line, format, args...)
}

func (p *parser) failClass(class string, line int, format string, args ...any) {
	panic(raiseAt(line, class, format, args...))
}

func (p *parser) failLate(line int, format string, args ...any) {
	if p.late == nil {
		p.late = &Error{Line: line, Class: "SyntaxError", Message: fmt.Sprintf(format, args...)}
	}
}

// nest counts how deep brackets and blocks nest and bounds it; what it returns
// counts back.
func (p *parser) nest() func() {
	if p.depth++; p.depth > maxNesting {
		p.failClass(ClassLimit, p.tok.line, "the template nests deeper than %d", maxNesting)
	}
	return func() { p.depth-- }
}

// next goes to the next token and returns the one before.
func (p *parser) next() token {
	old := p.tok
	p.tok = p.tokens[0]
	if p.tok.kind == kindError {
		panic(failure{p.tok.err})
	}
	if p.tok.kind != kindEOF {
		p.tokens = p.tokens[1:]
	}
	return old
}

// look returns the token after the current one.
func (p *parser) look() token {
	if p.tokens[0].kind == kindError {
		panic(failure{p.tokens[0].err})
	}
	return p.tokens[0]
}

func (p *parser) line() line { return line(p.tok.line) }

func (t token) isName(name string) bool { return t.kind == kindName && t.text == name }

func (p *parser) skip(kind string) bool {
	if p.tok.kind != kind {
		return false
	}
	p.next()
	return true
}

func (p *parser) skipName(name string) bool {
	if !p.tok.isName(name) {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(kind string) token {
	if p.tok.kind != kind {
		p.unexpected(kind)
	}
	return p.next()
}

func (p *parser) expectName(name string) token {
	if !p.tok.isName(name) {
		p.unexpected(name)
	}
	return p.next()
}

func (p *parser) unexpected(want string) {
	if p.tok.kind == kindEOF {
		p.fail(p.tok.line, "unexpected end of template, expected %s.", quote(want))
	}
	p.fail(p.tok.line, "expected token %s, got %s", quote(want), quote(p.tok.String()))
}

// statements reads up to a tag that is one of the ends, whose name is then the
// current token, or to the end of the template if there are none.
func (p *parser) statements(ends []string) (body []stmt) {
	defer p.nest()()
	if ends != nil {
		p.ends = append(p.ends, ends)
		defer func() { p.ends = p.ends[:len(p.ends)-1] }()
	}
	for p.tok.kind != kindEOF {
		switch p.tok.kind {
		case kindData:
			body = append(body, &textStmt{p.next().text})
		case kindOutputBegin:
			p.next()
			body = append(body, &outputStmt{p.tuple(false, false)})
			p.expect(kindOutputEnd)
		default:
			p.expect(kindBlockBegin)
			if p.tok.kind == kindName && slices.Contains(ends, p.tok.text) {
				return body
			}
			body = append(body, p.statement())
			p.expect(kindBlockEnd)
		}
	}
	if ends != nil {
		p.unknown("")
	}
	return body
}

// block reads the end of a tag and statements up to one of the ends.
func (p *parser) block(ends ...string) []stmt {
	p.skip(":")
	p.expect(kindBlockEnd)
	return p.statements(ends)
}

// whole reads a block to its only end.
func (p *parser) whole(end string) []stmt {
	body := p.block(end)
	p.next()
	return body
}

// unknown fails at a tag that is not known, or at the end of the template.
func (p *parser) unknown(name string) {
	message := "Unexpected end of template."
	if name != "" {
		message = "Encountered unknown tag " + quote(name) + "."
	}
	if n := len(p.ends); n > 0 {
		var quoted []string
		for _, end := range p.ends[n-1] {
			quoted = append(quoted, quote(end))
		}
		looking := strings.Join(quoted, " or ")
		if name != "" && slices.ContainsFunc(p.ends, func(e []string) bool { return slices.Contains(e, name) }) {
			message += " You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for " + looking + "."
		} else {
			message += " Jinja was looking for the following tags: " + looking + "."
		}
	}
	if n := len(p.tags); n > 0 {
		message += " The innermost block that needs to be closed is " + quote(p.tags[n-1]) + "."
	}
	p.fail(p.tok.line, "%s", message)
}

func (p *parser) statement() stmt {
	t := p.tok
	if t.kind != kindName {
		p.fail(t.line, "tag name expected")
	}
	read, ok := map[string]func(line) stmt{
		"for": p.forTag, "if": p.ifTag, "set": p.set, "with": p.with, "macro": p.macro, "call": p.callBlock, "filter": p.filterBlock,
		"generation": p.generation, "break": p.control, "continue": p.control,
	}[t.text]
	if !ok {
		p.unknown(t.text)
	}
	p.tags = append(p.tags, t.text)
	p.next()
	defer func() { p.tags = p.tags[:len(p.tags)-1] }()
	return read(line(t.line))
}

func (p *parser) forTag(l line) stmt {
	s := &forStmt{line: l}
	s.target = p.target(false)
	p.expectName("in")
	s.iter = p.tuple(true, false)
	if p.skipName("if") {
		s.test = p.expression(false)
	}
	s.recursive = p.skipName("recursive")
	s.body = p.block("endfor", "else")
	if p.next().text == "else" {
		s.other = p.whole("endfor")
	}
	return s
}

// ifTag reads an if or an elif.
func (p *parser) ifTag(l line) stmt {
	s := &ifStmt{line: l}
	s.cond = p.tuple(true, false)
	s.body = p.block("elif", "else", "endif")
	switch p.next().text {
	case "elif":
		defer p.nest()()
		s.other = []stmt{p.ifTag(p.line())}
	case "else":
		s.other = p.whole("endif")
	}
	return s
}

func (p *parser) set(l line) stmt {
	to := p.target(true)
	if p.skip("=") {
		return &setStmt{line: l, target: to, arg: p.tuple(false, false)}
	}
	s := &setBlockStmt{line: l, target: to}
	s.filter, _ = p.filters(nil).(*filterExpr)
	s.body = p.whole("endset")
	return s
}

func (p *parser) with(l line) stmt {
	s := &withStmt{line: l}
	for p.tok.kind != kindBlockEnd {
		if s.targets != nil {
			p.expect(",")
		}
		s.targets = append(s.targets, p.target(false))
		p.expect("=")
		s.vals = append(s.vals, p.expression(false))
	}
	s.body = p.whole("endwith")
	return s
}

// signature reads the parameters of a macro or a call block.
func (p *parser) signature(d *macroDef) {
	p.expect("(")
	for p.tok.kind != ")" {
		if d.params != nil {
			p.expect(",")
		}
		t := p.name()
		if slices.Contains(d.params, t.text) {
			p.failLate(t.line, "duplicate argument %s", quote(t.text))
		}
		switch {
		case p.skip("="):
			d.defaults = append(d.defaults, p.expression(false))
		case d.defaults != nil:
			p.fail(p.tok.line, "non-default argument follows default argument")
		}
		d.params = append(d.params, t.text)
	}
	p.next()
}

func (p *parser) macro(l line) stmt {
	t := p.name()
	d := &macroDef{line: l, name: t.text}
	p.signature(d)
	d.body = p.whole("endmacro")
	return &macroStmt{line: l, name: t.text, where: target{line: line(t.line), name: t.text}, def: d}
}

func (p *parser) callBlock(l line) stmt {
	d := &macroDef{line: l, anonymous: true}
	if p.tok.kind == "(" {
		p.signature(d)
	}
	call, ok := p.expression(false).(*callExpr)
	if !ok {
		p.fail(int(l), "expected call")
	}
	d.body = p.whole("endcall")
	return &callStmt{l, call, d}
}

func (p *parser) generation(l line) stmt {
	d := &macroDef{line: l, anonymous: true}
	d.body = p.whole("endgeneration")
	return &generationStmt{l, d}
}

func (p *parser) filterBlock(l line) stmt {
	f := p.filter(nil)
	if p.tok.kind == "|" {
		f = p.filters(f).(*filterExpr)
	}
	return &filterStmt{line: l, filter: f, body: p.whole("endfilter")}
}

func (p *parser) control(l line) stmt {
	if p.tags[len(p.tags)-1] == "break" {
		return &controlStmt{l, breakLoop}
	}
	return &controlStmt{l, continueLoop}
}

// name reads a name that is assigned to.
func (p *parser) name() token {
	t := p.expect(kindName)
	if isConstant(t.text) {
		p.fail(t.line, "can't assign to 'name'")
	}
	return t
}

func isConstant(name string) bool {
	return slices.Contains([]string{"true", "false", "none", "True", "False", "None"}, name)
}

// target reads what is assigned to: names, tuples of them, and attributes of
// namespaces if the tag allows them.
func (p *parser) target(attributes bool) target {
	defer p.nest()()
	var to target
	to.line, to.tuple = p.several(func() { to.items = append(to.items, p.targetItem(attributes)) })
	if !to.tuple {
		if len(to.items) == 0 {
			p.fail(p.tok.line, "Expected an expression, got %s", quote(p.tok.String()))
		}
		return to.items[0]
	}
	return to
}

func (p *parser) targetItem(attributes bool) target {
	l := p.line()
	if p.tok.kind == "(" {
		p.next()
		to := target{line: p.line(), tuple: true}
		if p.tok.kind != ")" {
			to = p.target(false)
		}
		p.expect(")")
		return to
	}
	switch e := p.primary().(type) {
	case *nameExpr:
		if attributes && p.skip(".") {
			return target{line: l, name: e.name, attr: p.expect(kindName).text}
		}
		return target{line: l, name: e.name}
	case *constExpr:
		p.fail(e.at(), "can't assign to 'const'")
	case *listExpr:
		p.fail(e.at(), "can't assign to 'list'")
	default:
		p.fail(e.at(), "can't assign to 'dict'")
	}
	return target{}
}
