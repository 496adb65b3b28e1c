package rows

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// MaxLine is the length in bytes that no line of a file, and no row of a CSV file, may
// exceed.
const MaxLine = 16 << 20

// A RowError says which row of a file is wrong, where, and how.
type RowError struct {
	File string
	Line int // from 1; in a Parquet file, the row
	// Field is the column or member at fault, such as "document.title"; "" if the
	// row as a whole is.
	Field string
	// Problem says what was found and what is wanted.
	Problem string

	column *ColumnError
}

// Unwrap returns the *[ColumnError] that is the reason if the column is named, and
// neither the row nor any before it has it; else nil.
func (e *RowError) Unwrap() error {
	if e.column == nil {
		return nil
	}
	return e.column
}

// Error returns "file:line: field "name": problem".
func (e *RowError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
	}
	return fmt.Sprintf("%s:%d: field %q: %s", e.File, e.Line, e.Field, e.Problem)
}

// A ColumnError says that no row of a file, or none up to that of a [RowError], has a
// column that is named.
type ColumnError struct {
	File, Column string
	// Columns are the first columns that there are.
	Columns []string
}

// Error names the column and those that there are.
func (e *ColumnError) Error() string {
	return fmt.Sprintf("%s: no row has the column %q; the columns are %s", e.File, e.Column, strings.Join(e.Columns, ", "))
}

// The formats of a [Table].
const (
	// FormatJSONL: one JSON object a line.
	FormatJSONL = "jsonl"
	// FormatCSV: RFC 4180, with a header line.
	FormatCSV = "csv"
	// FormatTSV: a header line, then values between tabs; quotes are ordinary
	// characters.
	FormatTSV = "tsv"
	// FormatQrels: TREC judgements, four columns between blanks, without a header:
	// query_id, iteration, document_id, label.
	FormatQrels = "qrels"
	// FormatParquet: Apache Parquet; columns of groups have names such as
	// "document.title".
	FormatParquet = "parquet"
)

var formats = []string{FormatJSONL, FormatCSV, FormatTSV, FormatQrels, FormatParquet}

// extensions gives the format of a file by the end of its name.
var extensions = map[string]string{
	".jsonl": FormatJSONL, ".ndjson": FormatJSONL, ".json": FormatJSONL,
	".csv": FormatCSV, ".tsv": FormatTSV, ".qrels": FormatQrels, ".parquet": FormatParquet,
}

// Table is a file of rows.
type Table struct {
	// File is the path. A name that ends in .gz or .zst is a compressed file.
	File string `yaml:"file"`
	// Format is one of the formats above; "" means by the name.
	Format string `yaml:"format"`
	// Header names the columns of a CSV or TSV file that has no header line.
	Header []string `yaml:"header"`
	// Columns says which column holds what.
	Columns Columns `yaml:"columns"`
}

// Kind returns the table's format: what Format says or, if it is empty, the name.
func (t *Table) Kind() (string, error) {
	if t.Format != "" {
		if !slices.Contains(formats, t.Format) {
			return "", fmt.Errorf("%s: unknown format %q, want one of %s", t.File, t.Format, strings.Join(formats, ", "))
		}
		return t.Format, nil
	}
	name := strings.ToLower(t.File)
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	if f := extensions[filepath.Ext(name)]; f != "" {
		return f, nil
	}
	return "", fmt.Errorf("%s: the name does not tell the format, want a format, one of %s", t.File, strings.Join(formats, ", "))
}

// row is one row of a table.
type row struct {
	line   int
	values object
	flat   bool // all rows have the same columns
	seen   columnsSeen
}

// columnsSeen says which of the columns that are named no row has had so far, and if
// there are such, the first columns that there are.
type columnsSeen struct{ missing, have []string }

// add looks at a further row, which then knows what it and those before it lack.
func (c *columnsSeen) add(r *row) {
	c.missing = slices.DeleteFunc(c.missing, func(name string) bool { _, ok := r.values.get(name); return ok })
	if len(c.missing) > 0 && len(c.have) < mostListed {
		for _, m := range r.values {
			if !slices.Contains(c.have, m.name) {
				c.have = append(c.have, m.name)
			}
		}
	}
	r.seen = *c
}

// lacks returns the error that no row has had a column that is named, nil if one has.
func (c *columnsSeen) lacks(file, column string) *ColumnError {
	if !slices.Contains(c.missing, column) {
		return nil
	}
	return &ColumnError{file, column, c.have}
}

