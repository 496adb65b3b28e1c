// Package posirdata reads the files of PosIR and of benchmarks in its layout, as Parquet
// or as JSON lines:
//
//	eng-Latn/sports/queries.parquet     _id, text, pos_char_span, pos_char_length, pos_token_length
//	eng-Latn/sports/corpus.parquet      _id, text
//	eng-Latn/sports/qrels/test.parquet  query-id, corpus-id, score
//
// Characters are Unicode code points. For a setting such as fra-eng, French queries and
// English documents, take queries and qrels of fra-Latn and the corpus of eng-Latn:
//
//	files, err := posirdata.Find("fra-Latn/sports")
//	english, err := posirdata.Find("eng-Latn/sports")
//	files.Corpus = english.Corpus
//
// It is apart from package posir so that a program with data of its own does not link
// Parquet.
package posirdata

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/internal/infile"
)

// Files are the paths of a benchmark's files. What ends in .parquet is Parquet, anything
// else JSON lines, of which blank ones are skipped.
type Files struct{ Queries, Corpus, Qrels string }

// Find returns the files in a folder of the benchmark's layout. The error names the
// first that is not there, or is there as .parquet and as .jsonl.
func Find(dir string) (Files, error) {
	var f Files
	for _, part := range []struct {
		path *string
		name string
	}{{&f.Queries, "queries"}, {&f.Corpus, "corpus"}, {&f.Qrels, "qrels/test"}} {
		for _, ending := range []string{".parquet", ".jsonl"} {
			path := filepath.Join(dir, filepath.FromSlash(part.name+ending))
			if err := infile.Regular(path); err == nil {
				if *part.path != "" {
					return f, fmt.Errorf("%s has both %s.parquet and %s.jsonl, want one of them", dir, part.name, part.name)
				}
				*part.path = path
			} else if !errors.Is(err, fs.ErrNotExist) {
				return f, err
			}
		}
		if *part.path == "" {
			return f, fmt.Errorf("%s has no %s.parquet and no %s.jsonl", dir, part.name, part.name)
		}
	}
	return f, nil
}

// queryRow, documentRow and qrelRow are the rows of the three files.
type queryRow struct {
	ID     *string `json:"_id" parquet:"_id,optional"`
	Text   *string `json:"text" parquet:"text,optional"`
	Span   []int64 `json:"pos_char_span" parquet:"pos_char_span,list"`
	Chars  *int64  `json:"pos_char_length" parquet:"pos_char_length,optional"`
	Tokens *int64  `json:"pos_token_length" parquet:"pos_token_length,optional"`
}

type documentRow struct {
	ID   *string `json:"_id" parquet:"_id,optional"`
	Text *string `json:"text" parquet:"text,optional"`
}

type qrelRow struct {
	Query    *string  `json:"query-id" parquet:"query-id,optional"`
	Document *string  `json:"corpus-id" parquet:"corpus-id,optional"`
	Score    *float64 `json:"score" parquet:"score,optional"`
}

