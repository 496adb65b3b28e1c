// Package split divides judged pairs by query into what is trained on, what settings
// are chosen by, and what is tested on, and looks for what leaks from one to the
// other.
//
// A query's place depends on its text and on the other queries alone, never on a
// seed, so that runs and programs agree. Queries that differ only in case,
// punctuation, Unicode form, or the plural are one query ([Key]).
package split

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Key is the same for all spellings of a query that differ in case, punctuation,
// Unicode form (NFKC) or the plural alone. A query without words, such as one of
// emoji, is its own key.
func Key(query string) string {
	words := criteria.Words(query)
	for i, w := range words {
		words[i] = criteria.Stem(w)
	}
	return cmp.Or(strings.Join(words, " "), query)
}

// hash orders keys as if at random. The salt makes another order.
func hash(salt, key string) uint64 {
	h := sha256.Sum256([]byte(salt + "\x00" + key))
	return binary.BigEndian.Uint64(h[:])
}

// Folds returns the fold of each query, by its [Key], from 0 to n-1: the queries in
// the order of their hash are cut into n parts of equal size, up to one. A query that
// is added later moves a few others at most, those at the ends of the parts. An error
// says that there are fewer than n queries.
func Folds(examples []rows.Example, n int) (map[string]int, error) {
	keys := keysOf(examples, "folds")
	if n < 2 || len(keys) < n {
		return nil, fmt.Errorf("split: %d folds of %d different queries, want at least 2 folds and a query for each", n, len(keys))
	}
	folds := make(map[string]int, len(keys))
	for i, k := range keys {
		folds[k] = i * n / len(keys)
	}
	return folds, nil
}

// keysOf returns the different keys in the order of their hash.
func keysOf(examples []rows.Example, salt string) []string {
	hashes := make(map[string]uint64)
	last := ""
	for _, e := range examples {
		if e.Query == last {
			continue
		}
		last = e.Query
		k := Key(e.Query)
		if _, ok := hashes[k]; !ok {
			hashes[k] = hash(salt, k)
		}
	}
	return slices.SortedFunc(maps.Keys(hashes), func(a, b string) int {
		return cmp.Or(cmp.Compare(hashes[a], hashes[b]), cmp.Compare(a, b))
	})
}

// Parts are the pairs of a split, each in the order of the data.
type Parts struct{ Train, Validation, Test []rows.Example }

// ByFold returns the pairs of one fold as the test set and all others as training
// data.
func ByFold(examples []rows.Example, fold func(rows.Example) int, test int) (Parts, error) {
	var p Parts
	for _, e := range examples {
		if fold(e) == test {
			p.Test = append(p.Test, e)
		} else {
			p.Train = append(p.Train, e)
		}
	}
	switch {
	case len(p.Test) == 0:
		return p, fmt.Errorf("split: no query is in fold %d, so nothing is left to test on", test)
	case len(p.Train) == 0:
		return p, fmt.Errorf("split: all queries are in fold %d, so nothing is left to train on", test)
	}
	return p, nil
}

// Hold moves a share of the training queries, at least one, to the validation set.
// Which ones depends on the hash of each query and the share alone, as in [Folds].
func (p *Parts) Hold(share float64) error {
	if !(share > 0 && share < 1) {
		return fmt.Errorf("split: a validation share of %v, want one between 0 and 1", share)
	}
	keys := keysOf(p.Train, "validation")
	if len(keys) < 2 {
		return errors.New("split: the training data have only one query, want two: one to train on, one to validate on")
	}
	n := min(max(int(share*float64(len(keys))+.5), 1), len(keys)-1)
	held := make(map[string]bool, n)
	for _, k := range keys[:n] {
		held[k] = true
	}
	var train []rows.Example
	for _, e := range p.Train {
		if held[Key(e.Query)] {
			p.Validation = append(p.Validation, e)
		} else {
			train = append(train, e)
		}
	}
	p.Train = train
	return nil
}

// Unseen returns the examples whose query shares no word, in singular or plural, with
// any training query: the long tail.
func Unseen(train, test []rows.Example) []rows.Example {
	known := make(map[string]bool)
	for _, e := range train {
		for _, w := range strings.Fields(Key(e.Query)) {
			known[w] = true
		}
	}
	var tail []rows.Example
	for _, e := range test {
		if !slices.ContainsFunc(strings.Fields(Key(e.Query)), func(w string) bool { return known[w] }) {
			tail = append(tail, e)
		}
	}
	return tail
}
