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

// SampleOptions are the settings of Sample.
type SampleOptions struct {
	// PerRule is the number of rows for each step name; at least 1.
	PerRule int
	// Seed determines the drawn steps.
	Seed uint64
	// Prompt, if not nil, writes a problem out for the reader.
	Prompt func(p rl.Problem) string
}

// Validate returns an error that names the first invalid setting.
func (o SampleOptions) Validate() error {
	if o.PerRule < 1 {
		return fmt.Errorf("audit: SampleOptions.PerRule is %d, want at least 1", o.PerRule)
	}
	return nil
}

// Sample draws steps to be labelled: for each step name PerRule of them, or as
// many as there are prompts. It draws prompts without replacement, and from each
// one step of that name, so that rows are independent. Broken steps are left out.
// A row's ID is that of the request, or its index, with the sample's index. Rows
// come in the order of the names, shuffled within each. The error is that of
// SampleOptions.Validate.
func Sample(r *rl.Rollouts, o SampleOptions) ([]Row, error) {
	if err := o.Validate(); err != nil {
		return nil, err
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
	return rows, nil
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
