package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// fewQueries is how many queries a test set needs before its numbers say much.
const fewQueries = 10

// TooFew says of a test set with so many rows and queries that nothing can be told from
// its numbers; "" if there are enough queries, or nobody knows how many there are.
func TooFew(set string, rows, queries int) string {
	if queries == 0 || queries >= fewQueries {
		return ""
	}
	return fmt.Sprintf("%s has only %s of %s: too few to tell anything.", set, count(rows, "row"), count(queries, "query"))
}

// headline says the main result in sentences.
func headline(r *Run) (out []string) {
	best := stageNamed(r, r.Best)
	if best == nil {
		return nil
	}
	if r.Chosen != "" {
		out = append(out, fmt.Sprintf("The best model of %s is %s: %s.", r.Name, stageLabel(best.Name), r.Chosen))
	}
	for _, set := range TestSets(r.Stages) {
		s := best.Tests[set]
		if s == nil {
			continue
		}
		queries := queriesOf(r, set)
		if few := TooFew(set, s.Examples, queries); few != "" {
			out = append(out, few)
			continue
		}
		text := fmt.Sprintf("On %s (%s", set, count(s.Examples, "row"))
		if queries > 0 {
			text += " of " + count(queries, "query")
		}
		text += fmt.Sprintf("), the best model (%s) gives the label that people gave for %s", stageLabel(best.Name), percent(s.Accuracy))
		if beside := bestBaseline(r, set); beside != nil {
			text += fmt.Sprintf("; the best baseline (%s) does so for %s", stageLabel(beside.Name), percent(beside.Tests[set].Accuracy))
		}
		if student := stageNamed(r, "distill"); student != nil && student.Tests[set] != nil {
			text += fmt.Sprintf(", the student for %s", percent(student.Tests[set].Accuracy))
		}
		out = append(out, text+".")
	}
	if better := BetterBaselines(r); better != "" {
		out = append(out, fmt.Sprintf("A baseline is better than the best model: %s. Use that, or let the model have as a fact what the baseline knows.", better))
	}
	return out
}

// count writes a number of rows or queries.
func count(n int, of string) string {
	if n != 1 {
		of = map[string]string{"row": "rows", "query": "queries"}[of]
	}
	return grouped(n) + " " + of
}

// queriesOf is the number of queries of a test set, 0 if it is not known.
func queriesOf(r *Run, set string) int {
	for _, p := range r.Data {
		if p.Name == set {
			return p.Queries
		}
	}
	return 0
}

// bestBaseline is the one of the highest accuracy on a test set; nil without any.
func bestBaseline(r *Run, set string) (best *Stage) {
	for _, b := range r.Stages {
		if t := b.Tests[set]; b.Kind == KindBaseline && t != nil && (best == nil || t.Accuracy > best.Tests[set].Accuracy) {
			best = b
		}
	}
	return best
}

// BetterBaselines says on which test sets a baseline has a higher accuracy than the
// best model, and which; sets of few queries are left out. It is "" if there are none.
func BetterBaselines(r *Run) string {
	best := stageNamed(r, r.Best)
	if best == nil {
		return ""
	}
	var out []string
	for _, set := range TestSets(r.Stages) {
		b, s := bestBaseline(r, set), best.Tests[set]
		if b == nil || s == nil || TooFew(set, s.Examples, queriesOf(r, set)) != "" || b.Tests[set].Accuracy <= s.Accuracy {
			continue
		}
		out = append(out, fmt.Sprintf("%s on %s (%.3f against %.3f)", stageLabel(b.Name), set, b.Tests[set].Accuracy, s.Accuracy))
	}
	text := strings.Join(out, ", ")
	if text != "" && r.Weak != "" {
		text += "; " + r.Weak
	}
	return text
}

func percent(v float64) string { return fmt.Sprintf("%.1f%%", 100*v) }

