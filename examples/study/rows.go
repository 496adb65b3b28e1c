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

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/internal/durable"
)

// row is the result of a unit.
type row struct {
	part    string
	correct string             // LONGTAIL's queries, a bit each, in base 62
	values  map[string]float64 // of the other columns
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

// results are the rows of a file by their units' digests.
type results struct {
	rows  map[string]*row
	whole int64         // length of the file, without a line that a crash tore
	file  *durable.File // once it is open for more
}

// read reads a file of rows, which another study may be writing to. A file that is not
// there has none.
func (r *results) read(path string) {
	text, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		check(err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	r.rows, r.whole = map[string]*row{}, int64(len(text))
	records, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err == nil && len(records) > 0 && !slices.Equal(records[0], columns) {
		err = fmt.Errorf("the columns are %v, want %v", records[0], columns)
	}
	if err != nil {
		fail("%s: %w", path, err)
	}
	for i, record := range records[min(1, len(records)):] {
		w := &row{part: record[0], values: map[string]float64{}, correct: record[len(record)-1]}
		for k, text := range record[firstValue : len(record)-1] {
			if column := columns[firstValue+k]; text != "" {
				if w.values[column], err = strconv.ParseFloat(text, 64); err != nil {
					fail("%s:%d: %s: %w", path, i+2, column, err)
				}
			}
		}
		r.keep(record[1], w)
	}
}

// The columns of a row that are made of others: accuracy is P·a + (1 − P)·b, with P the
// share of answers whose inner steps are all right, and a and b the label's accuracy after
// them (LONGTAIL_label_given_steps) and after a wrong one.
const allRight, afterWrong = "P", "b"

// keep takes a row to the results.
func (r *results) keep(digest string, w *row) {
	p, wrong := 0., w.values["LONGTAIL_right_wrong_step"]
	if a := w.value("LONGTAIL_label_given_steps"); !math.IsNaN(a) { // else there is none of them
		p = (w.values["LONGTAIL"] - wrong) / a
	}
	w.values[allRight], w.values[afterWrong] = p, wrong/(1-p)
	r.rows[digest] = w
}

// open opens the file for more rows. One study at a time writes to it.
func (r *results) open(path string) {
	check(durable.MkdirAll(filepath.Dir(path)))
	r.file = must(durable.Append(path))
	check(r.file.Truncate(r.whole))
	if r.whole == 0 {
		r.write(columns)
	}
}

// add appends the row of a unit to the file.
func (r *results) add(p *part, u unit, w *row) {
	record := []string{p.Name, p.setting.digest(u), fmt.Sprint(u.seed), u.arm, fmt.Sprint(u.rate)}
	for _, c := range columns[firstValue : len(columns)-1] {
		text := ""
		if x := w.value(c); !math.IsNaN(x) {
			text = fmt.Sprintf("%.6g", x)
		}
		record = append(record, text)
	}
	r.write(append(record, w.correct))
	r.keep(record[1], w)
}

func (r *results) write(record []string) {
	var b bytes.Buffer
	check(csv.NewWriter(&b).WriteAll([][]string{record}))
	check(r.file.Add(b.Bytes()))
	check(r.file.Sync())
}

// units are the runs of a part whose rates are chosen.
func (p *part) units() (all []unit) {
	for _, seed := range p.seeds() {
		for _, arm := range p.Arms {
			for _, rate := range p.rates[arm] {
				all = append(all, unit{seed, arm, rate})
			}
		}
	}
	return all
}

// missing are the units of a part that have no row.
func (r *results) missing(p *part) []unit {
	return slices.DeleteFunc(p.units(), func(u unit) bool { return r.rows[p.setting.digest(u)] != nil })
}

// progress counts the runs of a part that are done, and all of them.
func (s *study) progress(p *part) (done, total int) {
	if s.choose(p) != nil { // its grid is not complete
		return 0, len(p.seeds()) * len(p.Arms)
	}
	total = len(p.units())
	return total - len(s.missing(p)), total
}

// of returns the rows of an arm in a part at a learning rate, one for each seed, nil for
// those that are missing.
func (r *results) of(p *part, arm string, rate float64) (all []*row) {
	for _, seed := range p.seeds() {
		all = append(all, r.rows[p.setting.digest(unit{seed, arm, rate})])
	}
	return all
}

// chosen are those at the rate that is chosen for the arm.
func (s *study) chosen(p *part, arm string) []*row { return s.of(p, arm, p.rates[arm][0]) }

// value is that of a column; NaN if there is none, or no row.
func (w *row) value(column string) float64 {
	if w != nil {
		if x, ok := w.values[column]; ok {
			return x
		}
	}
	return math.NaN()
}

// values are those of a column.
func values(rows []*row, column string) (all []float64) {
	for _, w := range rows {
		all = append(all, w.value(column))
	}
	return all
}

// mean is that of a column over the rows that have it.
func mean(rows []*row, column string) float64 {
	m, _ := eval.Mean(values(rows, column))
	return m
}

// answers are, of each row, whether each test query was answered right: 0 or 1.
func (p *part) answers(rows []*row) [][]float64 {
	all := make([][]float64, len(rows))
	for i, w := range rows {
		all[i] = make([]float64, p.setting.Test)
		if bits, ok := new(big.Int).SetString(w.correct, 62); ok {
			for j := range all[i] {
				all[i][j] = float64(bits.Bit(j))
			}
		}
	}
	return all
}

// grown is how many times a grid is extended at most, and by which factor.
const grown, factor = 3, 2

// choose sets the learning rates of each arm of a part: the grid, extended for all arms
// as long as an arm's best lies at its edge, or the best of the part's grid.
func (s *study) choose(p *part) error {
	p.rates = map[string][]float64{}
	if len(p.Rates) == 0 {
		grid := s.part(p.Grid)
		check(s.choose(grid)) // which has rates
		for _, arm := range p.Arms {
			best, ok := s.bestRate(grid, arm, grid.rates[arm])
			if !ok {
				return fmt.Errorf("part %s needs the grid %s, which is not complete for %s", p.Name, grid.Name, arm)
			}
			p.rates[arm] = []float64{best}
		}
		return nil
	}
	grid := slices.Sorted(slices.Values(p.Rates))
	for range grown {
		var best []float64
		for _, arm := range p.Arms {
			if rate, ok := s.bestRate(p, arm, grid); ok {
				best = append(best, rate)
			}
		}
		low, high := grid[0], grid[len(grid)-1]
		if slices.Contains(best, low) {
			grid = slices.Insert(grid, 0, low/factor)
		}
		if slices.Contains(best, high) {
			grid = append(grid, high*factor)
		}
	}
	for _, arm := range p.Arms {
		p.rates[arm] = grid
	}
	return nil
}

// bestRate is the rate with the highest mean accuracy on validation queries, the lowest
// of several; false if a run is missing.
func (s *study) bestRate(p *part, arm string, grid []float64) (best float64, ok bool) {
	top := math.Inf(-1)
	for _, rate := range grid {
		rows := s.of(p, arm, rate)
		if slices.Contains(rows, nil) {
			return 0, false
		}
		if m := mean(rows, "VALIDATION"); m > top+1e-9 {
			top, best = m, rate
		}
	}
	return best, len(grid) > 0
}
