package study

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/split"
	"github.com/stepwise-rl/stepwise/relevance/taskfile"
)

// mostGenerated is how many pairs of an endless source are taken, and numFolds into how
// many folds the pairs are divided.
const mostGenerated, numFolds = 2000, 5

// FromTask returns the training and validation pairs of a task, in folds by the hash of
// their queries, with the task's criteria or, if it has none, those of
// criteria.Products. The test sets stay unseen, so criteria can be chosen by what the
// study says. The error is that of [split.Folds].
func FromTask(t *taskfile.Task) (Data, error) {
	s := t.Source
	n := cmp.Or(s.Size, mostGenerated)
	d := Data{Labels: s.Labels, Relevant: s.LabelIndex(s.Relevant), Roles: criteria.DefaultRoles(), Criteria: t.Criteria, Collection: t.Collection}
	if len(d.Criteria) == 0 {
		d.Criteria = criteria.Products()
	}
	for i := range n {
		d.Examples = append(d.Examples, s.Train(i))
	}
	d.Examples = slices.DeleteFunc(append(d.Examples, s.Validation...), func(e rows.Example) bool { return e.Label() == "" })
	queries := make(map[string]bool)
	for _, e := range d.Examples {
		queries[split.Key(e.Query)] = true
	}
	folds, err := split.Folds(d.Examples, min(numFolds, len(queries)))
	if err != nil {
		return d, fmt.Errorf("study: %s: %w", s.Name, err)
	}
	for _, e := range d.Examples {
		d.Fold = append(d.Fold, folds[split.Key(e.Query)])
	}
	return d, nil
}