// stageAlarms is what was said during a stage.
type stageAlarms struct {
	Label, Class string
	Alarms       []string
}

func alarms(r *Run) (out []stageAlarms) {
	for _, s := range r.Stages {
		if len(s.Alarms) > 0 {
			out = append(out, stageAlarms{stageLabel(s.Name), stageClass(s.Name), s.Alarms})
		}
	}
	return out
}

// partRow counts a part of the data.
type partRow struct {
	Name, Rows, Queries string
	Labels              []share1
}

// share1 is a count with its share.
type share1 struct {
	Count, Share string
	Width        int // of a bar, in percent
}

func shareOf(n, of int) share1 {
	s := share1{Count: grouped(n), Share: dash}
	if of > 0 {
		s.Share, s.Width = percent(float64(n)/float64(of)), n*100/of
	}
	return s
}

func parts(r *Run) (out []partRow) {
	for _, p := range r.Data {
		row := partRow{Name: p.Name, Rows: grouped(p.Rows), Queries: grouped(p.Queries)}
		for _, n := range p.Labels {
			row.Labels = append(row.Labels, shareOf(n, p.Rows))
		}
		out = append(out, row)
	}
	return out
}

// stepRow is a step with what its true answers tell of the label.
type stepRow struct {
	Step
	Known   string
	Right   string // the best model's accuracy at it
	Answers []answerRow
}

type answerRow struct {
	Answer, Rows, Relevant, Recall, Grade string
	Width                                 int
}

func stepRows(r *Run) (out []stepRow) {
	best := stageNamed(r, r.Best)
	for _, s := range r.Task.Steps {
		row := stepRow{Step: s, Known: percent(s.Known), Right: dash}
		if best != nil {
			for _, set := range TestSets([]*Stage{best}) {
				if v, ok := best.Tests[set].StepAccuracy[s.Name]; ok {
					row.Right = three(v)
					break
				}
			}
		}
		for _, a := range s.Answers {
			row.Answers = append(row.Answers, answerRow{
				a.Answer, grouped(a.Rows), percent(a.Relevant), percent(a.Recall), fmt.Sprintf("%.2f", a.Grade), int(100 * a.Relevant),
			})
		}
		out = append(out, row)
	}
	return out
}

// detail is where the best model errs on one test set.
type detail struct {
	Set, Label, Class string
	Confusion         confusionView
	Reliability       *chart
	Queries           []queryRow
	MoreQueries       []queryRow
	Worst, MoreWorst  []mistakeView
	Disagree          []mistakeView
}

type confusionView struct {
	Labels []string
	Rows   []confusionRow
}

type confusionRow struct {
	Label string
	Cells []confusionCell
}

type confusionCell struct {
	Count string
	Heat  int // 0 to 4: its share of the row
	Right bool
}

type queryRow struct{ Query, Rows, Accuracy, Error string }

// mistakeView is a mistake as the page shows it.
type mistakeView struct {
	Mistake
	GradeText, Sure string
	Body            folded
	Reasons         folded
	Pairs           []pairView
}

type pairView struct {
	StepPair
	Class, Mark string
}

// folded is a text of which a long one shows its beginning only.
type folded struct {
	Head, Rest string
}

// mostShown is how many characters of a text are shown at once.
const mostShown = 320

func fold(text string) folded {
	runes := []rune(strings.TrimSpace(text))
	if len(runes) <= mostShown {
		return folded{Head: string(runes)}
	}
	return folded{string(runes[:mostShown]), string(runes[mostShown:])}
}

// How many rows are open on the page; the others are folded.
const (
	openQueries = 10
	openWorst   = 6
)

