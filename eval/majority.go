package eval

import (
	"fmt"
	"math"
)

// MajorityAtK returns the expected value of the answer that a vote among k
// samples chooses, when the k are drawn without replacement from those at hand:
// the unbiased estimate of maj@k, as PassAtK is of pass@k. counts holds how
// often each answer occurs and values what the answer is worth, 1 for a right
// one and 0 for a wrong one. abstained is the number of samples without an
// answer; they are drawn, but do not vote.
//
// Of several answers with the most votes each is chosen with the same
// probability. A draw without a vote is worth 0. The result is exact up to
// rounding, in time O(answers² · k³) at most; it does not draw.
//
// It is NaN if there are fewer than k samples. MajorityAtK panics unless counts
// and values have the same length, no count is negative, and k >= 1.
func MajorityAtK(counts []int, values []float64, abstained, k int) float64 {
	if len(counts) != len(values) || abstained < 0 || k < 1 {
		panic(fmt.Sprintf("eval: MajorityAtK needs as many counts as values, abstained >= 0 and k >= 1, not %d, %d, %d, %d", len(counts), len(values), abstained, k))
	}
	n := abstained
	for _, c := range counts {
		if c < 0 {
			panic(fmt.Sprintf("eval: MajorityAtK of a count of %d", c))
		}
		n += c
	}
	if n < k {
		return math.NaN()
	}
	expected := 0.0
	for a, c := range counts {
		for votes := 1; votes <= min(c, k); votes++ {
			expected += values[a] * hypergeometric(n, c, k, votes) * topWith(counts, a, votes, n-c, k-votes)
		}
	}
	return expected
}

// topWith is the probability that answer a, which got votes, is chosen, when
// the draws that are left fall among the other samples: that no other answer
// got more, with ties divided.
func topWith(counts []int, a, votes, samples, draws int) float64 {
	// p[t][d] is the probability that the answers so far took draws-d of the
	// draws, none more than votes, and t of them exactly votes.
	ties := draws / votes
	p := make([][]float64, ties+1)
	next := make([][]float64, ties+1)
	for t := range p {
		p[t], next[t] = make([]float64, draws+1), make([]float64, draws+1)
	}
	p[0][draws] = 1
	for b, c := range counts {
		if b == a {
			continue
		}
		for t := range next {
			clear(next[t])
		}
		for d := range draws + 1 {
			for got := range min(c, votes, d) + 1 {
				h := hypergeometric(samples, c, d, got)
				for t := range p {
					switch {
					case p[t][d] == 0:
					case got < votes:
						next[t][d-got] += p[t][d] * h
					case t < ties:
						next[t+1][d-got] += p[t][d] * h
					}
				}
			}
		}
		p, next = next, p
		samples -= c
	}
	// What is left of the draws falls on samples that abstain.
	total := 0.0
	for t := range p {
		for d := range min(draws, samples) + 1 {
			total += p[t][d] / float64(t+1)
		}
	}
	return total
}

// hypergeometric is the probability that x of k draws without replacement from
// n samples are among c given ones: C(c,x)·C(n−c,k−x)/C(n,k).
func hypergeometric(n, c, k, x int) float64 {
	if x < 0 || x > c || k-x < 0 || k-x > n-c {
		return 0
	}
	return math.Exp(logChoose(c, x) + logChoose(n-c, k-x) - logChoose(n, k))
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
