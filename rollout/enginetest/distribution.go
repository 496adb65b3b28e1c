package enginetest

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/rollout"
)

// draws is how many first tokens are drawn for each set of parameters.
const draws = 4000

func distribution(ctx context.Context, s *suite) error {
	if s.First == nil {
		return skip("Config.First is not set")
	}
	for _, p := range []rollout.Params{
		{Temperature: 1}, {Temperature: 0.7}, {Temperature: 1.5, TopK: 3}, {Temperature: 1, TopP: 0.6}, {Temperature: 1, TopK: 4, TopP: 0.7},
	} {
		if s.lacks(p) {
			continue
		}
		p.MaxTokens = 1
		for i, prompt := range s.Prompts {
			unit := s.First(prompt)
			tempered := temper(unit, p.Temperature)
			got, err := s.collect(ctx, s.request(i, draws, p))
			if err != nil {
				return err
			}
			counts := make([]int, len(unit))
			for _, c := range got[0] {
				id := c.Tokens[0]
				if id < 0 || int(id) >= len(unit) {
					return fmt.Errorf("token %d is sampled, First knows %d tokens", id, len(unit))
				}
				counts[id]++
				if want := math.Log(tempered[id]); math.Abs(c.LogP[0]-want) > 1e-4 {
					return fmt.Errorf("prompt %d, %+v: LogP of id %d is %v, want %v", i, p, id, c.LogP[0], want)
				}
				if want := math.Log(unit[id]); c.LogPUnit != nil && math.Abs(c.LogPUnit[0]-want) > 1e-4 {
					return fmt.Errorf("prompt %d, %+v: LogPUnit of id %d is %v, want %v", i, p, id, c.LogPUnit[0], want)
				}
			}
			if err := chiSquare(counts, truncate(tempered, p)); err != nil {
				return fmt.Errorf("prompt %d, %+v: %w", i, p, err)
			}
		}
	}
	return nil
}

// temper returns p^(1/t), normalised.
func temper(p []float64, t float64) []float64 {
	out := make([]float64, len(p))
	var sum float64
	for i := range p {
		out[i] = math.Pow(p[i], 1/t)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// truncate returns the distribution that top-k and then top-p leave.
func truncate(p []float64, params rollout.Params) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] > p[b]:
			return -1
		case p[a] < p[b]:
			return 1
		}
		return 0
	})
	if params.TopK > 0 {
		order = order[:min(params.TopK, len(order))]
	}
	var total, mass float64
	for _, i := range order {
		total += p[i]
	}
	out := make([]float64, len(p))
	for _, i := range order {
		out[i] = p[i]
		if mass += p[i]; params.TopP > 0 && mass >= params.TopP*total {
			break
		}
	}
	for i := range out {
		out[i] /= mass
	}
	return out
}

// chiSquare tests counts against probabilities, with rare tokens in one bin. It
// fails at five standard deviations of the cube-root normal approximation (Wilson
// & Hilferty, 1931): for a sound engine 3 times in 10 million.
func chiSquare(counts []int, p []float64) error {
	var n, statistic float64
	for _, c := range counts {
		n += float64(c)
	}
	var rareCount, rareWant float64
	bins := 0
	add := func(count, want float64) {
		statistic += (count - want) * (count - want) / want
		bins++
	}
	for i, c := range counts {
		want := n * p[i]
		switch {
		case p[i] == 0 && c > 0:
			return fmt.Errorf("id %d is sampled %d times, but its probability is 0", i, c)
		case want < 5:
			rareCount += float64(c)
			rareWant += want
		default:
			add(float64(c), want)
		}
	}
	if rareWant >= 5 {
		add(rareCount, rareWant)
	}
	if bins < 2 {
		return nil // one token is all there is
	}
	k := float64(bins - 1)
	z := (math.Cbrt(statistic/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k))
	if z > 5 {
		return fmt.Errorf("chi-square of %.0f samples is %.1f with %.0f degrees of freedom, %.1f standard deviations off", n, statistic, k, z)
	}
	return nil
}
