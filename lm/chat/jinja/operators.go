package jinja

import (
	"html"
	"math"
	"math/big"
	"slices"
	"strings"
)

// binary applies an arithmetic operator.
func (r *run) binary(op string, a, b value) value {
	if format, ok := str(a); ok && op == "%" {
		return r.percent(a, format, b)
	}
	use(a)
	use(b)
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return arithmetic(op, x, y)
		}
	}
	switch op {
	case "+":
		name := typeName(a)
		s, isText := str(a)
		items, isList := itemsOf(a)
		if isText {
			name = "str"
			if t, ok := str(b); ok {
				return r.join([]value{a, b}, s, t)
			}
		} else if more, ok := itemsOf(b); ok && typeName(b) == name {
			return withItems(a, r.concat(items, more))
		}
		if isText || isList {
			panic(typeError("can only concatenate %s (not %q) to %s", name, typeName(b), name))
		}
	case "*":
		for _, p := range [][2]value{{a, b}, {b, a}} {
			if n, ok := small(p[1]); ok && isSequence(p[0]) {
				if _, huge := p[1].(*big.Int); huge {
					panic(raise("OverflowError", "cannot fit 'int' into an index-sized integer"))
				}
				return r.repeat(p[0], n)
			}
		}
	}
	if op == "**" {
		op = "** or pow()"
	}
	panic(typeError("unsupported operand type(s) for %s: %s and %s", op, quote(typeName(a)), quote(typeName(b))))
}

// join is the sum of strings. If one is markup, so is the sum, and the others
// are escaped.
func (r *run) join(vals []value, texts ...string) value {
	safe := false
	for _, v := range vals {
		_, ok := v.(markup)
		safe = safe || ok
	}
	w := &writer{r: r}
	for i, v := range vals {
		s := texts[i]
		if _, ok := v.(markup); safe && !ok {
			s = html.EscapeString(s)
		}
		w.put(s)
	}
	if safe {
		return markup(w.String())
	}
	return w.String()
}

func (r *run) concat(a, b []value) []value {
	r.room(len(a) + len(b))
	return append(append(make([]value, 0, len(a)+len(b)), a...), b...)
}

func isSequence(v value) bool {
	_, isText := str(v)
	_, ok := itemsOf(v)
	return isText || ok
}

// repeat is v * n of a sequence.
func (r *run) repeat(v value, n int) value {
	n = max(n, 0)
	if s, ok := str(v); ok {
		fits(n, len(s))
		r.grow(len(s) * n)
		return like(v, strings.Repeat(s, n))
	}
	items, _ := itemsOf(v)
	if len(items) > 0 && n > maxItems/len(items) {
		panic(limitError("a list of more than %d items", maxItems))
	}
	if len(items) == 0 {
		return withItems(v, nil)
	}
	r.room(len(items) * n)
	return withItems(v, slices.Repeat(items, n))
}

// unary applies a sign.
func (r *run) unary(op string, v value) value {
	use(v)
	n, ok := number(v)
	if !ok {
		panic(typeError("bad operand type for unary %s: %s", op, quote(typeName(v))))
	}
	if op == "+" {
		return n
	}
	if f, ok := n.(float64); ok {
		return -f
	}
	return arithmetic("-", 0, n)
}

// item is v[index] as Jinja reads it: an element, or else an attribute, or
// else undefined.
func (r *run) item(v, index value) value {
	use(v)
	if got, ok := r.element(v, index); ok {
		return got
	}
	if name, ok := str(index); ok {
		if got, ok := r.attribute(v, name); ok {
			return got
		}
	}
	return undefinedIn(v, index)
}

// attr is v.name as Jinja reads it: an attribute, or else an element, or else
// undefined.
func (r *run) attr(v value, name string) value {
	if u, ok := v.(*undefined); ok {
		if slices.Contains(dunders, name) {
			return unsafe(v, name)
		}
		panic(u.err())
	}
	if got, ok := r.attribute(v, name); ok {
		return got
	}
	if got, ok := r.element(v, name); ok {
		return got
	}
	return undefinedIn(v, name)
}

