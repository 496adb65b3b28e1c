package taskfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Error says what is wrong in a task file, and where.
type Error struct {
	// File, Line and Column say where it stands, from 1; Line is 0 for a File that
	// was made in Go.
	File         string
	Line, Column int
	// Path is the setting, such as steps[1].rule.expr; "" for the file as a whole.
	Path    string
	Problem string

	cause error
}

// Unwrap returns the error of package rows or of the file system that the setting has
// led to, nil if there is none.
func (e *Error) Unwrap() error { return e.cause }

// Error returns "file:line:column: path: problem".
func (e *Error) Error() string {
	text := e.Problem
	if e.Path != "" {
		text = e.Path + ": " + text
	}
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, text)
	}
	if e.File != "" {
		return e.File + ": " + text
	}
	return "taskfile: " + text
}

// MaxSize is the size in bytes that no task file may exceed.
const MaxSize = 1 << 20

// maxValues bounds the values of a file with its aliases written out.
const maxValues = 100_000

// Parse reads a task file. Unknown settings, wrong types and what [File.Validate] finds
// are errors: one *[Error] for each, joined.
func Parse(text []byte, name string) (*File, error) {
	f := &File{name: name, text: text, where: make(map[string]*yaml.Node)}
	if len(text) > MaxSize {
		return nil, &Error{File: name, Problem: fmt.Sprintf("longer than %d bytes", MaxSize)}
	}
	dec := yaml.NewDecoder(bytes.NewReader(asYAML(text)))
	var document, more yaml.Node
	if err := dec.Decode(&document); err != nil || len(document.Content) == 0 {
		return nil, syntaxError(name, err)
	}
	if dec.Decode(&more) == nil {
		return nil, &Error{File: name, Line: more.Line, Column: more.Column, Problem: "a second document begins, want one"}
	}
	if looksLikeData(document.Content[0]) {
		return nil, &Error{File: name, Problem: "looks like data, want a task file: YAML with the settings version, name, labels, data and steps, where data.pairs.file names the file of the data"}
	}
	d := &decoder{file: f}
	d.value(document.Content[0], reflect.ValueOf(f).Elem(), "")
	if err := errors.Join(d.errs...); err != nil {
		return nil, err
	}
	if err := f.Validate(); err != nil {
		return nil, err
	}
	return f, nil
}

// looksLikeData reports whether a file begins with what is a line of data rather than
// settings: a text, as of a CSV file, or a JSON object of other things.
func looksLikeData(n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode {
		return n.Kind == yaml.ScalarNode
	}
	if n.Style&yaml.FlowStyle == 0 {
		return false
	}
	for i := 0; i < len(n.Content); i += 2 {
		if slices.Contains([]string{"version", "labels", "data", "steps"}, n.Content[i].Value) {
			return false
		}
	}
	return true
}

// jsonEscape is what JSON escapes and YAML does not: a slash, and a character as two
// surrogates.
var jsonEscape = regexp.MustCompile(`\\(?:/|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|.)`)

// asYAML makes YAML of JSON, which otherwise is a part of it.
func asYAML(text []byte) []byte {
	if !json.Valid(text) {
		return text
	}
	return jsonEscape.ReplaceAllFunc(text, func(escape []byte) []byte {
		switch {
		case string(escape) == `\/`:
			return []byte("/")
		case len(escape) > 2:
			high, _ := strconv.ParseUint(string(escape[2:6]), 16, 16)
			low, _ := strconv.ParseUint(string(escape[8:]), 16, 16)
			return fmt.Appendf(nil, `\U%08X`, utf16.DecodeRune(rune(high), rune(low)))
		}
		return escape
	})
}

// syntaxError takes the line out of the words of package yaml.
func syntaxError(name string, err error) error {
	if err == nil || err.Error() == "EOF" {
		return &Error{File: name, Problem: "is empty, want a task"}
	}
	problem := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(problem, "mapping values are not allowed") {
		problem += ` (a text with ": " or " #" in it needs quotes, or | and a line of its own)`
	}
	line := 0
	if rest, ok := strings.CutPrefix(problem, "line "); ok {
		number, what, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, problem = n, what
		}
	}
	e := &Error{File: name, Line: line, Problem: "neither YAML nor JSON: " + problem}
	if line > 0 {
		e.Column = 1
	}
	return e
}

