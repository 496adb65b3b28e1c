package split

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Check looks at all training examples of a source with an end, up to mostChecked, and
// at the first mostGenerated of one without.
const mostChecked, mostGenerated = 200_000, 5000

// Check returns what is to be said about a source before training, one sentence each:
// a step with one truth or none, a label that never occurs, a test set of a single
// class, one that equals another, a leak. note, if not empty, is put to each leak in
// brackets.
func Check(s *rows.Source, note string) []string {
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	n := mostGenerated
	if s.Size > 0 {
		n = min(s.Size, mostChecked)
	}
	train := make([]rows.Example, n)
	for i := range train {
		train[i] = s.Train(i)
	}
	inner := len(s.Steps) - 1
	for k, step := range s.Steps[:inner] {
		truths := countTruths(train, k)
		unknown := truths[""]
		delete(truths, "")
		switch answers := slices.Sorted(maps.Keys(truths)); {
		case len(answers) == 0 && step.Rule == nil:
			say("step %q: nobody knows the truth of any training pair and no rule judges it: it cannot be learned, only written", step.Name)
		case len(answers) == 0:
			say("step %q: the truth is not known of any of %d training pairs: the warm-up teaches its answers at random, and only a rule that needs no truth can judge it", step.Name, n)
		case len(answers) == 1:
			say("step %q: the truth is %q in all training pairs that have one, so the step teaches nothing", step.Name, answers[0])
		case len(answers) > 1 && unknown > 0:
			say("step %q: the truth is not known of %d of %d training pairs", step.Name, unknown, n)
		}
		for _, a := range step.Answers {
			if len(truths) > 1 && truths[a] == 0 {
				say("step %q: the answer %q is never the truth in training", step.Name, a)
			}
		}
	}
	classes(say, "the training data", train, s.Labels)
	for i, set := range s.Tests {
		classes(say, "test set "+set.Name, set.Examples, s.Labels)
		for _, other := range s.Tests[:i] {
			if same(set.Examples, other.Examples) {
				say("test set %s is the same as %s", set.Name, other.Name)
			}
		}
	}
	return append(said, leaks(s, note, train)...)
}

// leaks says what the test and validation sets share with training, and the tests with the
// queries that settings are chosen by. Test sets that are parts of the first are not
// looked at again.
func leaks(s *rows.Source, note string, train []rows.Example) []string {
	var said []string
	if note != "" {
		note = " (" + note + ")"
	}
	say := func(what string, l *Leaks, first string) {
		if text := strings.TrimSuffix(l.text(first), "\n"); text != "" {
			said = append(said, what+note+": "+text)
		}
	}
	all := func(what string, es []rows.Example) { say(what, Find(train, es), "training") }
	if len(s.Validation) > 0 {
		all("validation", s.Validation)
	}
	seen := make(map[string]bool)
	for _, set := range s.Tests {
		fresh := false
		for _, e := range set.Examples {
			fresh = fresh || !seen[e.ID]
			seen[e.ID] = true
		}
		if fresh {
			all("test set "+set.Name, set.Examples)
			l := Find(s.Validation, set.Examples)
			l.Documents, l.Near = nil, nil // nothing is learnt of them
			say("test set "+set.Name, l, "validation")
		}
	}
	return said
}

func countTruths(es []rows.Example, k int) map[string]int {
	n := make(map[string]int)
	for i := range es {
		if k < len(es[i].Truth) {
			n[es[i].Truth[k]]++
		} else {
			n[""]++
		}
	}
	return n
}

func classes(say func(string, ...any), what string, es []rows.Example, labels []string) {
	n := make(map[string]int)
	for i := range es {
		n[es[i].Label()]++
	}
	var missing []string
	for _, l := range labels {
		if n[l] == 0 {
			missing = append(missing, l)
		}
	}
	switch {
	case len(es) == 0:
		say("%s: no pairs", what)
	case len(missing) == len(labels):
		say("%s: no pair has a label", what)
	case len(missing) == len(labels)-1:
		say("%s: all %d pairs have the same label, so nothing can be told from it", what, len(es))
	case len(missing) > 0:
		say("%s: no pair has the label %s", what, strings.Join(missing, ", "))
	}
}

// same reports whether two sets have the same pairs, in any order.
func same(a, b []rows.Example) bool {
	if len(a) != len(b) {
		return false
	}
	pairs := make(map[[2]string]int)
	for i := range a {
		pairs[[2]string{a[i].Query, documentKey(&a[i].Document)}]++
		pairs[[2]string{b[i].Query, documentKey(&b[i].Document)}]--
	}
	for _, n := range pairs {
		if n != 0 {
			return false
		}
	}
	return true
}
