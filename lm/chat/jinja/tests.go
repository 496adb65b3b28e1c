package jinja

import (
	"strings"
)

// tests are the tests by name.
var tests = map[string]builtin{}

// test adds a test of bound arguments. The names have spaces between them.
func test(names string, params string, f func(r *run, v []value) bool) {
	fields := strings.Fields("value " + params)
	for _, name := range strings.Fields(names) {
		tests[name] = func(r *run, a *args) value { return f(r, a.bind(name, len(fields), fields...)) }
	}
}

func init() {
	kind := func(names string, f func(v value) bool) {
		test(names, "", func(_ *run, v []value) bool { return f(v[0]) })
	}
	isUndefined := func(v value) bool { _, ok := v.(*undefined); return ok }
	kind("defined", func(v value) bool { return !isUndefined(v) })
	kind("undefined", isUndefined)
	kind("none", func(v value) bool { return v == nil })
	kind("boolean", func(v value) bool { _, ok := v.(bool); return ok })
	kind("true", func(v value) bool { return v == true })
	kind("false", func(v value) bool { return v == false })
	kind("integer", func(v value) bool {
		_, isBool := v.(bool)
		_, ok := integer(v)
		return ok && !isBool
	})
	kind("float", func(v value) bool { _, ok := v.(float64); return ok })
	kind("number", func(v value) bool { _, ok := number(v); return ok })
	kind("string", func(v value) bool { _, ok := str(v); return ok })
	kind("mapping", func(v value) bool { _, ok := v.(*dict); return ok })
	kind("escaped", func(v value) bool { _, ok := v.(markup); return ok })
	kind("sequence", func(v value) bool {
		switch v.(type) {
		case string, markup, *list, *tuple, *dict, *span, *undefined:
			return true
		}
		return false
	})
	kind("iterable", func(v value) bool {
		if _, ok := v.(*loop); ok {
			return true
		}
		_, ok := (&run{}).iter(v)
		return ok
	})
	kind("callable", func(v value) bool {
		switch v.(type) {
		case *function, *macro, *loop, *undefined:
			return true
		}
		return false
	})

	for name, m := range map[string]string{"lower": "islower", "upper": "isupper"} {
		test(name, "", func(r *run, v []value) bool { return stringMethods[m](r, r.text(v[0]), &args{}) == true })
	}
	remainder := func(r *run, v, by value, want int) bool { return r.equal(r.binary("%", v, by), want) }
	test("odd", "", func(r *run, v []value) bool { return remainder(r, v[0], 2, 1) })
	test("even", "", func(r *run, v []value) bool { return remainder(r, v[0], 2, 0) })
	test("divisibleby", "num", func(r *run, v []value) bool { return remainder(r, v[0], v[1], 0) })
	test("sameas", "other", func(_ *run, v []value) bool {
		if _, ok := v[0].(*undefined); ok && v[0] != v[1] {
			return false
		}
		return same(v[0], v[1])
	})
	test("in", "seq", func(r *run, v []value) bool { return r.contains(v[1], v[0]) })
	for op, names := range map[string]string{
		"==": "== eq equalto", "!=": "!= ne", ">": "> gt greaterthan", ">=": ">= ge", "<": "< lt lessthan", "<=": "<= le",
	} {
		test(names, "other", func(r *run, v []value) bool { return r.compare(op, v[0], v[1]) })
	}
	for name, has := range map[string]map[string]builtin{"filter": filters, "test": tests} {
		test(name, "", func(r *run, v []value) bool {
			r.hash(v[0])
			s, ok := str(v[0])
			return ok && has[s] != nil
		})
	}
}
