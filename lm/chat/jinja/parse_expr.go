package jinja

import (
	"slices"
	"strings"
)

// expression reads an expression, with "if … else" unless bare.
func (p *parser) expression(bare bool) expr {
	defer p.nest()()
	if bare {
		return p.or()
	}
	l := p.line()
	e := p.or()
	for p.skipName("if") {
		cond, other := p.or(), expr(nil)
		if p.skipName("else") {
			other = p.expression(false)
		}
		e = &condExpr{l, e, cond, other}
		l = p.line()
	}
	return e
}

func (p *parser) or() expr  { return p.logic("or", p.and) }
func (p *parser) and() expr { return p.logic("and", p.not) }

func (p *parser) logic(word string, operand func() expr) expr {
	l := p.line()
	e := operand()
	for p.skipName(word) {
		e = &binaryExpr{l, word, e, operand()}
		l = p.line()
	}
	return e
}

func (p *parser) not() expr {
	l := p.line()
	if !p.skipName("not") {
		return p.compare()
	}
	defer p.nest()()
	return &unaryExpr{l, "not", p.not()}
}

func (p *parser) compare() expr {
	l := p.line()
	e := p.sum()
	c := &compareExpr{operands: []expr{e}}
	for {
		op := p.tok.kind
		switch {
		case op == "==" || op == "!=" || op == "<" || op == "<=" || op == ">" || op == ">=":
			p.next()
		case p.skipName("in"):
			op = "in"
		case p.tok.isName("not") && p.look().isName("in"):
			p.next()
			p.next()
			op = "not in"
		default:
			if len(c.ops) == 0 {
				return e
			}
			c.line = l
			return c
		}
		c.ops, c.operands = append(c.ops, op), append(c.operands, p.sum())
		l = p.line()
	}
}

// binary reads operands with operators of one rank between them.
func (p *parser) binary(operand func() expr, ops ...string) expr {
	l := p.line()
	e := operand()
	for slices.Contains(ops, p.tok.kind) {
		op := p.next().kind
		e = &binaryExpr{l, op, e, operand()}
		l = p.line()
	}
	return e
}

func (p *parser) sum() expr { return p.binary(p.concat, "+", "-") }

func (p *parser) concat() expr {
	c := &concatExpr{line: p.line(), items: []expr{p.product()}}
	for p.skip("~") {
		c.items = append(c.items, p.product())
	}
	if len(c.items) == 1 {
		return c.items[0]
	}
	return c
}

func (p *parser) product() expr { return p.binary(p.power, "*", "/", "//", "%") }

// power groups from the left, unlike Python.
func (p *parser) power() expr { return p.binary(func() expr { return p.unary(true) }, "**") }

// unary reads a sign or a primary and what follows it. Filters and tests apply
// to the whole, the sign included.
func (p *parser) unary(filters bool) expr {
	l, op := p.line(), p.tok.kind
	var e expr
	if op == "-" || op == "+" {
		p.next()
		defer p.nest()()
		e = &unaryExpr{l, op, p.unary(false)}
	} else {
		e = p.primary()
	}
	e = p.postfix(e)
	if !filters {
		return e
	}
	for {
		switch {
		case p.tok.kind == "|":
			e = p.filters(e)
		case p.tok.isName("is"):
			e = p.test(e)
		case p.tok.kind == "(":
			e = p.call(e)
		default:
			return e
		}
	}
}

func (p *parser) primary() expr {
	t := p.tok
	l := line(t.line)
	switch t.kind {
	case kindName:
		p.next()
		switch t.text {
		case "true", "True":
			return &constExpr{l, true}
		case "false", "False":
			return &constExpr{l, false}
		case "none", "None":
			return &constExpr{l, nil}
		}
		return &nameExpr{line: l, name: t.text}
	case kindString:
		var b strings.Builder
		for p.tok.kind == kindString {
			b.WriteString(p.tok.text)
			p.next()
		}
		return &constExpr{l, b.String()}
	case kindInteger, kindFloat:
		p.next()
		return &constExpr{l, t.val}
	case "(":
		p.next()
		e := p.tuple(false, true)
		p.expect(")")
		return e
	case "[":
		p.next()
		e := &listExpr{line: l}
		p.commas("]", func() { e.items = append(e.items, p.expression(false)) })
		return e
	case "{":
		p.next()
		e := &dictExpr{line: l}
		p.commas("}", func() {
			e.keys = append(e.keys, p.expression(false))
			p.expect(":")
			e.vals = append(e.vals, p.expression(false))
		})
		return e
	}
	p.fail(t.line, "unexpected %s", quote(t.String()))
	return nil
}

// commas reads items with commas between them, perhaps one more at the end, and
// the closing bracket.
func (p *parser) commas(end string, item func()) {
	for first := true; p.tok.kind != end; first = false {
		if !first {
			p.expect(",")
			if p.tok.kind == end {
				break
			}
		}
		item()
	}
	p.expect(end)
}