// rows yields the rows of the table, notes on how the file is written going to r. A
// malformed row is yielded as a *RowError, after which the next row follows; any
// other error is the last.
func (t *Table) rows(r *Report) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		stop := func(err error) { yield(row{}, err) }
		format, err := t.Kind()
		if err != nil {
			stop(err)
			return
		}
		if len(t.Header) > 0 && format != FormatCSV && format != FormatTSV {
			stop(fmt.Errorf("%s: only a csv or tsv file takes a header, not %s", t.File, format))
			return
		}
		if err := checkHeader(t.File, t.Header); err != nil {
			stop(err)
			return
		}
		f, err := os.Open(t.File)
		if err != nil {
			stop(err)
			return
		}
		defer f.Close()
		if format == FormatParquet {
			t.parquetRows(f, yield)
			return
		}
		in, closer, err := plainText(f, t.File, r)
		if err != nil {
			stop(err)
			return
		}
		defer closer()
		switch format {
		case FormatJSONL:
			t.jsonRows(in, yield)
		case FormatCSV:
			t.csvRows(in, yield)
		case FormatTSV:
			t.lineRows(in, t.Header, func(line string) []string { return strings.Split(line, "\t") }, yield)
		case FormatQrels:
			t.lineRows(in, []string{"query_id", "iteration", "document_id", "label"}, strings.Fields, yield)
		}
	}
}

// Cells are the values of some columns of one row.
type Cells struct {
	File   string
	Line   int
	Values []string
}

// Wrong makes the error about one column.
func (c *Cells) Wrong(column, format string, args ...any) *RowError {
	return &RowError{File: c.File, Line: c.Line, Field: column, Problem: fmt.Sprintf(format, args...)}
}

// Values yields the given columns of each row, none of which may be empty. The first
// error ends them.
func (t *Table) Values(columns ...string) iter.Seq2[Cells, error] {
	return func(yield func(Cells, error) bool) {
		seen := columnsSeen{missing: slices.Clone(columns)}
		for row, err := range t.rows(&Report{}) {
			if err == nil {
				seen.add(&row)
			}
			c := Cells{t.File, row.line, make([]string, len(columns))}
			for i, name := range columns {
				if err != nil {
					break
				}
				var bad *RowError
				if c.Values[i], bad = row.text(t, name, ""); bad != nil {
					err = bad
				}
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// plainText decompresses a file, skips a byte order mark and notes what it found.
func plainText(f io.Reader, name string, r *Report) (*bufio.Reader, func(), error) {
	closer := func() {}
	switch lower := strings.ToLower(name); {
	case strings.HasSuffix(lower, ".gz"):
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: not a gzip file: %w", name, err)
		}
		f = z
	case strings.HasSuffix(lower, ".zst"):
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: not a zstd file: %w", name, err)
		}
		f, closer = z, z.Close
	}
	in := bufio.NewReaderSize(f, 1<<16)
	head, _ := in.Peek(1 << 15)
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		closer()
		return nil, nil, fmt.Errorf("%s: is UTF-16, want UTF-8", name)
	case bytes.HasPrefix(head, []byte("\ufeff")):
		in.Discard(len("\ufeff"))
		r.note(name, "begins with a byte order mark, which is skipped")
	}
	if line, _, ok := bytes.Cut(head, []byte("\n")); ok && bytes.HasSuffix(line, []byte("\r")) {
		r.note(name, "has the line ends of Windows")
	}
	return in, closer, nil
}

// lines calls do with each line that is not blank, its number from 1 and its text
// without the line end, until do returns false. Its error is the reader's, or a line
// that is too long.
func lines(in io.Reader, file string, do func(line int, text []byte) bool) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, MaxLine)
	line := 0
	for s.Scan() {
		line++
		if text := bytes.TrimSuffix(s.Bytes(), []byte("\r")); len(bytes.TrimSpace(text)) > 0 && !do(line, text) {
			return nil
		}
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%s:%d: longer than %d bytes", file, line+1, MaxLine)
	case err != nil:
		return fmt.Errorf("%s: after line %d: %w", file, line, err)
	}
	return nil
}

func (t *Table) jsonRows(in io.Reader, yield func(row, error) bool) {
	more := true
	err := lines(in, t.File, func(line int, text []byte) bool {
		problem := "not valid UTF-8"
		var o object
		if utf8.Valid(text) {
			o, problem = parseObject(text)
		}
		if problem != "" {
			more = yield(row{}, &RowError{File: t.File, Line: line, Problem: problem})
		} else {
			more = yield(row{line: line, values: o}, nil)
		}
		return more
	})
	if err != nil && more {
		yield(row{}, err)
	}
}

