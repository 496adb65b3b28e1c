package cpu

import (
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

const (
	// stretchRows is the most cache rows in a stretch.
	stretchRows = 256
	// runScores is the most scores that a run computes with one cache row,
	// unless a single query has more heads.
	runScores = 24
	// pieceScores is the number of scores from which on a piece is complete.
	pieceScores = 1 << 12
)

// decodePlan cuts the queries of AttendCache into runs, and their ranges into
// stretches.
//
// A run is consecutive queries that share all ranges but their last: completions
// of one prompt, or rows of one prompt. A stretch is read once for all of them.
// Still a query's result does not depend on its run: its own ranges alone decide
// where stretches begin, and a row of a matrix product does not depend on the
// other rows.
type decodePlan struct {
	d     *tensor.Decode
	group int // query heads of a key head

	runs      []run
	stretches []stretch
	pieces    []piece
	// results is the number of rows of results for each key head, scores the
	// number of scores.
	results, scores int
}

// run holds queries [from, to), whose stretches are [first, end).
type run struct {
	from, to   int
	first, end int
	pieces     int
	// results is the number of rows of results for a key head. Those of one key
	// head follow those of another, from row result·KVHeads on.
	result, results int
}

// stretch is a range of cache rows that queries [from, to) see. own says that it
// is cut from their last ranges, which begin at the same row: a query sees it up
// to the end of its range.
type stretch struct {
	rows     tensor.Range
	from, to int
	own      bool
	result   int // its first row of results, among those of the run for a key head
}

// piece is stretches [from, to) of a run, the work of a task.
type piece struct{ run, from, to int }

// shared returns the ranges of a query that its run has in common, and last the
// remaining one.
func shared(ranges []tensor.Range) []tensor.Range { return ranges[:len(ranges)-1] }
func last(ranges []tensor.Range) tensor.Range     { return ranges[len(ranges)-1] }

func (t *decodePlan) plan(d *tensor.Decode) {
	t.d, t.group = d, d.Heads/d.Cache.KVHeads
	t.runs, t.stretches, t.pieces = t.runs[:0], t.stretches[:0], t.pieces[:0]
	t.results, t.scores = 0, 0
	for from := 0; from < len(d.Ranges); {
		to := from + 1
		for to < len(d.Ranges) && (to+1-from)*t.group <= runScores && slices.Equal(shared(d.Ranges[from]), shared(d.Ranges[to])) {
			to++
		}
		t.addRun(from, to)
		from = to
	}
}

func (t *decodePlan) addRun(from, to int) {
	r := run{from: from, to: to, first: len(t.stretches), result: t.results}
	for _, s := range shared(t.d.Ranges[from]) {
		t.cut(stretch{rows: s, from: from, to: to})
	}
	for q := from; q < to; {
		p := stretch{rows: last(t.d.Ranges[q]), from: q, own: true}
		for q++; q < to; q++ {
			s := last(t.d.Ranges[q])
			if s.Start != p.rows.Start || s.End < p.rows.End {
				break
			}
			p.rows.End = s.End
		}
		p.to = q
		t.cut(p)
	}
	r.end = len(t.stretches)
	scores := pieceScores // of the piece at hand
	for i := r.first; i < r.end; i++ {
		p := &t.stretches[i]
		if scores >= pieceScores {
			t.pieces = append(t.pieces, piece{run: len(t.runs), from: i})
			r.pieces++
			scores = 0
		}
		t.pieces[len(t.pieces)-1].to = i + 1
		p.result = r.results
		n := (p.to - p.from) * t.group
		r.results += n
		n *= p.rows.End - p.rows.Start
		scores += n
		t.scores += n
	}
	t.results += r.results
	t.runs = append(t.runs, r)
}

// cut cuts p into stretches of at most stretchRows rows and appends them.
func (t *decodePlan) cut(p stretch) {
	end := p.rows.End
	for start := p.rows.Start; start < end; start += stretchRows {
		p.rows = tensor.Range{Start: start, End: min(start+stretchRows, end)}
		for p.own && t.seen(&p, p.from) <= 0 {
			p.from++
		}
		t.stretches = append(t.stretches, p)
	}
}

// seen is the number of rows of a stretch that a query sees.
func (t *decodePlan) seen(p *stretch, query int) int {
	if p.own {
		return min(p.rows.End, last(t.d.Ranges[query]).End) - p.rows.Start
	}
	return p.rows.End - p.rows.Start
}

// resultOf is the first row of results of a stretch for a key head.
func (t *decodePlan) resultOf(r *run, p *stretch, head int) int {
	return r.result*t.d.Cache.KVHeads + head*r.results + p.result
}
