package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// scanner reads a JSON text from front to back and skips what nobody asks for.
// Answers consist mostly of that (the text of each token, its rivals), which is why
// encoding/json takes several times as long for them. After the first error it reads
// nothing more.
type scanner struct {
	b     []byte
	i     int
	depth int
	err   error
}

// maxDepth is how deep values may be nested.
const maxDepth = 100

// scan calls value, which reads one value of a text that has nothing else.
func scan(text []byte, value func(s *scanner)) error {
	s := &scanner{b: text}
	value(s)
	if s.peek(); s.err == nil && s.i < len(s.b) {
		s.fail("more after the value")
	}
	return s.err
}

func (s *scanner) fail(format string, a ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("malformed answer at byte %d: "+format, append([]any{s.i}, a...)...)
	}
}

var errCut = errors.New("it ends within a value")

// peek skips white space and returns the next byte; 0 at the end or after an error.
func (s *scanner) peek() byte {
	if s.err != nil {
		return 0
	}
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// take reads the byte c and reports whether it was there; if not, it is an error.
func (s *scanner) take(c byte) bool {
	if got := s.peek(); got != c {
		if s.err == nil && s.i >= len(s.b) {
			s.fail("%w", errCut)
		}
		s.fail("want %q, got %q", c, got)
		return false
	}
	s.i++
	return true
}

// next reads a comma, or the end of an object or array, and reports whether there is
// another member.
func (s *scanner) next(end byte) bool {
	if s.peek() == end && s.err == nil {
		s.i++
		return false
	}
	return s.take(',')
}

// list reads what stands between two brackets, member by member.
func (s *scanner) list(open, end byte, member func()) {
	if !s.take(open) {
		return
	}
	if s.depth++; s.depth > maxDepth {
		s.fail("values nested deeper than %d", maxDepth)
	}
	if s.peek() == end {
		s.i++
	} else {
		for more := s.err == nil; more; more = s.err == nil && s.next(end) {
			member()
		}
	}
	s.depth--
}

// object reads an object: member is called with each key and reads the value, or leaves
// it, and it is skipped.
func (s *scanner) object(member func(key string)) {
	s.list('{', '}', func() {
		key := s.text()
		if !s.take(':') {
			return
		}
		s.peek() // to where the value begins
		from := s.i
		if member(key); s.err == nil && s.i == from {
			s.skip()
		}
	})
}

// array reads an array: element reads one of its values.
func (s *scanner) array(element func()) { s.list('[', ']', element) }

// null reads null and reports whether it was there.
func (s *scanner) null() bool { return s.peek() == 'n' && s.word("null") }

// word reads a literal name.
func (s *scanner) word(name string) bool {
	if !bytes.HasPrefix(s.b[s.i:], []byte(name)) {
		s.fail("want %s", name)
		return false
	}
	s.i += len(name)
	return true
}

// bool reads true or false.
func (s *scanner) bool() bool {
	if s.peek() == 't' {
		return s.word("true")
	}
	s.word("false")
	return false
}

// raw reads a string and returns it with its quotes.
func (s *scanner) raw() []byte {
	if !s.take('"') {
		return nil
	}
	start, escaped := s.i-1, false
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			raw := s.b[start:s.i]
			if escaped && !json.Valid(raw) {
				s.fail("an invalid escape in a string")
				return nil
			}
			return raw
		case c == '\\':
			escaped = true
			s.i += 2
		case c < ' ':
			s.fail("a control character in a string")
			return nil
		default:
			s.i++
		}
	}
	s.i = len(s.b)
	s.fail("%w", errCut)
	return nil
}

// text reads a string.
func (s *scanner) text() string {
	raw := s.raw()
	if raw == nil {
		return ""
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		s.fail("%w", err)
	}
	return text
}

// digits reads a number and returns its text, which is valid JSON.
func (s *scanner) digits() []byte {
	s.peek()
	start := s.i
	if s.at() == '-' {
		s.i++
	}
	if s.at() == '0' {
		s.i++
	} else {
		s.some()
	}
	if s.at() == '.' {
		s.i++
		s.some()
	}
	if c := s.at(); c == 'e' || c == 'E' {
		s.i++
		if c := s.at(); c == '+' || c == '-' {
			s.i++
		}
		s.some()
	}
	if s.err != nil {
		return nil
	}
	return s.b[start:s.i]
}

// at returns the next byte; 0 at the end.
func (s *scanner) at() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// some reads at least one digit.
func (s *scanner) some() {
	start := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	if s.i == start {
		s.fail("want a number")
	}
}

// float reads a number; null and what is beyond float64 are NaN. Servers also write
// NaN and infinities by name, which is no JSON, and NaN here.
func (s *scanner) float() float64 {
	switch s.peek() {
	case 'n':
		s.word("null")
		return math.NaN()
	case 'N':
		s.word("NaN")
		return math.NaN()
	case 'I':
		s.word("Infinity")
		return math.NaN()
	case '-':
		if bytes.HasPrefix(s.b[s.i:], []byte("-Infinity")) {
			s.i += len("-Infinity")
			return math.NaN()
		}
	}
	text := s.digits()
	if v, ok := short(text); ok {
		return v
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

// powers are those of ten that float64 holds exactly, as far as needed.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// short computes a decimal number whose digits and power of ten are both exact, so that
// their quotient is rounded correctly (Clinger, How to Read Floating Point Numbers
// Accurately, PLDI 1990). Most log-probs are such numbers.
func short(text []byte) (v float64, ok bool) {
	var digits uint64
	point, negative := -1, false
	for i, c := range text {
		switch {
		case c == '-' && i == 0:
			negative = true
		case c == '.':
			point = i
		case c == 'e' || c == 'E' || digits > 1<<53/10-1:
			return 0, false
		default:
			digits = 10*digits + uint64(c-'0')
		}
	}
	v = float64(digits)
	if point >= 0 {
		places := len(text) - 1 - point
		if places >= len(powers) {
			return 0, false
		}
		v /= powers[places]
	}
	if negative {
		v = -v
	}
	return v, len(text) > 0
}

// id reads a token id; -1 for what can be none.
func (s *scanner) id() int32 {
	v, err := strconv.ParseInt(string(s.digits()), 10, 32)
	if err != nil || v < 0 {
		return -1
	}
	return int32(v)
}

// ids appends an array of token ids to dst; none if it is null.
func (s *scanner) ids(dst []int32) []int32 {
	if !s.null() {
		s.array(func() { dst = append(dst, s.id()) })
	}
	return dst
}

// skip reads any value.
func (s *scanner) skip() {
	switch c := s.peek(); c {
	case '{':
		s.list('{', '}', func() {
			s.raw()
			if s.take(':') {
				s.skip()
			}
		})
	case '[':
		s.array(s.skip)
	case '"':
		s.raw()
	case 't', 'f':
		s.bool()
	case 'n':
		s.word("null")
	case 'N', 'I':
		s.float()
	default:
		if s.err == nil && s.i >= len(s.b) {
			s.fail("%w", errCut)
			return
		}
		if c == '-' && bytes.HasPrefix(s.b[s.i:], []byte("-Infinity")) {
			s.float()
			return
		}
		s.digits()
	}
}
