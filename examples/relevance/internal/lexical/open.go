package lexical

import (
	"fmt"
	"hash/fnv"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/examples/relevance/internal/rows"
)

// Folds is the number of folds into which [Open] splits a file's queries.
const Folds = 5

// Config says which part of a JSONL file to open.
type Config struct {
	// File is the path; see [rows.ReadFile] for the form.
	File string
	// Labels are the allowed labels in ascending order of relevance, two at
	// least. Those of the upper half count as relevant.
	Labels []string
	// Fold is the fold to test on, from 0 to Folds-1; all others are trained
	// on. A query's fold is fixed by its words.
	Fold int
	// Seed fixes the order of the training examples.
	Seed uint64
}

// Open reads a JSONL file of judged pairs as a source.
func Open(cfg Config) (*rows.Source, error) {
	if len(cfg.Labels) < 2 {
		return nil, fmt.Errorf("%s: %d labels are given, want the list of all allowed ones in ascending order", cfg.File, len(cfg.Labels))
	}
	if cfg.Fold < 0 || cfg.Fold >= Folds {
		return nil, fmt.Errorf("%s: fold %d, want 0 to %d", cfg.File, cfg.Fold, Folds-1)
	}
	all, err := rows.ReadFile(cfg.File, cfg.Labels)
	if err != nil {
		return nil, err
	}
	var train, test []rows.Example
	for _, e := range all {
		if foldOf(e.Query) == cfg.Fold {
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

// foldOf returns the fold of a query: the same for all spellings that differ
// in case, punctuation or plural alone.
func foldOf(query string) int {
	h := fnv.New32a()
	for _, s := range stems(query) {
		h.Write([]byte(s))
		h.Write([]byte{' '})
	}
	return int(h.Sum32() % Folds)
}
