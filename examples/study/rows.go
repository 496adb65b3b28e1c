package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

// row is the result of a unit.
type row struct {
	unit
	Part, Digest string
	Correct      string // LONGTAIL's queries, a bit each, in base 62
	values       map[string]float64
}

// columns are those of the file: who, what came out, and the bits.
var columns = func() []string {
	c := []string{"part", "digest", "seed", "arm", "rate", "seconds", "tokens", "reward", "live"}
	for _, set := range []string{"VALIDATION", "RANDOM", "LONGTAIL"} {
		for _, what := range measured {
			c = append(c, set+what)
		}
	}
	return append(c, "LONGTAIL_correct")
}()

const firstValue = 5 // of columns

// results are the rows of a file.
type results struct {
	rows []*row
	// byDigest finds a unit that was done, in whichever part.
	byDigest map[string]*row
	whole    int64         // length of the file, without a line that a crash tore
	file     *durable.File // once it is open for more
}

// readResults reads a file of rows, which another study may be writing to. A file that
// is not there has none.
func readResults(path string) (*results, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	r := &results{byDigest: map[string]*row{}, whole: int64(len(text))}
	records, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case len(records) > 0 && !slices.Equal(records[0], columns):
		return nil, fmt.Errorf("%s: the columns are %v, want %v", path, records[0], columns)
	}
	for i, rec := range records[min(1, len(records)):] {
		if err := r.parse(rec); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+2, err)
		}
	}
	return r, nil
}

// open opens the file for more rows. One study at a time writes to it.
func (r *results) open(path string) (err error) {
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	if r.file, err = durable.Append(path); err != nil {
		return err
	}
	if err = r.file.Truncate(r.whole); err == nil && r.whole == 0 {
		err = r.write(columns)
	}
	return err
}

func (r *results) parse(rec []string) error {
	w := &row{Part: rec[0], Digest: rec[1], values: map[string]float64{}, Correct: rec[len(rec)-1]}
	seed, err1 := strconv.Atoi(rec[2])
	rate, err2 := strconv.ParseFloat(rec[4], 64)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	w.unit = unit{seed: seed, arm: rec[3], rate: rate}
	for k := firstValue; k < len(rec)-1; k++ {
		if rec[k] == "" {
			continue
		}
		x, err := strconv.ParseFloat(rec[k], 64)
		if err != nil {
			return err
		}
		w.values[columns[k]] = x
	}
	r.keep(w)
	return nil
}

func (r *results) keep(w *row) {
	r.rows = append(r.rows, w)
	r.byDigest[w.Digest] = w
}

// add appends a row to the file.
func (r *results) add(w *row) error {
	rec := []string{w.Part, w.Digest, strconv.Itoa(w.seed), w.arm, strconv.FormatFloat(w.rate, 'g', -1, 64)}
	for _, c := range columns[firstValue : len(columns)-1] {
		text := ""
		if x, ok := w.values[c]; ok && !math.IsNaN(x) {
			text = strconv.FormatFloat(x, 'g', 6, 64)
		}
		rec = append(rec, text)
	}
	if err := r.write(append(rec, w.Correct)); err != nil {
		return err
	}
	r.keep(w)
	return nil
}

func (r *results) write(rec []string) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(rec); err != nil {
		return err
	}
	w.Flush()
	return errors.Join(r.file.Add(b.Bytes()), r.file.Sync())
}

// of returns the rows of an arm in a part at a learning rate, one for each seed, nil for
// those that are missing.
func (r *results) of(p *part, arm string, rate float64) []*row {
	all := make([]*row, p.seeds())
	for i := range all {
		all[i] = r.byDigest[unit{p, p.Seeds[0] + i, arm, rate}.digest()]
	}
	return all
}

// bits are whether each query was answered right: 0 or 1.
func (w *row) bits(n int) []float64 {
	x, _ := new(big.Int).SetString(w.Correct, 62)
	b := make([]float64, n)
	for i := range b {
		if x != nil {
			b[i] = float64(x.Bit(i))
		}
	}
	return b
}
