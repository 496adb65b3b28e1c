package lexical

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Folds is the number of folds into which [Open] splits a file's queries.
const Folds = 5

// Config says which part of a JSONL file to open.
type Config struct {
	// File is the path; see [rows.Data] for the form.
	File string
	// Labels are the allowed labels in ascending order of relevance, two at
	// least. Those of the upper half count as relevant. Without a list they are
	// those of the file, which must then be numbers.
	Labels []string
	// Fold is the fold to test on, from 0 to Folds-1; all others are trained
	// on. The distinct queries are dealt out in an order that looks random, so
	// that folds differ by one query at most.
	Fold int
	// Seed fixes the order of the training examples.
	Seed uint64
}

// Open reads a JSONL file of judged pairs as a source.
func Open(cfg Config) (*rows.Source, error) {
	if cfg.Fold < 0 || cfg.Fold >= Folds {
		return nil, fmt.Errorf("%s: fold %d, want 0 to %d", cfg.File, cfg.Fold, Folds-1)
	}
	data := rows.Data{Pairs: rows.Table{File: cfg.File}}
	for _, l := range cfg.Labels {
		data.Labels = append(data.Labels, rows.Label{Name: l})
	}
	all, found, err := data.Read()
	if err != nil {
		return nil, err
	}
	cfg.Labels = nil
	for _, l := range found.Labels {
		cfg.Labels = append(cfg.Labels, l.Name)
	}
	if len(cfg.Labels) < 2 {
		return nil, fmt.Errorf("%s: the only label is %q, want at least two", cfg.File, cfg.Labels)
	}
	folds := foldsOf(all)
	switch n := len(folds); {
	case n == 1:
		return nil, fmt.Errorf("%s: all rows have the same query, want at least two: one to train on, one to test on", cfg.File)
	case cfg.Fold >= n:
		return nil, fmt.Errorf("%s: no query is left for fold %d, as there are only %d, want fold 0 to %d", cfg.File, cfg.Fold, n, n-1)
	}
	var train, test []rows.Example
	for _, e := range all {
		if folds[foldKey(e.Query)] == cfg.Fold {
			test = append(test, e)
		} else {
			train = append(train, e)
		}
	}
	task := Task{
		Name:     fmt.Sprintf("%s, fold %d", filepath.Base(cfg.File), cfg.Fold),
		Seed:     cfg.Seed,
		Labels:   cfg.Labels,
		Relevant: cfg.Labels[len(cfg.Labels)/2],
		Teacher:  DefaultTeacher(),
	}
	s, err := New(task, train, test)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.File, err)
	}
	return s, nil
}

// foldsOf returns the fold of each query, by its foldKey.
func foldsOf(examples []rows.Example) map[string]int {
	hash := make(map[string]uint32)
	for _, e := range examples {
		h := fnv.New32a()
		h.Write([]byte(foldKey(e.Query)))
		hash[foldKey(e.Query)] = h.Sum32()
	}
	keys := slices.SortedFunc(maps.Keys(hash), func(a, b string) int {
		return cmp.Or(cmp.Compare(hash[a], hash[b]), cmp.Compare(a, b))
	})
	folds := make(map[string]int, len(keys))
	for i, k := range keys {
		folds[k] = i % Folds
	}
	return folds
}

// foldKey is the same for all spellings of a query that differ in case, punctuation
// or plural alone. A query without words, such as one of emoji, is its own key.
func foldKey(query string) string { return cmp.Or(strings.Join(stems(query), " "), query) }