// element is v[index] as Python reads it; ok is false where Python raises a
// TypeError or a LookupError.
func (r *run) element(v, index value) (got value, ok bool) {
	switch v := v.(type) {
	case *dict:
		if name, ok := str(index); ok {
			r.work(len(name))
			return v.get(name)
		}
		catch("TypeError", func() { got, ok = r.load(v, index) }) // not hashable
		return got, ok
	}
	i, isInt := small(index)
	if !isInt {
		return nil, false
	}
	switch v := v.(type) {
	case string, markup:
		s, _ := str(v)
		c, ok := charAt(s, i)
		r.work(len(s))
		return like(v, c), ok
	case *span:
		i, ok := clamp(i, v.len())
		return v.start + i*v.step, ok
	}
	items, _ := itemsOf(v)
	if i, ok := clamp(i, len(items)); ok {
		return items[i], true
	}
	return nil, false
}

// clamp makes an index count from the beginning and tells whether it is there.
func clamp(i, n int) (int, bool) {
	if i < 0 {
		i += n
	}
	return i, i >= 0 && i < n
}

// charAt returns a character of a text.
func charAt(s string, i int) (string, bool) {
	n := runeCount(s)
	i, ok := clamp(i, n)
	if !ok {
		return "", false
	}
	if n == len(s) {
		return s[i : i+1], true
	}
	for _, c := range s {
		if i == 0 {
			return string(c), true
		}
		i--
	}
	return "", false
}

// slice is v[start:stop:step]; nil stands for what is left out.
func (r *run) slice(v value, bounds [3]value) value {
	use(v)
	var runes []rune
	items, _ := itemsOf(v)
	n := len(items)
	s, isText := str(v)
	ascii := isASCII(s)
	switch v := v.(type) {
	case string, markup:
		if n = len(s); !ascii {
			runes = []rune(s)
			n = len(runes)
		}
		r.grow(len(s))
	case *list, *tuple:
	case *span:
		n = v.len()
	case *dict:
		panic(typeError("unhashable type: 'slice'"))
	default:
		panic(typeError("%s object is not subscriptable", quote(typeName(v))))
	}
	start, stop, step := sliceBounds(bounds, n)
	if v, ok := v.(*span); ok {
		return &span{v.start + start*v.step, v.start + stop*v.step, v.step * step}
	}
	count := (&span{start, stop, step}).len()
	if isText && step == 1 {
		if count == 0 {
			return like(v, "")
		}
		if ascii {
			return like(v, s[start:stop])
		}
		return like(v, string(runes[start:stop]))
	}
	if isText {
		out := make([]rune, 0, count)
		for i := range count {
			if ascii {
				out = append(out, rune(s[start+i*step]))
			} else {
				out = append(out, runes[start+i*step])
			}
		}
		return like(v, string(out))
	}
	r.room(count)
	out := make([]value, 0, count)
	for i := range count {
		out = append(out, items[start+i*step])
	}
	return withItems(v, out)
}

// sliceBounds is slice(...).indices(n).
func sliceBounds(bounds [3]value, n int) (start, stop, step int) {
	var is [3]int
	for i, b := range bounds {
		if b == nil {
			continue
		}
		k, ok := small(b)
		if !ok {
			panic(typeError("slice indices must be integers or None or have an __index__ method"))
		}
		is[i] = k
	}
	step = 1
	if bounds[2] != nil {
		if step = is[2]; step == 0 {
			panic(valueError("slice step cannot be zero"))
		}
	}
	step = min(max(step, -math.MaxInt32), math.MaxInt32)
	low, high := 0, n
	if step < 0 {
		low, high = -1, n-1
	}
	edge := func(i, otherwise int) int {
		if bounds[i] == nil {
			return otherwise
		}
		k := is[i]
		if k < 0 {
			k += n
		}
		return min(max(k, low), high)
	}
	if step > 0 {
		return edge(0, 0), edge(1, n), step
	}
	return edge(0, n-1), edge(1, -1), step
}
