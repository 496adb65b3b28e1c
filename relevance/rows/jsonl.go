package rows

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxLine is the length in bytes that no line of a JSONL file may exceed.
const MaxLine = 16 << 20

// A RowError says which row of a file is wrong, where, and how.
type RowError struct {
	File string
	Line int // from 1
	// Field is the field at fault, such as "document.title"; "" if the row as
	// a whole is.
	Field string
	// Problem says what was found and what is wanted.
	Problem string
}

// Error returns "file:line: field "name": problem".
func (e *RowError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
	}
	return fmt.Sprintf("%s:%d: field %q: %s", e.File, e.Line, e.Field, e.Problem)
}

// ReadFile reads judged pairs from a JSONL file, gzip-compressed if its name
// ends in ".gz". See [Read].
func ReadFile(path string, labels []string) ([]Example, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("%s: not a gzip file: %w", path, err)
		}
		r = z
	}
	return Read(r, path, labels)
}

// Read reads judged pairs, one JSON object a line:
//
//	{"id": "7", "query": "wireless mouse", "document": {"title": "...", "body": "...", "brand": "..."}, "label": 3}
//
// A byte order mark before the first line is skipped. query is a text. document is a
// text, which is its title, or an object of texts, numbers and truth values: "title"
// and "body" become the document's own, all others become fields in the order of the
// line; null counts as absent. label is a text or a number and must be one of labels,
// unless labels is nil. id is a text or a number and may be left out: the line number
// stands in. Other members are ignored, and so are blank lines.
//
// A row that deviates is reported as a *[RowError] with the given file name,
// and nothing is returned. So are a repeated id and a file without rows.
func Read(r io.Reader, file string, labels []string) ([]Example, error) {
	var out []Example
	seen := make(map[string]int)
	err := Lines(r, file, func(line int, text []byte) error {
		e, field, problem := decodeRow(text, labels)
		if problem != "" {
			return &RowError{file, line, field, problem}
		}
		if e.ID == "" {
			e.ID = strconv.Itoa(line)
		}
		if first, ok := seen[e.ID]; ok {
			return &RowError{file, line, "id", fmt.Sprintf("%q is also the id of line %d, want unique ids", e.ID, first)}
		}
		seen[e.ID] = line
		e.File, e.Line = file, line
		out = append(out, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no rows, want one JSON object a line", file)
	}
	return out, nil
}

// Labels returns the labels of examples that are read without a list of them, in
// ascending order: they must be numbers. An error is a *[RowError].
func Labels(examples []Example) ([]string, error) {
	values := make(map[string]float64)
	for _, e := range examples {
		if _, ok := values[e.Label()]; ok {
			continue
		}
		v, err := strconv.ParseFloat(e.Label(), 64)
		if err != nil || math.IsNaN(v) {
			return nil, &RowError{e.File, e.Line, "label", fmt.Sprintf("is %q, and the order of labels that are not numbers is not known, want the list of them (-labels)", e.Label())}
		}
		values[e.Label()] = v
	}
	return slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		return cmp.Or(cmp.Compare(values[a], values[b]), cmp.Compare(a, b))
	}), nil
}

// Lines calls do with each line that is not blank, its number from 1 and its
// text without the line end, valid UTF-8. It stops at the first error, from do
// or from r; a line that is too long or not UTF-8 is a *[RowError]. The text
// is valid until do returns.
func Lines(r io.Reader, file string, do func(line int, text []byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, MaxLine)
	line := 0
	for s.Scan() {
		line++
		text := s.Bytes()
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		if !utf8.Valid(text) {
			return &RowError{file, line, "", "not valid UTF-8"}
		}
		if err := do(line, text); err != nil {
			return err
		}
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return &RowError{file, line + 1, "", fmt.Sprintf("longer than %d bytes", MaxLine)}
	case err != nil:
		return fmt.Errorf("%s: after line %d: %w", file, line, err)
	}
	return nil
}

// decodeRow decodes one line. problem is "" if all is well.
func decodeRow(text []byte, labels []string) (e Example, field, problem string) {
	var row struct {
		ID       json.RawMessage
		Query    json.RawMessage
		Document json.RawMessage
		Label    json.RawMessage
	}
	if text[0] != '{' {
		return e, "", "not a JSON object, want {\"query\": ..., \"document\": {...}, \"label\": ...}"
	}
	if err := json.Unmarshal(text, &row); err != nil {
		return e, "", "not a JSON object: " + err.Error()
	}
	var ok bool
	if len(row.ID) > 0 {
		if e.ID, ok = scalar(row.ID); !ok || e.ID == "" || row.ID[0] == 't' || row.ID[0] == 'f' {
			return e, "id", found(row.ID) + ", want a text or a number"
		}
	}
	if e.Query, ok = textOf(row.Query); !ok || strings.TrimSpace(e.Query) == "" {
		return e, "query", found(row.Query) + ", want a text that is not empty"
	}
	if e.Document, field, problem = decodeDocument(row.Document); problem != "" {
		return e, field, problem
	}
	label, ok := scalar(row.Label)
	switch {
	case labels == nil && (!ok || label == ""):
		return e, "label", found(row.Label) + ", want a text or a number"
	case labels != nil && (!ok || !slices.Contains(labels, label)):
		return e, "label", found(row.Label) + ", want one of " + strings.Join(labels, ", ")
	}
	e.Truth = []string{label}
	return e, "", ""
}

func decodeDocument(raw json.RawMessage) (d Document, field, problem string) {
	if text, ok := scalar(raw); ok && raw[0] == '"' {
		if strings.TrimSpace(text) == "" {
			return d, "document", found(raw) + ", want a text that is not empty"
		}
		return Document{Title: text}, "", ""
	}
	if len(raw) == 0 || raw[0] != '{' {
		return d, "document", found(raw) + `, want a text or an object such as {"title": "...", "body": "..."}`
	}
	// The row has been decoded, so raw is known to be one valid object.
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.Token() // the opening brace
	for dec.More() {
		key, _ := dec.Token()
		name := key.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return d, "document." + name, err.Error()
		}
		text, ok := scalar(value)
		switch isText := len(value) > 0 && value[0] == '"'; {
		case string(value) == "null":
		case !ok:
			return d, "document." + name, found(value) + ", want a text, a number, true or false"
		case (name == "title" || name == "body") && !isText:
			return d, "document." + name, found(value) + ", want a text"
		case name == "title":
			d.Title = text
		case name == "body":
			d.Body = text
		default:
			d.Fields = append(d.Fields, Field{name, text})
		}
	}
	if strings.TrimSpace(d.Title+d.Body) == "" {
		return d, "document", "has neither title nor body, want one that is not empty"
	}
	return d, "", ""
}

// textOf decodes a JSON string.
func textOf(raw json.RawMessage) (string, bool) {
	var s *string
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// scalar returns a JSON string, number or truth value as text.
func scalar(raw json.RawMessage) (string, bool) {
	if s, ok := textOf(raw); ok {
		return s, true
	}
	if len(raw) == 0 || strings.ContainsRune("n{[", rune(raw[0])) {
		return "", false
	}
	return string(raw), true
}

// found describes a value for an error message.
func found(raw json.RawMessage) string {
	const most = 40
	switch {
	case len(raw) == 0:
		return "is missing"
	case len(raw) > most:
		return "is " + strings.ToValidUTF8(string(raw[:most]), "") + "..."
	}
	return "is " + string(raw)
}
