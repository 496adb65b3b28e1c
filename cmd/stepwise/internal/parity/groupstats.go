package parity

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/sam"
)

// GroupStats is what became of a group.
type GroupStats struct {
	// Tokens counts tokens; Kept those that step credit did not mask;
	// Denominator those that count in a loss's denominators.
	Tokens      int `json:"tokens"`
	Kept        int `json:"kept"`
	Denominator int `json:"denominator"`
	// Dead: no completion has an outcome advantage.
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

func newGroupStats(g rollout.Group, s sam.Stats, kl objective.Sum, m objective.Masked) GroupStats {
	out := GroupStats{
		Dead:        s.DeadGroups > 0,
		FullyMasked: s.FullyMasked,
		KL:          number(math.NaN()),
		Steps:       map[string]stepStats{},
		Outside:     newMassStats(s.Outside),
	}
	if kl.Count > 0 {
		out.KL = number(kl.Mean())
	}
	for i := range g {
		c := &g[i]
		out.Tokens += c.Tokens
		for _, keep := range c.Keep {
			if keep {
				out.Kept++
			}
		}
		if c.Malformed {
			out.Malformed++
		}
		if unscorable(c) {
			out.Unscorable++
		}
	}
	out.Denominator = out.Tokens
	if m != objective.MaskedStay {
		out.Denominator = out.Kept
	}
	for name, st := range s.Steps {
		out.Steps[name] = newStepStats(*st)
	}
	return out
}

// unscorable reports whether no reward could be judged.
func unscorable(c *rollout.Completion) bool {
	for _, r := range c.Rewards {
		if !math.IsNaN(r) {
			return false
		}
	}
	return true
}

func newMassStats(s sam.StepStats) massStats {
	return massStats{Kept: s.Kept, Masked: s.Masked, MassBefore: number(s.MassBefore), MassAfter: number(s.MassAfter)}
}

func newStepStats(s sam.StepStats) stepStats {
	out := stepStats{massStats: newMassStats(s), Broken: s.Broken, Verdict: map[string]map[string]int{}}
	for v, signs := range s.Outcome {
		out.Verdict[rollout.Verdict(v).String()] = map[string]int{"negative": signs[0], "zero": signs[1], "positive": signs[2]}
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

// completionField is the path of a field of completion i.
func completionField(i int, name string) string { return fmt.Sprintf("completions[%d].%s", i, name) }