func details(r *Run) (out []detail) {
	best := stageNamed(r, r.Best)
	if best == nil {
		return nil
	}
	for _, set := range TestSets([]*Stage{best}) {
		s := best.Tests[set]
		d := detail{Set: set, Label: stageLabel(best.Name), Class: stageClass(best.Name), Confusion: confusion(r, s)}
		if len(s.Reliability) > 1 {
			if c, ok := reliabilityChart(s); ok {
				d.Reliability = &c
			}
		}
		for _, q := range s.Queries {
			row := queryRow{q.Query, grouped(q.Rows), percent(q.Accuracy), fmt.Sprintf("%.2f", q.Error)}
			if len(d.Queries) < openQueries {
				d.Queries = append(d.Queries, row)
			} else {
				d.MoreQueries = append(d.MoreQueries, row)
			}
		}
		for _, m := range s.Worst {
			if len(d.Worst) < openWorst {
				d.Worst = append(d.Worst, viewMistake(m))
			} else {
				d.MoreWorst = append(d.MoreWorst, viewMistake(m))
			}
		}
		for _, m := range s.Disagree {
			d.Disagree = append(d.Disagree, viewMistake(m))
		}
		out = append(out, d)
	}
	return out
}

func confusion(r *Run, s *Scores) (v confusionView) {
	v.Labels = slices.Clone(r.Task.Labels)
	unreadable := false
	for _, row := range s.Confusion {
		unreadable = unreadable || row[len(row)-1] > 0
	}
	if unreadable {
		v.Labels = append(v.Labels, "unreadable")
	}
	for i, row := range s.Confusion {
		total := 0
		for _, n := range row {
			total += n
		}
		out := confusionRow{Label: r.Task.Labels[i]}
		for k, n := range row[:len(v.Labels)] {
			heat := 0
			if n > 0 {
				heat = min(1+4*n/total, 4)
			}
			out.Cells = append(out.Cells, confusionCell{grouped(n), heat, i == k})
		}
		v.Rows = append(v.Rows, out)
	}
	return v
}

func viewMistake(m Mistake) mistakeView {
	v := mistakeView{Mistake: m, GradeText: fmt.Sprintf("%.2f", m.Grade), Body: fold(m.Document), Reasons: fold(m.Text)}
	if m.Sure > 0 {
		v.Sure = percent(m.Sure)
	}
	v.Said = cmp.Or(v.Said, "unreadable")
	for _, p := range m.Steps {
		view := pairView{p, "unknown", "?"}
		switch {
		case p.Truth == "":
		case p.Truth == p.Said:
			view.Class, view.Mark = "right", "✓"
		default:
			view.Class, view.Mark = "wrong", "✗"
		}
		v.Pairs = append(v.Pairs, view)
	}
	return v
}

// reliabilityChart draws how often the model is right against how sure it is.
func reliabilityChart(s *Scores) (chart, bool) {
	var points, ideal []xy
	for _, b := range s.Reliability {
		points = append(points, xy{100 * b.Confidence, b.Accuracy})
		ideal = append(ideal, xy{100 * b.Confidence, b.Confidence})
	}
	c, ok := drawChart(quantity{
		title: "Reliability, calibrated", share: true, x: "probability of the label that is said, in percent",
		good: "how often the model is right where it is this sure; on the dashed line it means what it says",
	}, []curve{{"the model", "s0", points}, {"as sure as right", "s5", ideal}})
	return c, ok
}

// setWords explains the test sets.
func setWords(r *Run) (out []namedText) {
	tail := "the harder part: queries with words, or pairs of things, that are rare or absent in training"
	if slices.Contains(TestSets(r.Stages), "TEST") {
		tail = "the rows of TEST whose queries share no word with any training query"
	}
	known := map[string]string{
		"TEST":     "rows of queries that were never trained on, otherwise like the training rows",
		"RANDOM":   "rows of queries that were never trained on, otherwise like the training rows",
		"LONGTAIL": tail,
	}
	for _, set := range TestSets(r.Stages) {
		text, ok := known[set]
		if !ok {
			text = "rows that were never trained on"
		}
		out = append(out, namedText{set, text})
	}
	return out
}
