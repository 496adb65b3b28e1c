package jinja

import "strings"

// equal is a == b.
func (r *run) equal(a, b value) bool {
	r.step()
	if x, ok := number(a); ok {
		y, ok := number(b)
		if !ok {
			return false
		}
		c, ok := compareNumbers(x, y)
		return ok && c == 0
	}
	if s, ok := str(a); ok {
		t, ok := str(b)
		if ok && len(s) == len(t) {
			r.work(len(s))
		}
		return ok && s == t
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case *undefined:
		_, ok := b.(*undefined)
		return ok
	case *list, *tuple:
		x, _ := itemsOf(a)
		y, _ := itemsOf(b)
		return typeName(a) == typeName(b) && r.equalItems(x, y)
	case *dict:
		if b, ok := b.(*dict); ok {
			return r.equalDicts(a, b)
		}
	case *span:
		if b, ok := b.(*span); ok {
			n := a.len()
			return n == b.len() && (n == 0 || a.start == b.start && (n == 1 || a.step == b.step))
		}
	case *view:
		if b, ok := b.(*view); ok && a.kind == b.kind && a.kind != "values" && len(a.of.entries) == len(b.of.entries) {
			if a.kind == "items" {
				return r.equalDicts(a.of, b.of)
			}
			for key := range a.of.index {
				if _, ok := b.of.index[key]; !ok {
					return false
				}
			}
			return true
		}
	}
	return a == b
}

func (r *run) equalItems(a, b []value) bool {
	if len(a) != len(b) {
		return false
	}
	r.deeper()
	defer r.shallower()
	for i := range a {
		if same(a[i], b[i]) {
			continue
		}
		if !r.equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func (r *run) equalDicts(a, b *dict) bool {
	if a == b {
		return true
	}
	if len(a.entries) != len(b.entries) {
		return false
	}
	r.deeper()
	defer r.shallower()
	for key, i := range a.index {
		j, ok := b.index[key]
		if !ok {
			return false
		}
		if same(a.entries[i].val, b.entries[j].val) {
			continue
		}
		if !r.equal(a.entries[i].val, b.entries[j].val) {
			return false
		}
	}
	return true
}

// same is "a is b". Numbers and strings that are equal count as one object,
// as far as Python keeps one of them.
func same(a, b value) bool {
	if f, ok := a.(float64); ok && f != f {
		g, ok := b.(float64)
		return ok && g != g
	}
	return a == b
}

// order is a < b, a <= b, a > b or a >= b.
func (r *run) order(op string, a, b value) bool {
	r.step()
	use(a)
	use(b)
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			c, ok := compareNumbers(x, y)
			return ok && ordered(op, c)
		}
	}
	if s, ok := str(a); ok {
		if t, ok := str(b); ok {
			r.work(min(len(s), len(t)))
			return ordered(op, strings.Compare(s, t))
		}
	}
	if x, ok := itemsOf(a); ok && typeName(a) == typeName(b) {
		y, _ := itemsOf(b)
		return r.orderItems(op, x, y)
	}
	panic(typeError("'%s' not supported between instances of %s and %s", op, quote(typeName(a)), quote(typeName(b))))
}

func ordered(op string, c int) bool {
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

// orderItems compares the first items that differ, or else the lengths.
func (r *run) orderItems(op string, a, b []value) bool {
	r.deeper()
	defer r.shallower()
	for i := range min(len(a), len(b)) {
		if same(a[i], b[i]) {
			continue
		}
		if !r.equal(a[i], b[i]) {
			return r.order(op, a[i], b[i])
		}
	}
	return ordered(op, len(a)-len(b))
}

// contains is "v in in".
func (r *run) contains(in, v value) bool {
	if s, ok := str(in); ok {
		part, ok := str(v)
		if !ok {
			panic(typeError("'in <string>' requires string as left operand, not %s", typeName(v)))
		}
		r.work(len(s))
		return strings.Contains(s, part)
	}
	d, _ := in.(*dict)
	if w, ok := in.(*view); ok && w.kind == "keys" {
		d = w.of
	}
	if d != nil {
		_, ok := r.load(d, v)
		return ok
	}
	it, ok := r.iter(in)
	if !ok {
		panic(typeError("argument of type %s is not iterable", quote(typeName(in))))
	}
	for {
		item, ok := it()
		if !ok {
			return false
		}
		if same(item, v) {
			return true
		}
		if r.equal(item, v) {
			return true
		}
	}
}

// compare applies a comparison operator.
func (r *run) compare(op string, a, b value) bool {
	switch op {
	case "==":
		return r.equal(a, b)
	case "!=":
		return !r.equal(a, b)
	case "in":
		return r.contains(b, a)
	case "not in":
		return !r.contains(b, a)
	}
	return r.order(op, a, b)
}
