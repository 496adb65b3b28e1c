package audit

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// SampleOptions say what to sample.
type SampleOptions struct {
	// PerRule is the number of rows for each step name; at least 1.
	PerRule int
	// Seed decides which.
	Seed uint64
	// Prompt, if not nil, writes a problem out for the reader.
	Prompt func(p rl.Problem) string
}

// Sample draws steps to be labelled, for each step name PerRule of them, or as
// many as there are prompts: it draws prompts without replacement, and from each
// one of the steps of that name, so that rows are independent. Broken steps are
// left out. An ID is the request's, or its number, with the sample's index. Rows
// come in the order of the names, shuffled within each. It panics if PerRule is
// less than 1.
func Sample(r *rl.Rollouts, o SampleOptions) []Row {
	if o.PerRule < 1 {
		panic(fmt.Sprintf("audit: Sample of %d rows per rule", o.PerRule))
	}
	// The steps of each name, by group.
	type place struct{ completion, step int }
	found := make(map[string]map[int][]place)
	for g, group := range r.Groups {
		for i := range group {
			for k, s := range group[i].Steps {
				if s.Verdict == rollout.VerdictBroken {
					continue
				}
				if found[s.Name] == nil {
					found[s.Name] = make(map[int][]place)
				}
				found[s.Name][g] = append(found[s.Name][g], place{i, k})
			}
		}
	}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	var rows []Row
	for _, name := range slices.Sorted(maps.Keys(found)) {
		groups := slices.Sorted(maps.Keys(found[name]))
		random.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
		for _, g := range groups[:min(o.PerRule, len(groups))] {
			places := found[name][g]
			p := places[random.IntN(len(places))]
			c := &r.Groups[g][p.completion]
			s := &c.Steps[p.step]
			row := Row{Rule: name, ID: id(r, g, c.Index), Completion: c.Text, Step: textOf(c, s), Verdict: s.Verdict}
			if o.Prompt != nil {
				row.Prompt = o.Prompt(r.Problems[g])
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func id(r *rl.Rollouts, g, sample int) string {
	name := r.Requests[g].ID
	if name == "" {
		name = strconv.Itoa(g)
	}
	return fmt.Sprintf("%s#%d", name, sample)
}

// textOf is the text of a step's tokens.
func textOf(c *rollout.Completion, s *rollout.Step) string {
	if s.Start >= s.End {
		return ""
	}
	start := 0
	if s.Start > 0 {
		start = c.Ends[s.Start-1]
	}
	return c.Text[start:c.Ends[s.End-1]]
}
