package parity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scanner reads the JSON text of one line. It knows where in the value it is,
// so that an error names the field. The first error sticks: from then on
// nothing is read and every method returns zero.
type scanner struct {
	data []byte
	pos  int
	path []segment
	err  error
	at   string // the path of err
}

// segment is a field of an object or an element of an array.
type segment struct {
	name    string
	index   int
	element bool
}

// field is the path of what is being read.
func (s *scanner) field() string {
	var b strings.Builder
	for i, p := range s.path {
		switch {
		case p.element:
			fmt.Fprintf(&b, "[%d]", p.index)
		case i == 0:
			b.WriteString(p.name)
		default:
			b.WriteString("." + p.name)
		}
	}
	return b.String()
}

// fail records an error at what is being read.
func (s *scanner) fail(format string, args ...any) { s.failAt("", format, args...) }

// failAt records an error at a field below what is being read.
func (s *scanner) failAt(below, format string, args ...any) {
	if s.err != nil {
		return
	}
	s.err = fmt.Errorf(format, args...)
	s.at = s.field()
	if s.at != "" && below != "" {
		s.at += "."
	}
	s.at += below
}

// want records that something else was found.
func (s *scanner) want(what string) {
	found := "the end of the line"
	if s.pos < len(s.data) {
		rest := s.data[s.pos:]
		found = string(rest[:min(len(rest), 20)])
		if i := strings.IndexAny(found, ",]}\n"); i > 0 {
			found = found[:i]
		}
		found = strconv.Quote(found)
	}
	s.fail("want %s, found %s", what, found)
}

// peek returns the next byte that is not white space, 0 at the end.
func (s *scanner) peek() byte {
	for s.err == nil && s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// take reads c if it comes next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.err != nil {
		return false
	}
	s.pos++
	return true
}

// word reads a literal such as null if it comes next.
func (s *scanner) word(w string) bool {
	s.peek()
	if s.err != nil || !bytes.HasPrefix(s.data[s.pos:], []byte(w)) {
		return false
	}
	s.pos += len(w)
	return true
}

// end reads the end of the line.
func (s *scanner) end() {
	if s.peek(); s.pos < len(s.data) && s.err == nil {
		s.want("nothing after the closing brace")
	}
}

// object reads an object whose members have the given names, or any names if
// known is nil. member reads the value of each.
func (s *scanner) object(what string, known []string, member func(name string)) {
	if !s.take('{') {
		s.want(what)
		return
	}
	var seen []string
	for first := true; s.err == nil && !s.take('}'); first = false {
		if !first && !s.take(',') {
			s.want("a comma or the closing brace")
			return
		}
		name := s.text("a field name")
		if s.err != nil {
			return
		}
		if known != nil && !slices.Contains(known, name) {
			s.failAt(name, "unknown field, want one of %s", strings.Join(known, ", "))
			return
		}
		if slices.Contains(seen, name) {
			s.failAt(name, "given twice")
			return
		}
		if len(seen) == maxMembers {
			s.fail("more than %d fields", maxMembers)
			return
		}
		seen = append(seen, name)
		if !s.take(':') {
			s.want("a colon after a field name")
			return
		}
		s.path = append(s.path, segment{name: name})
		member(name)
		s.path = s.path[:len(s.path)-1]
	}
}

// maxMembers bounds the fields of an object, so that looking for duplicates
// takes no index.
const maxMembers = 64

// array reads an array; element reads each of its elements.
func (s *scanner) array(what string, element func(i int)) {
	if !s.take('[') {
		s.want(what)
		return
	}
	s.path = append(s.path, segment{element: true})
	for i := 0; s.err == nil && !s.take(']'); i++ {
		if i > 0 && !s.take(',') {
			s.want("a comma or the closing bracket")
			break
		}
		s.path[len(s.path)-1].index = i
		element(i)
	}
	s.path = s.path[:len(s.path)-1]
}

// text reads a string.
func (s *scanner) text(what string) string {
	if s.peek() != '"' || s.err != nil {
		s.want(what)
		return ""
	}
	start, escaped := s.pos, false
	for i := start + 1; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			s.fail("a string with the control character %q, want it escaped", c)
			return ""
		case c == '"':
			raw := s.data[start : i+1]
			s.pos = i + 1
			if !utf8.Valid(raw) {
				s.fail("a string that is not UTF-8")
				return ""
			}
			if !escaped {
				return string(raw[1 : len(raw)-1])
			}
			var v string
			if err := json.Unmarshal(raw, &v); err != nil {
				s.fail("a string with a bad escape: %s", raw)
			}
			return v
		}
	}
	s.want("a string with a closing quote")
	return ""
}

// flag reads true, false, 1 or 0.
func (s *scanner) flag() bool {
	switch {
	case s.word("true"):
		return true
	case s.word("false"):
		return false
	}
	const what = "true, false, 1 or 0"
	start := s.pos
	x := s.number(what)
	if s.err == nil && x != 0 && x != 1 {
		s.pos = start
		s.want(what)
	}
	return x == 1
}

// count reads an integer from 0 to limit.
func (s *scanner) count(limit int) int {
	what := fmt.Sprintf("an integer from 0 to %d", limit)
	start := s.pos
	x := s.number(what)
	if s.err == nil && !(x >= 0 && x <= float64(limit) && x == math.Trunc(x)) {
		s.pos = start
		s.want(what)
		return 0
	}
	return int(x)
}

// orNull reads a number, or NaN for null.
func (s *scanner) orNull() float64 {
	if s.word("null") {
		return math.NaN()
	}
	return s.number("a number or null")
}

// number reads a finite number.
func (s *scanner) number(what string) float64 {
	s.peek()
	if s.err != nil {
		return 0
	}
	n := numberLength(s.data[s.pos:])
	if n == 0 {
		s.want(what)
		return 0
	}
	x, err := strconv.ParseFloat(string(s.data[s.pos:s.pos+n]), 64)
	if err != nil {
		s.fail("%s is beyond the range of a 64-bit float", s.data[s.pos:s.pos+n])
		return 0
	}
	s.pos += n
	return x
}

// numberLength is the length of the JSON number that b begins with, or 0.
func numberLength(b []byte) int {
	i := 0
	digits := func() bool {
		start := i
		for i < len(b) && '0' <= b[i] && b[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			return 0
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

// numbers reads an array of numbers, in which null stands for NaN.
func (s *scanner) numbers() []float64 {
	row := []float64{}
	s.array("an array of numbers", func(int) { row = append(row, s.orNull()) })
	return row
}

// matrix reads an array of arrays of numbers.
func (s *scanner) matrix() [][]float64 {
	rows := [][]float64{}
	s.array("an array of arrays of numbers", func(int) { rows = append(rows, s.numbers()) })
	return rows
}

// flags reads an array of arrays of flags.
func (s *scanner) flags() [][]bool {
	rows := [][]bool{}
	s.array("an array of arrays of true and false", func(int) {
		row := []bool{}
		s.array("an array of true and false", func(int) { row = append(row, s.flag()) })
		rows = append(rows, row)
	})
	return rows
}
