package jinja

import "strings"

// equal is a == b.
func (r *run) equal(a, b value) (bool, error) {
	if err := r.step(); err != nil {
		return false, err
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		if !ok {
			return false, nil
		}
		c, ok := compareNumbers(x, y)
		return ok && c == 0, nil
	}
	if s, ok := str(a); ok {
		t, ok := str(b)
		return ok && s == t, nil
	}
	switch a := a.(type) {
	case nil:
		return b == nil, nil
	case *undefined:
		_, ok := b.(*undefined)
		return ok, nil
	case *list:
		if b, ok := b.(*list); ok {
			return r.equalItems(a.items, b.items)
		}
	case *tuple:
		if b, ok := b.(*tuple); ok {
			return r.equalItems(a.items, b.items)
		}
	case *dict:
		if b, ok := b.(*dict); ok {
			return r.equalDicts(a, b)
		}
	case *span:
		if b, ok := b.(*span); ok {
			n := a.len()
			return n == b.len() && (n == 0 || a.start == b.start && (n == 1 || a.step == b.step)), nil
		}
	case *view:
		if b, ok := b.(*view); ok && a.kind == b.kind && a.kind != "values" && len(a.of.entries) == len(b.of.entries) {
			if a.kind == "items" {
				return r.equalDicts(a.of, b.of)
			}
			for key := range a.of.index {
				if _, ok := b.of.index[key]; !ok {
					return false, nil
				}
			}
			return true, nil
		}
	}
	return a == b, nil
}

func (r *run) equalItems(a, b []value) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	if err := r.deeper(); err != nil {
		return false, err
	}
	defer r.shallower()
	for i := range a {
		if same(a[i], b[i]) {
			continue
		}
		if eq, err := r.equal(a[i], b[i]); !eq || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (r *run) equalDicts(a, b *dict) (bool, error) {
	if a == b {
		return true, nil
	}
	if len(a.entries) != len(b.entries) {
		return false, nil
	}
	if err := r.deeper(); err != nil {
		return false, err
	}
	defer r.shallower()
	for key, i := range a.index {
		j, ok := b.index[key]
		if !ok {
			return false, nil
		}
		if same(a.entries[i].val, b.entries[j].val) {
			continue
		}
		if eq, err := r.equal(a.entries[i].val, b.entries[j].val); !eq || err != nil {
			return false, err
		}
	}
	return true, nil
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
func (r *run) order(op string, a, b value) (bool, error) {
	if err := r.step(); err != nil {
		return false, err
	}
	for _, v := range []value{a, b} {
		if u, ok := v.(*undefined); ok {
			return false, u.err()
		}
	}
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			c, ok := compareNumbers(x, y)
			return ok && ordered(op, c), nil
		}
	}
	if s, ok := str(a); ok {
		if t, ok := str(b); ok {
			return ordered(op, strings.Compare(s, t)), r.work(min(len(s), len(t)))
		}
	}
	switch x := a.(type) {
	case *list:
		if y, ok := b.(*list); ok {
			return r.orderItems(op, x.items, y.items)
		}
	case *tuple:
		if y, ok := b.(*tuple); ok {
			return r.orderItems(op, x.items, y.items)
		}
	}
	return false, typeError("'%s' not supported between instances of %s and %s", op, quote(typeName(a)), quote(typeName(b)))
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
func (r *run) orderItems(op string, a, b []value) (bool, error) {
	if err := r.deeper(); err != nil {
		return false, err
	}
	defer r.shallower()
	for i := range min(len(a), len(b)) {
		if same(a[i], b[i]) {
			continue
		}
		eq, err := r.equal(a[i], b[i])
		if err != nil {
			return false, err
		}
		if !eq {
			return r.order(op, a[i], b[i])
		}
	}
	return ordered(op, len(a)-len(b)), nil
}

// contains is "v in in".
func (r *run) contains(in, v value) (bool, error) {
	if s, ok := str(in); ok {
		part, ok := str(v)
		if !ok {
			return false, typeError("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		return strings.Contains(s, part), r.work(len(s))
	}
	d, _ := in.(*dict)
	if w, ok := in.(*view); ok && w.kind == "keys" {
		d = w.of
	}
	if d != nil {
		_, ok, err := r.load(d, v)
		return ok, err
	}
	it, err := r.iterate(in)
	if err != nil {
		return false, typeError("argument of type %s is not iterable", quote(typeName(in)))
	}
	for {
		item, ok, err := it()
		if !ok || err != nil {
			return false, err
		}
		if same(item, v) {
			return true, nil
		}
		if eq, err := r.equal(item, v); eq || err != nil {
			return eq, err
		}
	}
}

// compare applies a comparison operator.
func (r *run) compare(op string, a, b value) (bool, error) {
	switch op {
	case "==":
		return r.equal(a, b)
	case "!=":
		eq, err := r.equal(a, b)
		return !eq, err
	case "in":
		return r.contains(b, a)
	case "not in":
		in, err := r.contains(b, a)
		return !in, err
	}
	return r.order(op, a, b)
}
