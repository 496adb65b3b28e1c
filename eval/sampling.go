package eval

import (
	"fmt"
	"math"
)

// PassAtK returns the unbiased estimate of the probability that at least one of
// k samples is right, from n samples of which c are (Chen et al. 2021,
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
	// C(n-c, k) / C(n, k), factor by factor, for the binomials overflow.
	miss := 1.0
	for i := n - c + 1; i <= n; i++ {
		miss *= 1 - float64(k)/float64(i)
	}
	return 1 - miss
}

// MajorityVote returns the answer that occurs most often; of several, the one
// that occurs first. It returns false if there are no votes. Samples without an
// answer should not vote.
func MajorityVote[A comparable](votes []A) (winner A, ok bool) {
	counts := make(map[A]int)
	for _, v := range votes {
		counts[v]++
	}
	most := 0
	for _, v := range votes {
		if counts[v] > most {
			winner, most = v, counts[v]
		}
	}
	return winner, most > 0
}
