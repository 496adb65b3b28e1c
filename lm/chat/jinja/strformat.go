package jinja

import (
	"html"
	"strconv"
	"strings"
)

// formatter writes one text with str.format.
type formatter struct {
	r    *run
	args *args
	auto int // the next field without a name; -1 once fields are numbered
	safe bool
}

// format is self.format(…). Fields are looked up as the sandbox allows.
func (r *run) format(self value, a *args) value {
	s, _ := str(self)
	_, safe := self.(markup)
	f := &formatter{r: r, args: a, safe: safe}
	return like(self, f.write(s, 2))
}

// write replaces the fields of a text; fields nest to a depth.
func (f *formatter) write(s string, depth int) string {
	if depth < 0 {
		panic(valueError("Max string recursion exceeded"))
	}
	w := &writer{r: f.r}
	for s != "" {
		at := strings.IndexAny(s, "{}")
		if at < 0 {
			at = len(s)
		}
		w.put(s[:at])
		if s = s[at:]; s == "" {
			break
		}
		if len(s) > 1 && s[1] == s[0] {
			w.put(s[:1])
			s = s[2:]
			continue
		}
		if s[0] == '}' {
			panic(valueError("Single '}' encountered in format string"))
		}
		level, end := 1, 1
		for ; end < len(s) && level > 0; end++ {
			switch s[end] {
			case '{':
				level++
			case '}':
				level--
			}
		}
		if level > 0 {
			if len(s) == 1 {
				panic(valueError("Single '{' encountered in format string"))
			}
			panic(valueError("expected '}' before end of string"))
		}
		w.put(f.field(s[1:end-1], depth))
		s = s[end:]
	}
	return w.String()
}

// field writes name!conversion:spec.
func (f *formatter) field(s string, depth int) string {
	name, spec, conversion := s, "", ""
	bracket := false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '[':
			bracket = true
		case c == ']':
			bracket = false
		case c == '!' && !bracket || c == ':' && !bracket:
			name = s[:i]
			if c == ':' {
				spec = s[i+1:]
			} else {
				conversion, spec, _ = strings.Cut(s[i+1:], ":")
				if len(conversion) != 1 {
					panic(valueError("expected ':' after conversion specifier"))
				}
			}
		default:
			continue
		}
		if name != s {
			break
		}
	}
	v := f.lookup(name)
	switch conversion {
	case "":
	case "s":
		v = f.r.text(v)
	case "r":
		v = f.r.repr(v)
	case "a":
		v = asciiRepr(f.r.repr(v))
	default:
		panic(valueError("Unknown conversion specifier %s", conversion))
	}
	spec = f.write(spec, depth-1)
	out := f.r.formatValue(v, spec)
	if _, plain := v.(markup); f.safe && !plain {
		out = html.EscapeString(out)
	}
	return out
}

// lookup finds what a field names: an argument and, after it, attributes and
// elements.
func (f *formatter) lookup(name string) value {
	end := strings.IndexAny(name, ".[")
	if end < 0 {
		end = len(name)
	}
	first, rest := name[:end], name[end:]
	v := f.argument(first, rest != "")
	for rest != "" {
		if rest[0] == '.' {
			end = strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			if end == 1 {
				panic(valueError("Empty attribute in format string"))
			}
			v = f.r.attr(v, rest[1:end])
			rest = rest[end:]
			continue
		}
		end = strings.IndexByte(rest, ']')
		switch {
		case rest[0] != '[':
			panic(valueError("Only '.' or '[' may follow ']' in format field specifier"))
		case end < 0:
			panic(valueError("Missing ']' in format string"))
		case end == 1:
			panic(valueError("Empty attribute in format string"))
		}
		var key value = rest[1:end]
		if i, err := strconv.Atoi(rest[1:end]); err == nil && decimal(rest[1]) {
			key = i
		}
		v = f.r.item(v, key)
		rest = rest[end+1:]
	}
	return v
}

// argument finds an argument. Fields are counted unless they are numbered; those
// that go on with attributes or elements may mix both.
func (f *formatter) argument(name string, more bool) value {
	i, err := strconv.Atoi(name)
	switch {
	case name == "" && !more:
		if f.auto < 0 {
			panic(valueError("cannot switch from manual field specification to automatic field numbering"))
		}
		i = f.auto
		f.auto++
	case err == nil && decimal(name[0]):
		if more {
			break
		}
		if f.auto > 0 {
			panic(valueError("cannot switch from manual field specification to automatic field numbering"))
		}
		f.auto = -1
	default:
		v, ok := f.args.get(name)
		if !ok {
			panic(raise("KeyError", "%s", quote(name)))
		}
		return v
	}
	if i >= len(f.args.pos) {
		panic(raise("IndexError", "Replacement index %d out of range for positional args tuple", i))
	}
	return f.args.pos[i]
}