// tuple reads an expression, or several with commas between them, perhaps one
// more at the end of a tag or bracket.
func (p *parser) tuple(bare, empty bool) expr {
	var items []expr
	l, tuple := p.several(func() { items = append(items, p.expression(bare)) })
	if !tuple {
		if len(items) > 0 {
			return items[0]
		}
		if !empty {
			p.fail(p.tok.line, "Expected an expression, got %s", quote(p.tok.String()))
		}
	}
	return &tupleExpr{l, items}
}

// several reads items with commas between them and tells whether there is a
// comma, which makes a tuple, and its line.
func (p *parser) several(item func()) (l line, tuple bool) {
	l = p.line()
	for first := true; ; first = false {
		if !first {
			p.expect(",")
		}
		if p.tupleEnds() {
			return l, tuple
		}
		item()
		if p.tok.kind != "," {
			return l, tuple
		}
		l, tuple = p.line(), true
	}
}

func (p *parser) tupleEnds() bool {
	k := p.tok.kind
	return k == kindOutputEnd || k == kindBlockEnd || k == ")"
}

func (p *parser) postfix(e expr) expr {
	for {
		switch p.tok.kind {
		case ".", "[":
			e = p.subscript(e)
		case "(":
			e = p.call(e)
		default:
			return e
		}
	}
}

func (p *parser) subscript(e expr) expr {
	defer p.nest()()
	l := p.line()
	if p.skip(".") {
		t := p.tok
		p.next()
		switch t.kind {
		case kindName:
			return &attrExpr{l, e, t.text}
		case kindInteger:
			return &itemExpr{l, e, &constExpr{line(t.line), t.val}}
		}
		p.fail(t.line, "expected name or number")
	}
	p.next()
	var items []expr
	for p.tok.kind != "]" {
		if len(items) > 0 {
			p.expect(",")
		}
		items = append(items, p.subscripted())
	}
	p.next()
	if len(items) == 1 {
		return &itemExpr{l, e, items[0]}
	}
	return &itemExpr{l, e, &tupleExpr{l, items}}
}

// subscripted reads an index or a slice.
func (p *parser) subscripted() expr {
	s := &sliceExpr{line: p.line()}
	if p.tok.kind != ":" {
		s.start = p.expression(false)
		if p.tok.kind != ":" {
			return s.start
		}
	}
	p.next()
	ends := func() bool { return p.tok.kind == "]" || p.tok.kind == "," }
	if p.tok.kind != ":" && !ends() {
		s.stop = p.expression(false)
	}
	if p.skip(":") && !ends() {
		s.step = p.expression(false)
	}
	return s
}

func (p *parser) call(fn expr) expr {
	defer p.nest()()
	return &callExpr{p.line(), fn, p.arguments()}
}

// arguments reads the arguments of a call and their brackets.
func (p *parser) arguments() (a arguments) {
	l := p.expect("(").line
	ensure := func(ok bool) {
		if !ok {
			p.fail(l, "invalid syntax for function call expression")
		}
	}
	p.commas(")", func() {
		switch {
		case p.tok.kind == "*":
			ensure(a.rest == nil && a.restDict == nil)
			p.next()
			a.rest = p.expression(false)
		case p.tok.kind == "**":
			ensure(a.restDict == nil)
			p.next()
			a.restDict = p.expression(false)
		case p.tok.kind == kindName && p.look().kind == "=":
			ensure(a.restDict == nil)
			for _, name := range a.names {
				if name == p.tok.text {
					p.failLate(l, "keyword argument repeated: %s", name)
				}
			}
			a.names = append(a.names, p.tok.text)
			p.next()
			p.next()
			a.named = append(a.named, p.expression(false))
		default:
			ensure(a.rest == nil && a.restDict == nil && a.names == nil)
			a.pos = append(a.pos, p.expression(false))
		}
	})
	return a
}

// dotted reads a name with dots.
func (p *parser) dotted() string {
	name := p.expect(kindName).text
	for p.skip(".") {
		name += "." + p.expect(kindName).text
	}
	return name
}

// filters reads filters and their bars; e is nil in a filter or set block.
func (p *parser) filters(e expr) expr {
	for p.tok.kind == "|" {
		p.next()
		e = p.filter(e)
	}
	return e
}

func (p *parser) filter(e expr) *filterExpr {
	f := &filterExpr{line: p.line(), arg: e, name: p.dotted()}
	if p.tok.kind == "(" {
		f.args = p.arguments()
	}
	return f
}

// test reads a test. Its argument may stand without brackets.
func (p *parser) test(e expr) expr {
	l := p.line()
	p.next()
	negated := p.skipName("not")
	t := &testExpr{line: l, arg: e, name: p.dotted()}
	switch k := p.tok.kind; {
	case k == "(":
		t.args = p.arguments()
	case p.tok.isName("else") || p.tok.isName("or") || p.tok.isName("and"):
	case k == kindName || k == kindString || k == kindInteger || k == kindFloat || k == "[" || k == "{":
		if p.tok.isName("is") {
			p.fail(p.tok.line, "You cannot chain multiple tests with is")
		}
		t.args.pos = []expr{p.postfix(p.primary())}
	}
	if negated {
		return &unaryExpr{l, "not", t}
	}
	return t
}
