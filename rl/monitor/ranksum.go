package monitor

import (
	"cmp"
	"slices"
)

// rankSumTail is the exact one-sided p-value of the Wilcoxon rank-sum test
// (Wilcoxon 1945; Lehmann, Nonparametrics, 1975, chapter 1) with mid-ranks for
// ties: the probability that a random choice of len(recent) of all the values
// has ranks with a sum at least as large as recent's. If the values are
// exchangeable, that is at most α with probability at most α, whatever their
// distribution.
func rankSumTail(before, recent []float64) float64 {
	n, k := len(before)+len(recent), len(recent)
	order := make([]int, n) // of all values: before, then recent
	at := func(i int) float64 {
		if i < len(before) {
			return before[i]
		}
		return recent[i-len(before)]
	}
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(at(a), at(b)) })

	// Twice the mid-ranks are whole numbers: i+1 + j for the ties order[i:j].
	ranks, sum := make([]int, 0, n), 0
	for i := 0; i < n; {
		j := i + 1
		for j < n && at(order[j]) == at(order[i]) {
			j++
		}
		for _, o := range order[i:j] {
			ranks = append(ranks, i+1+j)
			if o >= len(before) {
				sum += i + 1 + j
			}
		}
		i = j
	}

	most := 0 // the largest sum that k ranks can have
	for _, r := range ranks[n-k:] {
		most += r
	}
	// ways[c][s] counts the choices of c of the ranks so far with sum s.
	ways := make([][]float64, k+1)
	for c := range ways {
		ways[c] = make([]float64, most+1)
	}
	ways[0][0] = 1
	for i, r := range ranks {
		for c := min(i+1, k); c > 0; c-- {
			for s := most; s >= r; s-- {
				ways[c][s] += ways[c-1][s-r]
			}
		}
	}
	tail, all := 0.0, 0.0
	for s, w := range ways[k] {
		all += w
		if s >= sum {
			tail += w
		}
	}
	return tail / all
}

// signTail is the exact one-sided p-value of the sign test: the probability
// that at least above of n values lie above their median, Σ C(n,i)/2ⁿ.
func signTail(above, n int) float64 {
	p, tail := 1.0, 0.0 // p = C(n, i)
	for i := 0; i <= n; i++ {
		if i >= above {
			tail += p
		}
		p *= float64(n-i) / float64(i+1)
	}
	for range n {
		tail /= 2
	}
	return tail
}
