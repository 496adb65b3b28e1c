package eval

import (
	"fmt"
	"math"
)

// PassAtK returns the unbiased estimate of the probability that at least one of
// k samples is right, from n samples of which c are right (Chen et al. 2021,
// arXiv:2107.03374, equation 1):
//
//	1 - C(n-c, k) / C(n, k)
//
// It is NaN if n < k. PassAtK panics unless 0 <= c <= n and k >= 1.
func PassAtK(n, c, k int) float64 {
	if c < 0 || c > n || k < 1 {
		panic(fmt.Sprintf("eval: PassAtK needs 0 <= c <= n and k >= 1, not n %d, c %d, k %d", n, c, k))
	}
	if n < k {
		return math.NaN()
	}
	if n-c < k {
		return 1
	}
	// C(n-c, k) / C(n, k), factor by factor, because the binomials overflow.
	miss := 1.0
	for i := n - c + 1; i <= n; i++ {
		miss *= 1 - float64(k)/float64(i)
	}
	return 1 - miss
}

// MajorityAtK returns the expected value of the answer that wins a vote among k
// samples, drawn without replacement from those given: the unbiased estimate of
// maj@k, as PassAtK is of pass@k. counts[i] is the number of times that answer i
// occurs and values[i] its value, for example 1 if right and 0 if wrong.
// abstained is the number of samples without an answer; they are drawn but do not
// vote.
//
// Answers tied for the most votes win with equal probability. A draw without a
// vote is worth 0. The result is computed, not simulated: it is exact up to
// rounding and takes time O(answers² · k³) at most.
//
// It is NaN if there are fewer than k samples. MajorityAtK panics unless counts
// and values have the same length, no count is negative and k >= 1.
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

// topWith is the probability that answer a wins with this number of votes when
// the remaining draws fall on the other samples: that no other answer gets more,
// with a tie's probability divided among the tied.
func topWith(counts []int, a, votes, samples, draws int) float64 {
	// p[t][d] is the probability that the answers so far took draws-d of the
	// draws, none of them more than votes and t of them exactly votes.
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
	// The draws that are left fall on samples that abstain.
	total := 0.0
	for t := range p {
		for d := range min(draws, samples) + 1 {
			total += p[t][d] / float64(t+1)
		}
	}
	return total
}

// hypergeometric is the probability that, of k draws without replacement from n
// samples, x are among c given ones: C(c,x)·C(n−c,k−x)/C(n,k).
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
