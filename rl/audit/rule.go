package audit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/rollout"
)

// RuleStats compares the verdicts of one rule with those of the reader.
type RuleStats struct {
	Name string
	// Counts counts rows, indexed [verdict][truth]: by the rule's verdict and the
	// reader's, both as rollout.Verdict.
	Counts [3][3]int
}

// Tally counts the rows of each rule, in the order of the names. Rows come from
// Read; it panics on one that is not labelled, or is about a broken step.
func Tally(rows []Row) []RuleStats {
	index := make(map[string]int)
	var rules []RuleStats
	for i, row := range rows {
		if !row.Labeled {
			panic(fmt.Sprintf("audit: row %d is not labelled", i))
		}
		if row.Verdict == rollout.VerdictBroken || row.Truth == rollout.VerdictBroken {
			panic(fmt.Sprintf("audit: row %d is about a broken step, which no rule was asked about", i))
		}
		at, ok := index[row.Rule]
		if !ok {
			at = len(rules)
			index[row.Rule] = at
			rules = append(rules, RuleStats{Name: row.Rule})
		}
		rules[at].Counts[row.Verdict][row.Truth]++
	}
	slices.SortFunc(rules, func(a, b RuleStats) int { return cmp.Compare(a.Name, b.Name) })
	return rules
}

// verdicts are those that a rule can give, in the order in which Format lists
// them.
var verdicts = []rollout.Verdict{correct, incorrect, unknown}

const (
	unknown   = rollout.VerdictUnknown
	correct   = rollout.VerdictCorrect
	incorrect = rollout.VerdictIncorrect
)

// Precision is the share of rows with truth v among those that the rule calls v,
// with its Wilson interval of that confidence level (0 = 95%). Rows of unknown
// truth are left out, as in all shares below; without any row it is NaN. It panics
// if v is neither correct nor incorrect.
func (r *RuleStats) Precision(v rollout.Verdict, level float64) eval.Interval {
	mustJudge(v)
	return eval.Wilson(r.Counts[v][v], r.Counts[v][correct]+r.Counts[v][incorrect], level)
}

// Recall is the share of rows that the rule calls v among those with truth v;
// one that the rule cannot judge counts as missed. It panics if v is neither
// correct nor incorrect.
func (r *RuleStats) Recall(v rollout.Verdict, level float64) eval.Interval {
	mustJudge(v)
	return eval.Wilson(r.Counts[v][v], r.Counts[correct][v]+r.Counts[incorrect][v]+r.Counts[unknown][v], level)
}

func mustJudge(v rollout.Verdict) {
	if v != correct && v != incorrect {
		panic(fmt.Sprintf("audit: precision and recall are of correct or incorrect, not of %v", v))
	}
}

// ErrorRate is the share of wrong verdicts among the rows that the rule judges.
func (r *RuleStats) ErrorRate(level float64) eval.Interval {
	wrong := r.Counts[correct][incorrect] + r.Counts[incorrect][correct]
	return eval.Wilson(wrong, wrong+r.Counts[correct][correct]+r.Counts[incorrect][incorrect], level)
}

// Coverage is the share of rows that the rule can judge.
func (r *RuleStats) Coverage(level float64) eval.Interval {
	judged, all := 0, 0
	for _, v := range verdicts {
		n := r.Counts[v][correct] + r.Counts[v][incorrect]
		all += n
		if v != unknown {
			judged += n
		}
	}
	return eval.Wilson(judged, all, level)
}

// Format formats the table of each rule and the shares that follow from it, with
// intervals of that confidence level (0 = 95%).
func Format(rules []RuleStats, level float64) string {
	var b strings.Builder
	for i := range rules {
		r := &rules[i]
		fmt.Fprintf(&b, "rule %q: errors %s, coverage %s\n", r.Name, share(r.ErrorRate(level)), share(r.Coverage(level)))
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "  verdict\ttrue correct\tincorrect\tunknown\tprecision\trecall")
		for _, v := range verdicts {
			fmt.Fprintf(w, "  %v\t%d\t%d\t%d", v, r.Counts[v][correct], r.Counts[v][incorrect], r.Counts[v][unknown])
			if v == unknown {
				fmt.Fprintln(w)
				continue
			}
			fmt.Fprintf(w, "\t%s\t%s\n", share(r.Precision(v, level)), share(r.Recall(v, level)))
		}
		w.Flush()
	}
	return b.String()
}

func share(i eval.Interval) string {
	if math.IsNaN(i.Estimate) {
		return "none"
	}
	return fmt.Sprintf("%.1f%% (%.1f to %.1f)", 100*i.Estimate, 100*i.Low, 100*i.High)
}
