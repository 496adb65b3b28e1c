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
	Part    string
	Digest  string
	Correct string // LONGTAIL's queries, a bit each, in base 62
	values  map[string]float64
}

// columns are those of the file: who, what came out, and the bits.
var columns = func() []string {
	c := []string{"part", "digest", "seed", "arm", "rate", "seconds", "tokens", "reward", "live"}
	for _, set := range []string{"VALIDATION", "RANDOM", "LONGTAIL"} {
		for _, what := range []string{"", "_inner", "_right_wrong_step", "_label_given_steps", "_mode", "_malformed"} {
			c = append(c, set+what)
		}
	}
	return append(c, "LONGTAIL_correct")
}()

const firstValue = 5 // of columns

// results are the rows of a file, which grows by one with every unit.
type results struct {
	file *durable.File
	rows []*row
	// byDigest finds a unit that was done, in whichever part.
	byDigest map[string]*row
}

// openResults reads a file of rows, without a line that a crash tore, and opens it for
// more.
func openResults(path string) (*results, error) {
	r := &results{byDigest: map[string]*row{}}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	whole := text[:bytes.LastIndexByte(text, '\n')+1]
	records, err := csv.NewReader(bytes.NewReader(whole)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(records) > 0 && !slices.Equal(records[0], columns) {
		return nil, fmt.Errorf("%s: the columns are %v, want %v", path, records[0], columns)
	}
	for i, rec := range records[min(1, len(records)):] {
		if err := r.parse(rec); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+2, err)
		}
	}
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if r.file, err = durable.Append(path); err != nil {
		return nil, err
	}
	if err := r.file.Truncate(int64(len(whole))); err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return r, r.write(columns)
	}
	return r, nil
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
		x, ok := w.values[c]
		if !ok || math.IsNaN(x) {
			rec = append(rec, "")
			continue
		}
		rec = append(rec, strconv.FormatFloat(x, 'g', 6, 64))
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

// of returns the rows of an arm in a part at a learning rate, by seed.
func (r *results) of(p *part, arm string, rate float64) map[int]*row {
	all := map[int]*row{}
	for seed := p.Seeds[0]; seed <= p.Seeds[1]; seed++ {
		if w := r.byDigest[unit{p, seed, arm, rate}.digest()]; w != nil {
			all[seed] = w
		}
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
