package chorus

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/examples/relevance/internal/lexical"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// The files of the folder.
const (
	productsFile = "products.jsonl.gz"
	ratingsFile  = "Broad_Query_Set_rated.csv"
	foldsFile    = "folds.csv"
)

// Labels returns the ratings in ascending order, and Meanings what each
// stands for.
func Labels() []string   { return []string{"0", "1", "2", "3"} }
func Meanings() []string { return []string{"poor", "fair", "good", "perfect"} }

// Config says which part of the data to open.
type Config struct {
	// Dir is the folder.
	Dir string
	// Fold is the fold to test on; all others are trained on.
	Fold int
	// Seed fixes the order of the training examples.
	Seed uint64
}

// Open reads the folder as a source with the steps of package lexical.
// Ratings from 2 up count as relevant.
func Open(cfg Config) (*rows.Source, error) {
	f, err := Read(cfg.Dir, cfg.Fold)
	if err != nil {
		return nil, err
	}
	return lexical.New(lexical.Task{
		Name:     fmt.Sprintf("chorus, fold %d", cfg.Fold),
		Seed:     cfg.Seed,
		Labels:   Labels(),
		Meanings: Meanings(),
		Relevant: "2",
		Teacher:  lexical.DefaultTeacher(),
	}, f.Train, f.Test)
}

// A Fold is a split of the pairs by query.
type Fold struct{ Train, Test []rows.Example }

// Read reads the folder and splits its pairs: Test holds those of the given
// fold, Train all others, both in the order of the ratings file. A document
// has the product's title, its short description as body, its supplier and
// type as fields; the rating is the only entry of Truth.
func Read(dir string, fold int) (Fold, error) {
	folds, err := readFolds(filepath.Join(dir, foldsFile))
	if err != nil {
		return Fold{}, err
	}
	known := slices.Compact(slices.Sorted(maps.Values(folds)))
	if !slices.Contains(known, fold) {
		return Fold{}, fmt.Errorf("%s: has no fold %d, want one of %v", filepath.Join(dir, foldsFile), fold, known)
	}
	products, err := readProducts(filepath.Join(dir, productsFile))
	if err != nil {
		return Fold{}, err
	}
	pairs, err := readRatings(filepath.Join(dir, ratingsFile), folds, products)
	if err != nil {
		return Fold{}, err
	}
	var f Fold
	for _, e := range pairs {
		if folds[e.Query] == fold {
			f.Test = append(f.Test, e)
		} else {
			f.Train = append(f.Train, e)
		}
	}
	return f, nil
}

// product is what we read of a catalogue entry.
type product struct {
	ID          string `json:"id"`
	Title       string `json:"title"`
	Description string `json:"short_description"`
	Supplier    string `json:"supplier"`
	Type        string `json:"attr_t_product_type"`
}

func (p *product) document() rows.Document {
	d := rows.Document{Title: p.Title, Body: p.Description}
	for _, f := range []rows.Field{{Name: "supplier", Value: p.Supplier}, {Name: "type", Value: p.Type}} {
		if f.Value != "" {
			d.Fields = append(d.Fields, f)
		}
	}
	return d
}

func readProducts(path string) (map[string]rows.Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: not a gzip file: %w", path, err)
	}
	products := make(map[string]rows.Document)
	err = lines(z, path, func(line int, text []byte) error {
		var p product
		if err := json.Unmarshal(text, &p); err != nil {
			var wrongType *json.UnmarshalTypeError
			if errors.As(err, &wrongType) {
				return &rows.RowError{File: path, Line: line, Field: wrongType.Field,
					Problem: "is a " + wrongType.Value + ", want a text"}
			}
			return &rows.RowError{File: path, Line: line, Problem: "not a JSON object: " + err.Error()}
		}
		if p.ID == "" {
			return &rows.RowError{File: path, Line: line, Field: "id", Problem: "is missing or empty, want the product's id"}
		}
		if p.Title == "" {
			return &rows.RowError{File: path, Line: line, Field: "title", Problem: "is missing or empty, want the product's title"}
		}
		if _, ok := products[p.ID]; ok {
			return &rows.RowError{File: path, Line: line, Field: "id", Problem: fmt.Sprintf("%q occurs before, want unique ids", p.ID)}
		}
		products[p.ID] = p.document()
		return nil
	})
	return products, err
}

// readFolds returns the fold of each query.
func readFolds(path string) (map[string]int, error) {
	folds := make(map[string]int)
	err := readCSV(path, []string{"query", "fold"}, func(line int, row []string) error {
		n, err := strconv.Atoi(row[1])
		if err != nil || n < 0 {
			return &rows.RowError{File: path, Line: line, Field: "fold", Problem: fmt.Sprintf("is %q, want a whole number from 0", row[1])}
		}
		if _, ok := folds[row[0]]; ok {
			return &rows.RowError{File: path, Line: line, Field: "query", Problem: fmt.Sprintf("%q occurs before, want one fold a query", row[0])}
		}
		folds[row[0]] = n
		return nil
	})
	return folds, err
}

// readRatings returns the rated pairs in the order of the file.
func readRatings(path string, folds map[string]int, products map[string]rows.Document) ([]rows.Example, error) {
	var pairs []rows.Example
	labels := Labels()
	seen := make(map[string]bool)
	err := readCSV(path, []string{"query", "docid", "rating"}, func(line int, row []string) error {
		query, docid, rating := row[0], row[1], row[2]
		wrong := func(field, format string, args ...any) error {
			return &rows.RowError{File: path, Line: line, Field: field, Problem: fmt.Sprintf(format, args...)}
		}
		if _, ok := folds[query]; !ok {
			return wrong("query", "%q has no fold in %s", query, foldsFile)
		}
		document, ok := products[docid]
		if !ok {
			return wrong("docid", "%q is no product of %s", docid, productsFile)
		}
		if !slices.Contains(labels, rating) {
			return wrong("rating", "is %q, want one of %s", rating, strings.Join(labels, ", "))
		}
		id := query + "/" + docid
		if seen[id] {
			return wrong("docid", "%q is rated before for %q, want one rating a pair", docid, query)
		}
		seen[id] = true
		pairs = append(pairs, rows.Example{ID: id, Query: query, Document: document, Truth: []string{rating}, File: path, Line: line})
		return nil
	})
	return pairs, err
}

// readCSV calls do with each row of a CSV file that begins with the given
// header, and the number of the line on which the row begins.
func readCSV(path string, header []string, do func(line int, row []string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = len(header)
	r.ReuseRecord = true
	for first := true; ; first = false {
		row, err := r.Read()
		var malformed *csv.ParseError
		switch {
		case err == io.EOF && first:
			return fmt.Errorf("%s: empty, want the header %s", path, strings.Join(header, ","))
		case err == io.EOF:
			return nil
		case errors.As(err, &malformed):
			return &rows.RowError{File: path, Line: malformed.StartLine,
				Problem: fmt.Sprintf("%v, want %s", malformed.Err, strings.Join(header, ","))}
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		}
		line, _ := r.FieldPos(0)
		if first {
			if !slices.Equal(row, header) {
				return &rows.RowError{File: path, Line: line, Problem: fmt.Sprintf("header is %s, want %s", strings.Join(row, ","), strings.Join(header, ","))}
			}
			continue
		}
		if err := do(line, row); err != nil {
			return err
		}
	}
}

// lines calls do with each line.
func lines(r io.Reader, path string, do func(line int, text []byte) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, rows.MaxLine)
	for line := 1; in.Scan(); line++ {
		if len(in.Bytes()) == 0 {
			continue
		}
		if err := do(line, in.Bytes()); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
