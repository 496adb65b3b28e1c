package eval

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Ranked is one document of a query.
type Ranked struct {
	// Score is the model's score; the highest ranks first.
	Score float64
	// Gain is the document's gain, at least 0: its grade, or 2^grade - 1 to
	// emphasise the best.
	Gain float64
	// ID is the document's name, which orders equal scores with TiesTREC.
	ID string
}

// Ties says how documents with equal scores rank.
type Ties int

const (
	// TiesShared: they share their ranks. Each counts with the mean of their gains
	// (McSherry and Najork 2008, doi:10.1007/978-3-540-78646-7_38), so the order of
	// the input does not matter.
	TiesShared Ties = iota
	// TiesTREC: as in trec_eval. Scores are rounded to float32, and equal ones rank
	// by descending ID. A document whose score is -Inf was not retrieved: it has no
	// rank, and counts in the best possible order only.
	TiesTREC
)

// NDCG is [NDCGTies] with TiesShared.
func NDCG(docs []Ranked, k int) float64 { return NDCGTies(docs, k, TiesShared) }

// NDCGTies returns the normalised discounted cumulative gain of one query's
// documents at rank k; k <= 0 takes all (Järvelin and Kekäläinen 2002,
// doi:10.1145/582415.582418):
//
//	DCG@k = Σ_{rank=1..k} gain(rank) / log2(1 + rank)
//
// divided by that of the best possible order. It is NaN if no gain is positive or
// any score is NaN. It panics on a gain that is negative, infinite or NaN, and on
// unknown ties.
func NDCGTies(docs []Ranked, k int, ties Ties) float64 {
	for i, d := range docs {
		if !(d.Gain >= 0) || math.IsInf(d.Gain, 0) {
			panic(fmt.Sprintf("eval: the gain of document %d is %v; gains must be finite and not negative", i, d.Gain))
		}
		if math.IsNaN(d.Score) {
			return math.NaN()
		}
	}
	ranked := slices.Clone(docs)
	byScore := func(a, b Ranked) int { return cmp.Compare(b.Score, a.Score) }
	var got float64
	switch ties {
	case TiesShared:
		slices.SortFunc(ranked, byScore)
		got = dcg(ranked, k)
	case TiesTREC:
		ranked = slices.DeleteFunc(ranked, func(d Ranked) bool { return math.IsInf(d.Score, -1) })
		slices.SortFunc(ranked, func(a, b Ranked) int {
			return cmp.Or(cmp.Compare(float32(b.Score), float32(a.Score)), cmp.Compare(b.ID, a.ID))
		})
		for i := range ranked {
			ranked[i].Score = -float64(i) // no ties are left
		}
		got = dcg(ranked, k)
		ranked = slices.Clone(docs)
	default:
		panic(fmt.Sprintf("eval: unknown Ties %d", ties))
	}
	for i := range ranked {
		ranked[i].Score = ranked[i].Gain
	}
	slices.SortFunc(ranked, byScore)
	// Without a positive gain this is 0/0, which is NaN.
	return got / dcg(ranked, k)
}

// dcg returns the discounted cumulative gain of documents in ranked order.
func dcg(ranked []Ranked, k int) float64 {
	if k <= 0 {
		k = len(ranked)
	}
	sum := 0.0
	for i := 0; i < min(k, len(ranked)); {
		var gain, discount float64
		first := i
		for ; i < len(ranked) && ranked[i].Score == ranked[first].Score; i++ {
			gain += ranked[i].Gain
			if i < k {
				discount += 1 / math.Log2(float64(i)+2)
			}
		}
		sum += gain / float64(i-first) * discount
	}
	return sum
}

// Scored is one example of a binary classification with a score.
type Scored struct {
	Score    float64
	Positive bool
}

// AUC returns the area under the ROC curve: the probability that a positive
// example scores higher than a negative one, with ties counted half (the
// Mann-Whitney statistic; Hanley and McNeil 1982,
// doi:10.1148/radiology.143.1.7063747). It is NaN unless there are examples of
// both classes, and if any score is NaN.
func AUC(examples []Scored) float64 {
	sorted := slices.Clone(examples)
	slices.SortFunc(sorted, func(a, b Scored) int { return cmp.Compare(a.Score, b.Score) })
	if len(sorted) == 0 || math.IsNaN(sorted[0].Score) { // NaN sorts first
		return math.NaN()
	}
	var negatives, positives int // so far, with lower scores
	wins := 0.0                  // pairs in which the positive scores higher
	for i := 0; i < len(sorted); {
		var neg, pos int // with this score
		for score := sorted[i].Score; i < len(sorted) && sorted[i].Score == score; i++ {
			if sorted[i].Positive {
				pos++
			} else {
				neg++
			}
		}
		wins += float64(pos) * (float64(negatives) + float64(neg)/2)
		negatives += neg
		positives += pos
	}
	if negatives == 0 || positives == 0 {
		return math.NaN()
	}
	return wins / (float64(negatives) * float64(positives))
}