type decoder struct {
	file   *File
	errs   []error
	values int
}

func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	d.errs = append(d.errs, &Error{File: d.file.name, Line: n.Line, Column: n.Column, Path: path, Problem: fmt.Sprintf(format, args...)})
}

// value decodes a node into v, which is settable. Structs take their fields' yaml tags
// as names, and a field without a tag is not read.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.file.where[path] = n
	if d.values++; d.values == maxValues {
		d.fail(n, path, "more than %d values", maxValues)
	}
	if d.values >= maxValues {
		return
	}
	switch target := v.Addr().Interface().(type) {
	case *rows.Label:
		if n.Kind == yaml.ScalarNode {
			d.value(n, reflect.ValueOf(&target.Name).Elem(), path)
			return
		}
	case *[]rows.FieldColumn:
		d.fieldColumns(n, target, path)
		return
	case *map[string]any:
		if n.Kind != yaml.MappingNode {
			d.fail(n, path, "is %s, want names with values", describe(n))
		} else if out, ok := d.any(n, path).(map[string]any); ok {
			*target = out
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	case reflect.Struct:
		d.fields(n, v, path)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.fail(n, path, "is %s, want a list", describe(n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, e := range n.Content {
			d.value(e, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) fields(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "is %s, want settings with names", describe(n))
		return
	}
	names := make([]string, 0, v.NumField())
	field := make(map[string]reflect.Value)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("yaml"); name != "" && name != "-" {
			names, field[name] = append(names, name), v.Field(i)
		}
	}
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		into, known := field[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !known:
			hint := ""
			if v := n.Content[i+1]; n.Style&yaml.FlowStyle != 0 && v.Tag == "!!null" && v.Value == "" {
				hint = " (a text with a comma needs quotes inside { })"
			}
			d.fail(key, path, "no setting %q, want one of %s%s", key.Value, strings.Join(names, ", "), hint)
		case slices.Contains(seen, key.Value):
			d.fail(key, path, "%q is set twice", key.Value)
		default:
			seen = append(seen, key.Value)
			d.value(n.Content[i+1], into, join(path, key.Value))
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// fieldColumns reads the fields of a document, in their order: {name: column} or
// {name: [column, column]}.
func (d *decoder) fieldColumns(n *yaml.Node, out *[]rows.FieldColumn, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "is %s, want the column of each field, as {brand: supplier}", describe(n))
		return
	}
	*out = []rows.FieldColumn{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		var columns []string
		if n.Content[i+1].Kind == yaml.SequenceNode {
			d.value(n.Content[i+1], reflect.ValueOf(&columns).Elem(), join(path, name))
		} else {
			columns = []string{""}
			d.value(n.Content[i+1], reflect.ValueOf(&columns[0]).Elem(), join(path, name))
		}
		for _, c := range columns {
			*out = append(*out, rows.FieldColumn{Name: name, Column: c})
		}
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.fail(n, path, "is %s, want %s", describe(n), kinds[v.Kind()])
		return
	}
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value) // 1, yes and true as they are written
	case reflect.Bool:
		var b bool
		if err = n.Decode(&b); err == nil {
			v.SetBool(b)
		}
	case reflect.Int:
		var i int
		if i, err = strconv.Atoi(n.Value); err == nil {
			v.SetInt(int64(i))
		}
	case reflect.Float64:
		var x float64
		if x, err = strconv.ParseFloat(n.Value, 64); err == nil {
			v.SetFloat(x)
		}
	default:
		panic("taskfile: no decoder for " + v.Type().String())
	}
	if err != nil {
		d.fail(n, path, "is %q, want %s", n.Value, kinds[v.Kind()])
	}
}

