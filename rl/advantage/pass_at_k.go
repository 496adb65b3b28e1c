package advantage

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// PassAtK is the advantage whose gradient is that of pass@k: of the expected best
// reward among k completions. A completion's advantage is what it adds to a set
// of k, on average over the sets of its group that it belongs to:
//
//	A_i = mean over S ∋ i, |S| = k of max(S) − max(S∖{i})
//
// The average is taken in closed form (Pass@K Policy Optimization,
// arXiv:2505.15201, with its leave-one-out baseline). The mean of A_i·∇log π_i
// over a group is an unbiased estimate of ∇E[max of k]/k. With K = n only the
// best completion counts, with its lead over the second (verl's grpo_passk,
// arXiv:2503.19595).
//
// Advantages are never negative: nothing is punished. Unscorable rewards stay
// out and get 0; sets are no larger than the number of usable rewards. A dead
// group gets exact zeros, and so does a singleton.
type PassAtK struct {
	// K is the size of the sets, at least 2; 0 means the whole group. (For
	// K = 1 see RLOO.)
	K int `json:"k"`
	// DivideByStd divides by std(r) + Epsilon, as verl does by default.
	DivideByStd bool `json:"divide_by_std"`
	// Std is the kind of standard deviation.
	Std Std `json:"std"`
	// Epsilon is added to the standard deviation.
	Epsilon float64 `json:"epsilon"`
	// Tolerance of dead groups: 0 means DefaultTolerance, negative none.
	Tolerance float64 `json:"tolerance"`
}

// Validate implements Normalizer.
func (p PassAtK) Validate() error {
	var err error
	if p.K < 0 || p.K == 1 {
		err = fmt.Errorf("advantage: PassAtK.K is %d, want 0 (the whole group) or at least 2", p.K)
	}
	return errors.Join(err, settings.CheckEnum("advantage: PassAtK.Std", stdNames, p.Std), checkNonNegative("PassAtK.Epsilon", p.Epsilon), checkTolerance("PassAtK", p.Tolerance))
}

// Normalize implements Normalizer.
func (p PassAtK) Normalize(dst, rewards []float64) {
	m := momentsOf(rewards)
	order := make([]int, 0, m.n) // usable rewards, ascending
	for i, r := range rewards {
		if !math.IsNaN(r) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(rewards[a], rewards[b]) })
	k := m.n
	if p.K != 0 {
		k = min(p.K, m.n)
	}
	scale := 1.0
	if p.DivideByStd {
		scale = inverse(m.std(p.Std) + p.Epsilon)
	}
	if m.n < 2 || m.constant(p.Tolerance) {
		scale = 0
	}

	// Walking up, the l-th reward adds its step over the one before to all
	// from l on, in the share of their sets whose other k−1 members all come
	// before l: C(l, k−1) / C(n−1, k−1).
	sum, last := 0.0, 0.0
	adv := make([]float64, len(rewards))
	for l, i := range order {
		if l > 0 && rewards[i]-last > m.rounding(p.Tolerance) {
			sum += (rewards[i] - last) * subsets(l, m.n-1, k-1)
		}
		last = rewards[i]
		adv[i] = sum * scale
	}
	copy(dst, adv)
}

// subsets is C(a, k)/C(b, k): the probability that k drawn from b without
// replacement all lie among the first a.
func subsets(a, b, k int) float64 {
	p := 1.0
	for j := range k {
		if j >= a {
			return 0
		}
		p *= float64(a-j) / float64(b-j)
	}
	return p
}