// lineRows yields the lines that split into as many values as the header has. Without
// a header, the first line is it.
func (t *Table) lineRows(in io.Reader, header []string, split func(string) []string, yield func(row, error) bool) {
	more := true
	err := lines(in, t.File, func(line int, text []byte) bool {
		if header == nil {
			header = split(string(text))
			if err := checkHeader(fmt.Sprintf("%s:%d", t.File, line), header); err != nil {
				more = false
				yield(row{}, err)
			}
			return more
		}
		o, err := t.cells(line, header, split(string(text)))
		more = yield(row{line: line, values: o, flat: true}, err)
		return more
	})
	if err != nil && more {
		yield(row{}, err)
	}
}

// checkHeader returns an error about a header at a place. Columns without a name, as
// spreadsheets add them, may be many.
func checkHeader(place string, header []string) error {
	for i, name := range header {
		switch {
		case !validText(name):
			return fmt.Errorf("%s: the header is not valid UTF-8", place)
		case name != "" && slices.Contains(header[:i], name):
			return fmt.Errorf("%s: the header names the column %q twice", place, name)
		}
	}
	return nil
}

// cells makes a row of texts under a header. The error is a *RowError.
func (t *Table) cells(line int, header, values []string) (object, error) {
	if len(values) != len(header) {
		return nil, &RowError{File: t.File, Line: line, Problem: fmt.Sprintf("%d values, want %d: %s", len(values), len(header), strings.Join(header, ", "))}
	}
	o := make(object, len(header))
	for i, v := range values {
		if !validText(v) {
			return nil, &RowError{File: t.File, Line: line, Field: header[i], Problem: "is not valid UTF-8"}
		}
		o[i] = member{header[i], v}
	}
	return o, nil
}

// csvProblems says what is wrong in words of its own.
var csvProblems = map[error]string{
	csv.ErrBareQuote: `a quote stands in a value that is in none, want "a 24"" screen" for a 24" screen`,
	csv.ErrQuote:     `the quote that opens a value is not closed before a comma or a line's end, want "a 24"" screen" for a 24" screen`,
}

func (t *Table) csvRows(in io.Reader, yield func(row, error) bool) {
	limited := &rowLimit{in: in}
	r := csv.NewReader(limited)
	r.FieldsPerRecord = -1
	header := t.Header
	// bad yields the error of a row. A quote that is not closed has taken the lines up to
	// last into the row: each is an error of its own, so that none is lost in silence.
	bad := func(line, last int, err error) bool {
		more := yield(row{}, err)
		for l := line + 1; l <= last && more; l++ {
			more = yield(row{}, &RowError{File: t.File, Line: l, Problem: fmt.Sprintf("belongs by its quotes to the row of line %d, which is malformed", line)})
		}
		return more
	}
	line := 0
	for {
		limited.left = MaxLine
		values, err := r.Read()
		var malformed *csv.ParseError
		switch {
		case err == io.EOF:
			return
		case errors.As(err, &malformed):
			line = malformed.StartLine
			err := &RowError{File: t.File, Line: line, Problem: csvProblems[malformed.Err]}
			if header == nil {
				yield(row{}, fmt.Errorf("%w (in the header)", err))
				return
			}
			if !bad(line, malformed.Line, err) {
				return
			}
			continue
		case errors.Is(err, errRowLimit):
			yield(row{}, fmt.Errorf("%s: the row after that of line %d: longer than %d bytes; is a quote not closed?", t.File, line, MaxLine))
			return
		case err != nil:
			yield(row{}, fmt.Errorf("%s: after the row of line %d: %w", t.File, line, err))
			return
		}
		line, _ = r.FieldPos(0)
		if header == nil {
			header = values
			if i := strings.IndexAny(header[0], ";\t"); i >= 0 && len(header) == 1 {
				yield(row{}, fmt.Errorf("%s:%d: the header is one column, %q: is the separator %q? want a comma", t.File, line, header[0], header[0][i]))
				return
			}
			if err := checkHeader(fmt.Sprintf("%s:%d", t.File, line), header); err != nil {
				yield(row{}, err)
				return
			}
			continue
		}
		o, err := t.cells(line, header, values)
		if err != nil {
			last, _ := r.FieldPos(len(values) - 1)
			if !bad(line, last+strings.Count(values[len(values)-1], "\n"), err) {
				return
			}
			continue
		}
		if !yield(row{line: line, values: o, flat: true}, nil) {
			return
		}
	}
}

var errRowLimit = errors.New("a row that is too long")

// rowLimit fails once more than left bytes have been read.
type rowLimit struct {
	in   io.Reader
	left int
}

func (l *rowLimit) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	if l.left -= n; l.left < 0 && err == nil {
		err = errRowLimit
	}
	return n, err
}
