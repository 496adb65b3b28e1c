package parity

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// eachLine calls f for every line that is not blank, of any length, until f
// fails. Lines count from 1, blank ones included.
func eachLine(r io.Reader, f func(line []byte, number int) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, math.MaxInt)
	for n := 1; in.Scan(); n++ {
		if line := bytes.TrimSpace(in.Bytes()); len(line) > 0 {
			if err := f(line, n); err != nil {
				return err
			}
		}
	}
	return in.Err()
}

// scanner reads the JSON of one line. It knows where in the value it is, so that
// an error names the field. The first error stays: from then on nothing is read
// and every method returns zero.
type scanner struct {
	in   *json.Decoder
	path []segment
	err  error
	at   string // the path of err
}

// segment is a field of an object, whose index is -1, or an element of an array.
type segment struct {
	name  string
	index int
}

func newScanner(line []byte) scanner {
	s := scanner{in: json.NewDecoder(bytes.NewReader(line))}
	s.in.UseNumber()
	if !utf8.Valid(line) {
		s.fail("not UTF-8")
	}
	return s
}

// fail records an error at what is being read.
func (s *scanner) fail(format string, args ...any) { s.failAt("", format, args...) }

// failAt records an error at a field below what is being read.
func (s *scanner) failAt(below, format string, args ...any) {
	if s.err != nil {
		return
	}
	s.err = fmt.Errorf(format, args...)
	path := s.path
	if below != "" {
		path = append(path, segment{below, -1})
	}
	for _, p := range path {
		if p.index >= 0 {
			s.at += fmt.Sprintf("[%d]", p.index)
		} else {
			s.at += "." + p.name
		}
	}
	s.at = strings.TrimPrefix(s.at, ".")
}

// want records that something else was found.
func (s *scanner) want(what string, found json.Token) {
	switch found.(type) {
	case nil:
		found = "null"
	case string, json.Delim:
		found = fmt.Sprintf("%.20q", fmt.Sprint(found))
	}
	s.fail("want %s, found %v", what, found)
}

// token reads the next token: nil is null, or that there was an error.
func (s *scanner) token() json.Token {
	if s.err != nil {
		return nil
	}
	t, err := s.in.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		s.fail("the line ends too early")
	} else if err != nil {
		s.fail("%w", err)
	}
	return t
}

// end reads the end of the line.
func (s *scanner) end() {
	if s.err != nil {
		return
	}
	if _, err := s.in.Token(); !errors.Is(err, io.EOF) {
		s.fail("want nothing after the closing brace")
	}
}

// object reads an object whose members have the given names, or any names if
// known is nil. member reads the value of each.
func (s *scanner) object(what string, known []string, member func(name string)) {
	if t := s.token(); t != json.Delim('{') {
		s.want(what, t)
	}
	s.members(known, member)
}

// members reads what comes after the opening brace of an object.
func (s *scanner) members(known []string, member func(name string)) {
	seen := map[string]bool{}
	for s.err == nil && s.in.More() {
		name, _ := s.token().(string)
		switch {
		case known != nil && !slices.Contains(known, name):
			s.failAt(name, "unknown field, want one of %s", strings.Join(known, ", "))
		case seen[name]:
			s.failAt(name, "given twice")
		}
		seen[name] = true
		if s.err == nil {
			s.path = append(s.path, segment{name, -1})
			member(name)
			s.path = s.path[:len(s.path)-1]
		}
	}
	s.token() // the closing brace
}

// array reads an array; element reads each of its elements.
func (s *scanner) array(what string, element func(i int)) {
	if t := s.token(); t != json.Delim('[') {
		s.want(what, t)
	}
	s.path = append(s.path, segment{})
	for i := 0; s.err == nil && s.in.More(); i++ {
		s.path[len(s.path)-1].index = i
		element(i)
	}
	s.path = s.path[:len(s.path)-1]
	s.token() // the closing bracket
}

// text reads a string.
func (s *scanner) text() string {
	t := s.token()
	v, ok := t.(string)
	if !ok {
		s.want("a string", t)
	}
	return v
}

// flag reads true, false, 1 or 0.
func (s *scanner) flag() bool {
	t := s.token()
	switch v := t.(type) {
	case bool:
		return v
	case json.Number:
		if x, err := v.Float64(); err == nil && (x == 0 || x == 1) {
			return x == 1
		}
	}
	s.want("true, false, 1 or 0", t)
	return false
}

// count reads an integer from least to most.
func (s *scanner) count(least, most int) int {
	t := s.token()
	n, _ := t.(json.Number)
	x, err := n.Float64()
	if err != nil || !(x >= float64(least) && x <= float64(most) && x == math.Trunc(x)) {
		s.want(fmt.Sprintf("an integer from %d to %d", least, most), t)
		return 0
	}
	return int(x)
}

// number turns a token into a number; null is NaN.
func (s *scanner) number(t json.Token, what string) float64 {
	if t == nil {
		return math.NaN()
	}
	n, ok := t.(json.Number)
	if !ok {
		s.want(what, t)
		return 0
	}
	x, err := n.Float64()
	if err != nil {
		s.fail("%s is beyond the range of a 64-bit float", n)
	}
	return x
}

// numbers reads an array of numbers; null is NaN.
func (s *scanner) numbers() []float64 {
	row := []float64{}
	s.array("an array of numbers", func(int) { row = append(row, s.number(s.token(), "a number or null")) })
	return row
}

// matrix reads an array of arrays of numbers.
func (s *scanner) matrix() (rows [][]float64) {
	rows = [][]float64{}
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
