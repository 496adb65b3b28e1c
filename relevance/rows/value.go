package rows

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A value is what stands in a column of one row: nil, a string, a number, a bool, a
// []value or an object.
type value any

// number is a number as the file writes it.
type number string

// object is a group of named values in the order of the file.
type object []member

type member struct {
	name  string
	value value
}

// get returns the value under a name. A name with dots that is not there itself is
// the path to a value in an object.
func (o object) get(name string) (value, bool) {
	for _, m := range o {
		if m.name == name {
			return m.value, true
		}
	}
	if head, rest, ok := strings.Cut(name, "."); ok {
		for _, m := range o {
			if inner, isObject := m.value.(object); isObject && m.name == head {
				return inner.get(rest)
			}
		}
	}
	return nil, false
}

// scalar returns a text, a number or a truth value as text.
func scalar(v value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case number:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// blank reports whether a value is absent, null or empty, as a cell of a CSV file may
// be.
func blank(v value) bool { return v == nil || v == "" }

// found describes a value for an error message.
func found(v value, present bool) string {
	const most = 40
	if !present {
		return "is missing"
	}
	text := string(appendJSON(nil, v))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return "is " + text
}

func appendJSON(b []byte, v value) []byte {
	switch v := v.(type) {
	case number:
		return append(b, v...)
	case []value:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, e)
		}
		return append(b, ']')
	case object:
		b = append(b, '{')
		for i, m := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSON(b, m.name), ':')
			b = appendJSON(b, m.value)
		}
		return append(b, '}')
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Append(b, v)
	}
	return append(b, text...)
}

// parseObject reads one JSON object. The problem is "" if all is well.
func parseObject(text []byte) (o object, problem string) {
	text = bytes.TrimSpace(text)
	var whole json.RawMessage
	switch err := json.Unmarshal(text, &whole); {
	case len(text) == 0 || text[0] != '{':
		return nil, `not a JSON object, want {"query": ..., "document": ..., "label": ...}`
	case err != nil:
		return nil, "not a JSON object: " + err.Error()
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, problem := parseValue(dec)
	if problem != "" {
		return nil, problem
	}
	return v.(object), ""
}

// parseValue reads the next value of valid JSON.
func parseValue(dec *json.Decoder) (v value, problem string) {
	token, err := dec.Token()
	if err != nil {
		return nil, "not a JSON object: " + err.Error()
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '[' {
			list := []value{}
			for dec.More() {
				e, problem := parseValue(dec)
				if problem != "" {
					return nil, problem
				}
				list = append(list, e)
			}
			dec.Token() // the closing bracket
			return list, ""
		}
		o := object{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, "not a JSON object: " + err.Error()
			}
			name := key.(string)
			if _, twice := o.get(name); twice && !strings.Contains(name, ".") {
				return nil, fmt.Sprintf("has %q twice", name)
			}
			e, problem := parseValue(dec)
			if problem != "" {
				return nil, problem
			}
			o = append(o, member{name, e})
		}
		dec.Token() // the closing brace
		return o, ""
	case json.Number:
		return number(token), ""
	}
	return token, ""
}

// sameNumber reports whether two texts are the same number, as 3 and 3.0 are.
func sameNumber(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

func validText(s string) bool { return utf8.ValidString(s) }
