package jinja

import "unicode/utf8"

// iterator gives values until ok is false.
type iterator func() (v value, ok bool)

// iterate is iter(v).
func (r *run) iterate(v value) iterator {
	it, ok := r.iter(v)
	if !ok {
		panic(typeError("%s object is not iterable", quote(typeName(v))))
	}
	return it
}

// iter is iterate if v can be iterated over.
func (r *run) iter(v value) (it iterator, ok bool) {
	var items []value
	switch v := v.(type) {
	case string, markup:
		s, _ := str(v)
		return func() (value, bool) {
			if s == "" {
				return nil, false
			}
			_, n := utf8.DecodeRuneInString(s)
			c := s[:n]
			s = s[n:]
			r.step()
			return c, true // plain, of markup too
		}, true
	case *list, *tuple:
		items, _ = itemsOf(v)
	case *dict:
		items = (&view{v, "keys"}).items()
	case *view:
		items = v.items()
	case *span:
		i, n := 0, v.len()
		return func() (value, bool) {
			if i == n {
				return nil, false
			}
			i++
			r.step()
			return v.start + (i-1)*v.step, true
		}, true
	case *generator:
		return v.next, true
	case *undefined:
	default:
		return nil, false
	}
	return r.over(items), true
}

func (r *run) over(items []value) iterator {
	return func() (value, bool) {
		if len(items) == 0 {
			return nil, false
		}
		v := items[0]
		items = items[1:]
		r.step()
		return v, true
	}
}

// collect is list(v). The items may be those of v, not to be changed.
func (r *run) collect(v value) []value {
	if items, ok := itemsOf(v); ok {
		r.work(len(items))
		return items
	}
	return r.drain(r.iterate(v))
}

// collectOr is collect with a custom failure instead of a TypeError.
func (r *run) collectOr(v value, otherwise failure) (items []value) {
	if catch("TypeError", func() { items = r.collect(v) }) != nil {
		panic(otherwise)
	}
	return items
}

func (r *run) drain(it iterator) (items []value) {
	for {
		v, ok := it()
		if !ok {
			return items
		}
		if len(items) == maxItems {
			panic(limitError("a list of more than %d items", maxItems))
		}
		r.grow(valueBytes)
		items = append(items, v)
	}
}

// generate makes a generator. Nothing happens before its first value is asked
// for; start then gives the source.
func (r *run) generate(name string, start func() iterator) *generator {
	var it iterator
	done := false
	return &generator{name, func() (value, bool) {
		if done {
			return nil, false
		}
		r.deeper()
		defer r.shallower()
		if it == nil {
			it = start()
		}
		var v value
		ok := false
		if it != nil {
			v, ok = it()
		}
		done = !ok
		return v, ok
	}}
}

// loop is the variable loop, and what runs a loop.
type loop struct {
	it      iterator
	size    int // -1 before it is known
	index0  int
	depth0  int
	before  value
	current value
	peeked  *value // the next one, if it was looked at
	changed []value
	r       *run
	recurse func(over value, depth int) value
}

// newLoop begins a loop over v.
func (r *run) newLoop(v value, it iterator, depth int) *loop {
	l := &loop{it: it, size: -1, index0: -1, depth0: depth, r: r, before: missing, current: missing}
	if _, lazy := v.(*generator); !lazy {
		l.size = r.length(v)
	}
	return l
}

// next goes on to the next value.
func (l *loop) next() (v value, ok bool) {
	if l.peeked != nil {
		v, ok = *l.peeked, true
		l.peeked = nil
	} else if v, ok = l.it(); !ok {
		return nil, false
	}
	l.index0++
	l.before, l.current = l.current, v
	return v, ok
}

// peek looks at the next value.
func (l *loop) peek() (v value, ok bool) {
	if l.peeked == nil {
		v, ok := l.it()
		if !ok {
			return nil, false
		}
		l.peeked = &v
	}
	return *l.peeked, true
}

// len returns the number of values, for which a source that does not tell is
// read to its end.
func (l *loop) len() int {
	if l.size < 0 {
		items := l.r.drain(l.it)
		l.it = l.r.over(items)
		l.size = len(items) + l.index0 + 1
		if l.peeked != nil {
			l.size++
		}
	}
	return l.size
}
