package posir

import (
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/eval"
)

// Segments is the number of parts that [Mirror] reverses.
const Segments = 5

// Mirror cuts a text into five segments of equal length in characters and returns
// them in reverse order: a document with the same words in which the evidence at the
// front now stands at the back.
func Mirror(text string) string {
	cuts := segmentBytes(text)
	out := make([]byte, 0, len(text))
	for i := Segments - 1; i >= 0; i-- {
		out = append(out, text[cuts[i]:cuts[i+1]]...)
	}
	return string(out)
}

// segmentBytes returns the bytes at which the segments of a text begin and end.
func segmentBytes(text string) [Segments + 1]int {
	var cuts [Segments + 1]int
	n := utf8.RuneCountInString(text)
	at, segment := 0, 0
	for i := range text {
		for segment <= Segments && segmentStart(n, segment) == at {
			cuts[segment] = i
			segment++
		}
		at++
	}
	for ; segment <= Segments; segment++ {
		cuts[segment] = len(text)
	}
	return cuts
}

func segmentStart(n, segment int) int { return n * segment / Segments }

// MirrorCorpus yields the documents of a corpus, mirrored.
func MirrorCorpus(corpus Corpus) Corpus {
	return func(yield func(Document, error) bool) {
		for d, err := range corpus {
			d.Text = Mirror(d.Text)
			if !yield(d, err) {
				return
			}
		}
	}
}

// MirrorEvidence says where evidence stands in its mirrored document. Evidence that
// a cut divides is where its middle is.
func MirrorEvidence(e Evidence) Evidence {
	if e.Chars <= 0 {
		return e
	}
	middle := min(max((e.Start+e.End)/2, 0), e.Chars-1)
	s := 0
	for s+1 < Segments && segmentStart(e.Chars, s+1) <= middle {
		s++
	}
	// The segments after s come before it now.
	shift := e.Chars - segmentStart(e.Chars, s+1) - segmentStart(e.Chars, s)
	e.Start, e.End = max(e.Start+shift, 0), min(e.End+shift, e.Chars)
	return e
}

// Reversal compares how documents are found as they are and mirrored. The front are
// the queries whose evidence stands in the first two segments of the document as it
// is, the back those with evidence in the last two.
type Reversal struct {
	Front, Back int // queries
	// The mean nDCG@10 of each, before mirroring and after.
	FrontBefore, FrontAfter, BackBefore, BackAfter float64
	// Delta is the gain of the back by moving to the front less that of the front by
	// moving to the back: (BackAfter - BackBefore) - (FrontAfter - FrontBefore). It
	// is 0 for a retriever without position bias, above 0 for primacy and below 0
	// for recency. Its interval is from resampling documents.
	Delta eval.Interval
	// Curve and Mirrored are the curves before and after, each by where the evidence
	// then stands. Without a bias they are each other's mirror image.
	Curve, Mirrored Curve
}

// CompareMirrored returns what mirroring changes (the diagnostic of arXiv:2605.26578),
// from results on a corpus and on its mirrored documents. Both have the evidence of the
// documents as they are. An error names a query that only one of them has.
func CompareMirrored(before, after []Result, o eval.BootstrapOptions) (*Reversal, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	again := make(map[string]Result, len(after))
	for _, r := range after {
		again[r.Query] = r
	}
	type pair struct {
		back          bool
		before, after float64
	}
	var pairs []pair
	r := &Reversal{}
	o.Clusters = []string{}
	for _, b := range before {
		a, ok := again[b.Query]
		if !ok {
			return nil, fmt.Errorf("posir: query %q has no result on mirrored documents", b.Query)
		}
		delete(again, b.Query)
		p, ok := b.Position()
		if !ok {
			continue
		}
		r.Curve.add(Bin(p), b.NDCG)
		if m, ok := MirrorEvidence(b.Evidence).Position(); ok {
			r.Mirrored.add(Bin(m), a.NDCG)
		}
		if p >= 2./Segments && p <= 3./Segments {
			continue // the middle segment stays where it is
		}
		pairs = append(pairs, pair{p > .5, b.NDCG, a.NDCG})
		cluster := "document " + b.Document
		if b.Document == "" {
			cluster = "query " + b.Query
		}
		o.Clusters = append(o.Clusters, cluster)
	}
	for _, a := range after {
		if _, left := again[a.Query]; left {
			return nil, fmt.Errorf("posir: query %q has a result on mirrored documents only", a.Query)
		}
	}
	r.Curve.finish()
	r.Mirrored.finish()
	means := func(pairs []pair, back bool) (n int, before, after float64) {
		for _, p := range pairs {
			if p.back == back {
				n++
				before += p.before
				after += p.after
			}
		}
		return n, before / float64(n), after / float64(n)
	}
	r.Front, r.FrontBefore, r.FrontAfter = means(pairs, false)
	r.Back, r.BackBefore, r.BackAfter = means(pairs, true)
	r.Delta = eval.Interval{Estimate: math.NaN(), Low: math.NaN(), High: math.NaN()}
	if r.Front > 0 && r.Back > 0 {
		r.Delta = eval.Bootstrap(pairs, func(p []pair) float64 {
			_, fb, fa := means(p, false)
			_, bb, ba := means(p, true)
			return ba - bb - (fa - fb)
		}, o)
	}
	return r, nil
}
