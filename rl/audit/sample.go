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
// one step of that name, so that rows are independent; a prompt that was sampled in
// several groups is one prompt. Broken steps are left out. A row's ID is that of the
// request, or its index, with the sample's index; requests that share an ID have their
// index in it, too, so that no two groups have a row's ID in common. Rows come in the
// order of the names, shuffled within each. The error is that of SampleOptions.Validate.
func Sample(r *rl.Rollouts, o SampleOptions) ([]Row, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	// The steps of each name, by the first group of their prompt.
	type place struct{ group, completion, step int }
	found := make(map[string]map[int][]place)
	prompts := make(map[string]int)
	for g, group := range r.Groups {
		prompt := g
		if ids := r.Requests[g].Prompt; len(ids) > 0 {
			key := fmt.Sprint(ids)
			if first, ok := prompts[key]; ok {
				prompt = first
			} else {
				prompts[key] = g
			}
		}
		for i := range group {
			for k, s := range group[i].Steps {
				if s.Verdict == rollout.VerdictBroken {
					continue
				}
				if found[s.Name] == nil {
					found[s.Name] = make(map[int][]place)
				}
				found[s.Name][prompt] = append(found[s.Name][prompt], place{g, i, k})
			}
		}
	}
	ids := groupIDs(r)
	random := rand.New(rand.NewPCG(o.Seed, 0))
	var rows []Row
	for _, name := range slices.Sorted(maps.Keys(found)) {
		drawn := slices.Sorted(maps.Keys(found[name]))
		random.Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
		for _, prompt := range drawn[:min(o.PerRule, len(drawn))] {
			places := found[name][prompt]
			p := places[random.IntN(len(places))]
			c := &r.Groups[p.group][p.completion]
			s := &c.Steps[p.step]
			row := Row{Rule: name, ID: fmt.Sprintf("%s#%d", ids[p.group], c.Index), Completion: c.Text, Step: textOf(c, s), Verdict: s.Verdict}
			if o.Prompt != nil {
				row.Prompt = o.Prompt(r.Problems[p.group])
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// groupIDs returns a name of each group that no other has: its request's ID or, without
// one, its index, and both if requests share the ID. To a name that is another request's
// ID the index is added again. So the made names differ from all IDs, and from each other
// in the index at their end.
func groupIDs(r *rl.Rollouts) []string {
	count := make(map[string]int)
	for g := range r.Groups {
		count[r.Requests[g].ID]++
	}
	ids := make([]string, len(r.Groups))
	for g := range ids {
		id, index := r.Requests[g].ID, strconv.Itoa(g)
		if id != "" && count[id] == 1 {
			ids[g] = id
			continue
		}
		if id == "" {
			id = index
		} else {
			id += "/" + index
		}
		for count[id] > 0 {
			id += "/" + index
		}
		ids[g] = id
	}
	return ids
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