var kinds = map[reflect.Kind]string{
	reflect.String: "a text", reflect.Bool: "true or false", reflect.Int: "a whole number", reflect.Float64: "a number",
}

// any decodes parameters of criteria, whose types only these know.
func (d *decoder) any(n *yaml.Node, path string) any {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.file.where[path] = n
	if d.values++; d.values >= maxValues {
		d.fail(n, path, "more than %d values", maxValues)
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := make(map[string]any)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, twice := out[key]; twice {
				d.fail(n.Content[i], path, "%q is set twice", key)
			}
			out[key] = d.any(n.Content[i+1], join(path, key))
			if len(d.errs) > 0 {
				return nil
			}
		}
		return out
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, e := range n.Content {
			out[i] = d.any(e, fmt.Sprintf("%s[%d]", path, i))
			if len(d.errs) > 0 {
				return nil
			}
		}
		return out
	}
	var v any
	if err := n.Decode(&v); err != nil {
		d.fail(n, path, "is %q, which is no value", n.Value)
	}
	return v
}

// describe says what a node is.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "settings with names"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return "empty"
		}
		return strconv.Quote(n.Value)
	}
	return "odd"
}

// at makes an error about a setting.
func (f *File) at(path, format string, args ...any) error {
	e := &Error{File: f.name, Path: path, Problem: fmt.Sprintf(format, args...)}
	if n := f.node(path); n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	return e
}

// placed adds to an error about a file of the data, or about a column that no row has
// (or had, before one that must), where the task file names it.
func (b *builder) placed(err error) error {
	var column *rows.ColumnError
	var file *fs.PathError
	var names func(path, value string) bool
	switch {
	case errors.As(err, &column):
		names = func(path, value string) bool {
			table, _, ofTable := strings.Cut(path, ".columns.")
			if path == "split.given.query" || path == "split.given.fold" {
				table, ofTable = "split.given", true
			}
			switch {
			case ofTable:
				file := b.f.where[table+".file"]
				return value == column.Column && file != nil && b.path(file.Value) == column.File
			case strings.HasSuffix(path, ".rule.truth"), strings.HasSuffix(path, ".rule.reason"), path == "split.column":
				return value == column.Column
			}
			return false
		}
	case errors.As(err, &file):
		names = func(path, value string) bool { return strings.HasSuffix(path, ".file") && b.path(value) == file.Path }
	default:
		return err
	}
	for _, path := range sortedKeys(b.f.where) {
		if n := b.f.where[path]; n.Kind == yaml.ScalarNode && names(path, n.Value) {
			at := b.f.at(path, "%v", err).(*Error)
			at.cause = err
			return at
		}
	}
	if column == nil {
		return err
	}
	for _, m := range b.f.mentions("columns") {
		if m.name == column.Column {
			at := b.f.within(m.path, m.line, m.column, "%v", err).(*Error)
			at.cause = err
			return at
		}
	}
	return err
}

// node returns the node of a setting or, if it is not in the file, of what it belongs
// to; nil in a File that was made in Go.
func (f *File) node(path string) *yaml.Node {
	for {
		if n := f.where[path]; n != nil || path == "" {
			return n
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

// within is [File.at] for a place in a text that stands in the file, such as an
// expression: line and column count from 1 in the text.
func (f *File) within(path string, line, column int, format string, args ...any) error {
	err := f.at(path, format, args...).(*Error)
	n := f.where[path]
	switch {
	case n == nil:
		err.Problem = fmt.Sprintf("line %d, column %d: %s", line, column, err.Problem)
	case n.Style&yaml.LiteralStyle != 0:
		for _, first := range strings.Split(string(f.text), "\n")[err.Line:] {
			if text := strings.TrimLeft(first, " "); strings.TrimSpace(text) != "" {
				err.Column = len(first) - len(text) + column
				break
			}
		}
		err.Line += line
	case line == 1 && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		err.Column += column
	case line == 1 && n.Style&yaml.FoldedStyle == 0:
		err.Column += column - 1
	}
	return err
}
