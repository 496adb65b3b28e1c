package jinja

import "unicode/utf8"

// iterator gives values until ok is false.
type iterator func() (v value, ok bool, err error)

// iterate is iter(v).
func (r *run) iterate(v value) (iterator, error) {
	var items []value
	switch v := v.(type) {
	case string, markup:
		s, _ := str(v)
		return func() (value, bool, error) {
			if s == "" {
				return nil, false, nil
			}
			_, n := utf8.DecodeRuneInString(s)
			c := s[:n]
			s = s[n:]
			return c, true, r.step() // plain, of markup too
		}, nil
	case *list:
		items = v.items
	case *tuple:
		items = v.items
	case *dict:
		items = (&view{v, "keys"}).items()
	case *view:
		items = v.items()
	case *span:
		i, n := 0, v.len()
		return func() (value, bool, error) {
			if i == n {
				return nil, false, nil
			}
			i++
			return v.start + (i-1)*v.step, true, r.step()
		}, nil
	case *generator:
		return v.next, nil
	case *undefined:
	default:
		return nil, typeError("%s object is not iterable", quote(typeName(v)))
	}
	return r.over(items), nil
}

func (r *run) over(items []value) iterator {
	return func() (value, bool, error) {
		if len(items) == 0 {
			return nil, false, nil
		}
		v := items[0]
		items = items[1:]
		return v, true, r.step()
	}
}

// collect is list(v). The items may be those of v, not to be changed.
func (r *run) collect(v value) ([]value, error) {
	switch v := v.(type) {
	case *list:
		return v.items, r.work(len(v.items))
	case *tuple:
		return v.items, r.work(len(v.items))
	}
	it, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	return r.drain(it)
}

func (r *run) drain(it iterator) (items []value, err error) {
	for {
		v, ok, err := it()
		if !ok || err != nil {
			return items, err
		}
		if len(items) == maxItems {
			return nil, limitError("a list of more than %d items", maxItems)
		}
		if err := r.grow(valueBytes); err != nil {
			return nil, err
		}
		items = append(items, v)
	}
}

// generate makes a generator. Nothing happens before its first value is asked
// for; start then gives the source.
func (r *run) generate(name string, start func() (iterator, error)) *generator {
	var it iterator
	done := false
	return &generator{name, func() (value, bool, error) {
		if done {
			return nil, false, nil
		}
		if err := r.deeper(); err != nil {
			return nil, false, err
		}
		defer r.shallower()
		var err error
		if it == nil {
			it, err = start()
		}
		var v value
		ok := false
		if err == nil && it != nil {
			v, ok, err = it()
		}
		done = !ok || err != nil
		return v, ok && err == nil, err
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
	ended   bool
	changed []value
	r       *run
	recurse func(over value, depth int) (value, error)
}

// newLoop begins a loop over v.
func (r *run) newLoop(v value, it iterator, depth int) *loop {
	l := &loop{it: it, size: -1, index0: -1, depth0: depth, r: r, before: missing, current: missing}
	if _, lazy := v.(*generator); !lazy {
		if n, err := r.length(v); err == nil {
			l.size = n
		}
	}
	return l
}

// next goes on to the next value.
func (l *loop) next() (v value, ok bool, err error) {
	if l.peeked != nil {
		v, ok = *l.peeked, true
		l.peeked = nil
	} else if v, ok, err = l.it(); err != nil || !ok {
		return nil, false, err
	}
	l.index0++
	l.before, l.current = l.current, v
	return v, ok, nil
}

// peek looks at the next value.
func (l *loop) peek() (v value, ok bool, err error) {
	if l.peeked == nil {
		v, ok, err := l.it()
		if !ok || err != nil {
			return nil, false, err
		}
		l.peeked = &v
	}
	return *l.peeked, true, nil
}

// len returns the number of values, for which a source that does not tell is
// read to its end.
func (l *loop) len() (int, error) {
	if l.size < 0 {
		items, err := l.r.drain(l.it)
		if err != nil {
			return 0, err
		}
		l.it = l.r.over(items)
		l.size = len(items) + l.index0 + 1
		if l.peeked != nil {
			l.size++
		}
	}
	return l.size, nil
}