// rows yields the rows of a file with their numbers, from 1. An error ends it, and
// names the file and the row.
func rows[T any](path string) iter.Seq2[numbered[T], error] {
	return func(yield func(numbered[T], error) bool) {
		if filepath.Ext(path) == ".parquet" {
			parquetRows(path, yield)
			return
		}
		f, _, err := infile.Open(path)
		if err != nil {
			yield(numbered[T]{}, err)
			return
		}
		defer f.Close()
		for line, err := range infile.Lines(f, maxLine) {
			if err == nil && len(bytes.TrimSpace(line.Text)) == 0 {
				continue
			}
			r := numbered[T]{number: line.Number}
			if err == nil {
				err = infile.JSON(line.Text, &r.row)
				if err != nil {
					err = fmt.Errorf("line %d: %w", line.Number, err)
				}
			}
			if err != nil {
				yield(r, fmt.Errorf("%s: %w", path, err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// maxLine is the length in bytes of the longest line.
const maxLine = 64 << 20

type numbered[T any] struct {
	number int
	row    T
}

// missing returns an error if one of a row's columns is absent or null.
func missing(path string, row int, columns ...column) error {
	for _, c := range columns {
		if c.missing {
			return fmt.Errorf("%s: row %d: no %q", path, row, c.name)
		}
	}
	return nil
}

type column struct {
	name    string
	missing bool
}

// Benchmark reads queries and qrels. Qrels of other queries, of which the benchmark's
// files have many, are skipped. Errors name file and row. What posir.Benchmark.Check
// finds is no error here.
func (f Files) Benchmark() (*posir.Benchmark, error) {
	b := &posir.Benchmark{}
	ours := map[string]bool{}
	for r, err := range rows[queryRow](f.Queries) {
		if err != nil {
			return nil, err
		}
		q := r.row
		if err := missing(f.Queries, r.number, column{"_id", q.ID == nil}, column{"text", q.Text == nil}, column{"pos_char_span", q.Span == nil},
			column{"pos_char_length", q.Chars == nil}, column{"pos_token_length", q.Tokens == nil}); err != nil {
			return nil, err
		}
		if len(q.Span) != 2 {
			return nil, fmt.Errorf("%s: row %d: pos_char_span has %d numbers, want start and end", f.Queries, r.number, len(q.Span))
		}
		ours[*q.ID] = true
		b.Queries = append(b.Queries, posir.Query{ID: *q.ID, Text: *q.Text, Evidence: posir.Evidence{
			Start: int(q.Span[0]), End: int(q.Span[1]), Chars: int(*q.Chars), Tokens: int(*q.Tokens),
		}})
	}
	for r, err := range rows[qrelRow](f.Qrels) {
		if err != nil {
			return nil, err
		}
		j := r.row
		if err := missing(f.Qrels, r.number, column{"query-id", j.Query == nil}, column{"corpus-id", j.Document == nil}, column{"score", j.Score == nil}); err != nil {
			return nil, err
		}
		if !(*j.Score >= 0) || math.IsInf(*j.Score, 0) {
			return nil, fmt.Errorf("%s: row %d: the score is %v, want at least 0", f.Qrels, r.number, *j.Score)
		}
		if ours[*j.Query] {
			b.Judgements = append(b.Judgements, posir.Judgement{Query: *j.Query, Document: *j.Document, Gain: *j.Score})
		}
	}
	return b, nil
}

// Documents yields the documents of the corpus, a batch of rows in memory. Its errors
// name file and row.
func (f Files) Documents() posir.Corpus {
	return func(yield func(posir.Document, error) bool) {
		for r, err := range rows[documentRow](f.Corpus) {
			if err == nil {
				err = missing(f.Corpus, r.number, column{"_id", r.row.ID == nil}, column{"text", r.row.Text == nil})
			}
			if err != nil {
				yield(posir.Document{}, err)
				return
			}
			if !yield(posir.Document{ID: *r.row.ID, Text: *r.row.Text}, nil) {
				return
			}
		}
	}
}

// Write writes a benchmark and its corpus as JSON lines, in the benchmark's layout,
// into a folder that is made if need be. Files of those names are replaced;
// a Parquet file of the layout is an error, because the folder would have both.
func Write(dir string, b *posir.Benchmark, corpus posir.Corpus) error {
	for _, name := range []string{"queries", "corpus", "qrels/test"} {
		path := filepath.Join(dir, filepath.FromSlash(name+".parquet"))
		if _, err := os.Stat(path); err == nil {
			return fmt.Errorf("%s is there already, and %s.jsonl cannot stand beside it", path, name)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "qrels"), 0o777); err != nil {
		return err
	}
	err := writeLines(filepath.Join(dir, "queries.jsonl"), func(put func(any) error) error {
		for _, q := range b.Queries {
			chars, tokens := int64(q.Chars), int64(q.Tokens)
			if err := put(queryRow{&q.ID, &q.Text, []int64{int64(q.Start), int64(q.End)}, &chars, &tokens}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = writeLines(filepath.Join(dir, "qrels", "test.jsonl"), func(put func(any) error) error {
		for _, j := range b.Judgements {
			if err := put(qrelRow{&j.Query, &j.Document, &j.Gain}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return writeLines(filepath.Join(dir, "corpus.jsonl"), func(put func(any) error) error {
		for d, err := range corpus {
			if err != nil {
				return err
			}
			if err := put(documentRow{&d.ID, &d.Text}); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeLines writes each value that write puts as a line.
func writeLines(path string, write func(put func(any) error) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := write(e.Encode); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return f.Close()
}
