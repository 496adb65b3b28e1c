package jinja

import (
	"fmt"
	"strings"
	"time"
)

// globalFunctions are there for every template.
var globalFunctions = map[string]*function{}

// leftOutGlobals are those of Jinja that this package lacks.
var leftOutGlobals = []string{"cycler", "joiner", "lipsum", "self"}

func global(name string, f func(r *run, a *args) value) {
	globalFunctions[name] = &function{name: name, call: f}
}

func init() {
	global("range", func(_ *run, a *args) value {
		if len(a.names) > 0 {
			panic(typeError("range() takes no keyword arguments"))
		}
		if len(a.pos) == 0 || len(a.pos) > 3 {
			panic(typeError("range expected 1 to 3 arguments, got %d", len(a.pos)))
		}
		n := []int{0, 0, 1}
		for i, v := range a.pos {
			n[i] = intArg(v, 0)
		}
		if len(a.pos) == 1 {
			n[0], n[1] = 0, n[0]
		}
		if n[2] == 0 {
			panic(valueError("range() arg 3 must not be zero"))
		}
		s := &span{n[0], n[1], n[2]}
		if l := s.len(); l > maxRange || l < 0 {
			panic(raise("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange))
		}
		return s
	})
	global("dict", func(r *run, a *args) value { return r.dictCall(a) })
	global("namespace", func(r *run, a *args) value {
		d := r.dictCall(a)
		for _, e := range d.entries {
			if name, ok := str(e.key); ok {
				r.setAttr(&namespace{newDict()}, name, nil)
			}
		}
		return &namespace{d}
	})
	global("raise_exception", func(r *run, a *args) value {
		panic(raise(ClassRaised, "%s", r.text(a.bind("raise_exception", 1, "message")[0])))
	})
	global("strftime_now", func(r *run, a *args) value {
		v := a.bind("strftime_now", 1, "format")
		format, ok := str(v[0])
		if !ok {
			panic(typeError("strftime() argument 1 must be str, not %s", typeName(v[0])))
		}
		text := strftime(r.template.now(), format)
		r.grow(len(text))
		return text
	})
}

// dictCall is dict(…): of a dict or of pairs, and of named arguments.
func (r *run) dictCall(a *args) *dict {
	d := newDict()
	switch len(a.pos) {
	case 0:
	case 1:
		use(a.pos[0])
		d = r.dictOf(a.pos[0])
	default:
		panic(typeError("dict expected at most 1 argument, got %d", len(a.pos)))
	}
	for i, name := range a.names {
		r.store(d, name, a.named[i])
	}
	return d
}

// directives gives Go's layout for strftime's letters.
var directives = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'h': "Jan", 'd': "02", 'e': "_2", 'm': "01", 'y': "06", 'Y': "2006",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'P': "pm", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'r': "03:04:05 PM",
	'Z': "", 'z': "", 'n': "\n", 't': "\t", '%': "%",
	'D': "01/02/06", 'x': "01/02/06", 'X': "15:04:05", 'c': "Mon Jan _2 15:04:05 2006",
}

// strftime writes a time as C does in its own locale: the time has no zone, and
// what is not known is written as it is. A minus after the percent sign takes
// zeros off.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		start := i
		i++
		flag := byte(0)
		if strings.IndexByte("-_0^#", format[i]) >= 0 && i+1 < len(format) {
			flag = format[i]
			i++
		}
		s, ok := directive(t, format[i])
		if !ok {
			b.WriteString(format[start : i+1])
			continue
		}
		switch flag {
		case '-':
			if s = strings.TrimLeft(s, "0 "); s == "" {
				s = "0"
			}
		case '_':
			if n := len(s) - len(strings.TrimLeft(s[:max(len(s)-1, 0)], "0")); n > 0 && decimal(s[0]) {
				trimmed := strings.TrimLeft(s[:len(s)-1], "0") + s[len(s)-1:]
				s = strings.Repeat(" ", len(s)-len(trimmed)) + trimmed
			}
		case '^':
			s = strings.ToUpper(s)
		}
		b.WriteString(s)
	}
	return b.String()
}

func directive(t time.Time, c byte) (string, bool) {
	if layout, ok := directives[c]; ok {
		return t.Format(layout), true
	}
	if f, ok := computed[c]; ok {
		return f(t), true
	}
	return "", false
}

// computed are the directives for which Go has no layout.
var computed = map[byte]func(t time.Time) string{
	'j': func(t time.Time) string { return fmt.Sprintf("%03d", t.YearDay()) },
	'w': func(t time.Time) string { return fmt.Sprint(int(t.Weekday())) },
	'u': func(t time.Time) string { return fmt.Sprint((int(t.Weekday())+6)%7 + 1) },
	'U': func(t time.Time) string { return fmt.Sprintf("%02d", (t.YearDay()+6-int(t.Weekday()))/7) },
	'W': func(t time.Time) string { return fmt.Sprintf("%02d", (t.YearDay()+6-int(t.Weekday()+6)%7)/7) },
	'V': func(t time.Time) string { return fmt.Sprintf("%02d", isoWeek(t)) },
	'G': func(t time.Time) string { return fmt.Sprint(isoYear(t)) },
	'g': func(t time.Time) string { return fmt.Sprintf("%02d", isoYear(t)%100) },
	'C': func(t time.Time) string { return fmt.Sprintf("%02d", t.Year()/100) },
	'k': func(t time.Time) string { return fmt.Sprintf("%2d", t.Hour()) },
	'l': func(t time.Time) string { return fmt.Sprintf("%2d", (t.Hour()+11)%12+1) },
	's': func(t time.Time) string { return fmt.Sprint(t.Unix()) },
	'f': func(t time.Time) string { return fmt.Sprintf("%06d", t.Nanosecond()/1000) },
}

func isoYear(t time.Time) int { year, _ := t.ISOWeek(); return year }

func isoWeek(t time.Time) int { _, week := t.ISOWeek(); return week }
