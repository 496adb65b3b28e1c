package parity

import (
	"encoding/json"
	"math"

	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// groupStats is what became of a group.
type groupStats struct {
	// Tokens counts tokens; Kept those that step credit did not mask;
	// Denominator those that count in a loss's denominators.
	Tokens      int `json:"tokens"`
	Kept        int `json:"kept"`
	Denominator int `json:"denominator"`
	// Dead: the estimator gives no completion an advantage.
	Dead bool `json:"dead"`
	// Unscorable counts completions without any usable reward, Malformed
	// those marked so, FullyMasked those of whose tokens none is kept.
	Unscorable  int `json:"unscorable"`
	Malformed   int `json:"malformed"`
	FullyMasked int `json:"fully_masked"`
	// KL is the mean divergence per token, NaN without a KL penalty.
	KL number `json:"kl"`
	// Steps holds an entry per step name; Outside is the text between steps.
	Steps   map[string]stepStats `json:"steps"`
	Outside massStats            `json:"outside"`
}

// massStats counts the tokens of one step and the sums of their |advantage|.
type massStats struct {
	Kept       int    `json:"kept"`
	Masked     int    `json:"masked"`
	MassBefore number `json:"mass_before"`
	MassAfter  number `json:"mass_after"`
}

// stepStats also counts steps by verdict and sign of the outcome advantage.
type stepStats struct {
	massStats
	Broken  int                       `json:"broken"`
	Verdict map[string]map[string]int `json:"verdict"`
}

// newGroupStats collects the statistics of a group after step credit. The tokens
// that the aggregation gives a weight are those in its denominators.
func newGroupStats(g rollout.Group, dead bool, s sam.Stats, kl objective.Sum, agg objective.Aggregation) (groupStats, error) {
	out := groupStats{
		Dead:        dead,
		FullyMasked: s.FullyMasked,
		KL:          number(kl.Sum / kl.Count), // NaN if it is 0/0
		Steps:       map[string]stepStats{},
		Outside:     newMassStats(s.Outside),
	}
	layout := objective.Layout{Prompt: make([]int, len(g))}
	for i := range g {
		c := &g[i]
		include := make([]bool, len(c.Tokens))
		for t, keep := range c.Keep {
			include[t] = true
			if keep {
				out.Kept++
			}
		}
		layout.Include, layout.Keep = append(layout.Include, include), append(layout.Keep, c.Keep)
		out.Tokens += len(c.Tokens)
		if c.Malformed {
			out.Malformed++
		}
		if c.Unscorable {
			out.Unscorable++
		}
	}
	for name, st := range s.Steps {
		out.Steps[name] = newStepStats(*st)
	}
	weights, _, err := agg.Weigh(layout)
	for _, row := range weights {
		for _, w := range row {
			if w != 0 {
				out.Denominator++
			}
		}
	}
	return out, err
}

func newMassStats(s sam.StepStats) massStats {
	return massStats{Kept: s.Kept, Masked: s.Masked, MassBefore: number(s.MassBefore), MassAfter: number(s.MassAfter)}
}

func newStepStats(s sam.StepStats) stepStats {
	out := stepStats{massStats: newMassStats(s), Verdict: map[string]map[string]int{}}
	for v, signs := range s.ByVerdict {
		out.Verdict[rollout.Verdict(v).String()] = map[string]int{"negative": signs[0], "zero": signs[1], "positive": signs[2]}
	}
	for _, n := range s.ByVerdict[rollout.VerdictBroken] {
		out.Broken += n
	}
	return out
}

// number is a float64 that JSON shows as null if it is not finite.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if !finite(float64(n)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// orEmpty makes JSON show no elements as [].
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
