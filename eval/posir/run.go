package posir

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

// Hit is a document that was retrieved for a query.
type Hit struct {
	Document string
	Score    float64
}

// Run is what a retriever found: the hits of each query, by its ID.
type Run map[string][]Hit

// sortHits orders hits as trec_eval does.
func sortHits(hits []Hit) {
	slices.SortFunc(hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(float32(b.Score), float32(a.Score)), cmp.Compare(b.Document, a.Document))
	})
}

// maxRunLine is the length in bytes of a run file's longest line.
const maxRunLine = 1 << 16

// ReadTREC reads a run file of TREC: lines of query, "Q0", document, rank, score and
// tag between blanks. Ranks and tags are not used. Errors name the line.
func ReadTREC(r io.Reader) (Run, error) {
	run := Run{}
	seen := map[[2]string]bool{}
	for line, err := range infile.Lines(r, maxRunLine) {
		if err != nil {
			return nil, fmt.Errorf("posir: run: %w", err)
		}
		fields := strings.Fields(string(line.Text))
		if len(fields) == 0 {
			continue
		}
		fail := func(format string, args ...any) (Run, error) {
			return nil, fmt.Errorf("posir: run: line %d: %s", line.Number, fmt.Sprintf(format, args...))
		}
		if len(fields) != 6 {
			return fail("%d fields, want query, Q0, document, rank, score and tag", len(fields))
		}
		score, err := strconv.ParseFloat(fields[4], 64)
		if err != nil || math.IsNaN(score) || math.IsInf(score, 0) {
			return fail("the score is %q, want a finite number", fields[4])
		}
		query, document := fields[0], fields[2]
		if seen[[2]string{query, document}] {
			return fail("document %q is there twice for query %q", document, query)
		}
		seen[[2]string{query, document}] = true
		run[query] = append(run[query], Hit{document, score})
	}
	return run, nil
}

// WriteTREC writes a run file of TREC that [ReadTREC] reads, queries in the order
// of their IDs. An error names an ID or a tag that is empty or has blanks, or a score that is
// not finite.
func WriteTREC(w io.Writer, run Run, tag string) error {
	out := bufio.NewWriter(w)
	for _, word := range append(slices.Sorted(maps.Keys(run)), tag) {
		if err := checkWord(word); err != nil {
			return err
		}
	}
	for _, query := range slices.Sorted(maps.Keys(run)) {
		hits := slices.Clone(run[query])
		sortHits(hits)
		for i, h := range hits {
			if err := checkWord(h.Document); err != nil {
				return err
			}
			if err := checkScore(query, h); err != nil {
				return err
			}
			fmt.Fprintf(out, "%s Q0 %s %d %s %s\n", query, h.Document, i+1, strconv.FormatFloat(h.Score, 'g', -1, 64), tag)
		}
	}
	return out.Flush()
}

func checkScore(query string, h Hit) error {
	if math.IsNaN(h.Score) || math.IsInf(h.Score, 0) {
		return fmt.Errorf("posir: query %q: the score of document %q is %v, want a finite number", query, h.Document, h.Score)
	}
	return nil
}

func checkWord(s string) error {
	if f := strings.Fields(s); len(f) != 1 || f[0] != s {
		return fmt.Errorf("posir: %q cannot stand in a run file of TREC: it is empty or has blanks", s)
	}
	return nil
}

// ReadRunJSON reads a run as JSON: an object of queries, in it the score of each
// document, as pytrec_eval takes it. Errors name the query.
func ReadRunJSON(r io.Reader) (Run, error) {
	run := Run{}
	d := json.NewDecoder(r)
	err := object(d, func(query string) error {
		if run[query] != nil {
			return errors.New("is there twice")
		}
		hits, seen := []Hit{}, map[string]bool{}
		err := object(d, func(document string) error {
			if seen[document] {
				return errors.New("is there twice")
			}
			seen[document] = true
			var score *float64
			if err := d.Decode(&score); err != nil {
				return err
			}
			if score == nil {
				return errors.New("the score is null, want a number")
			}
			hits = append(hits, Hit{document, *score})
			return nil
		})
		sortHits(hits)
		run[query] = hits
		return err
	})
	if err == nil {
		err = end(d)
	}
	if err != nil {
		return nil, fmt.Errorf("posir: run: %w", err)
	}
	return run, nil
}
