package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed report.tmpl.html
var reportSource string

// reportPage is the page of a run. It escapes all that it shows.
var reportPage = template.Must(template.New("report").Parse(reportSource))

// Write writes the run's page: one file that needs nothing else, no script, and no
// network.
func Write(w io.Writer, r *Run, logs Logs) error {
	settings, err := json.MarshalIndent(r.Settings, "", "  ")
	if err != nil {
		return err
	}
	total := 0.0
	for _, s := range r.Stages {
		total += s.Seconds
	}
	return reportPage.Execute(w, &pageView{
		Run:         r,
		Date:        r.Finished.Format("2 January 2006, 15:04 MST"),
		Total:       span(total),
		Took:        span(r.Seconds),
		Memory:      megabytes(r.Machine.PeakRSS),
		SettingText: string(settings),
		Headline:    headline(r),
		Agreement:   agreement(r.Raters),
		Alarms:      alarms(r),
		Parts:       parts(r),
		StepRows:    stepRows(r),
		Short:       comparisons(r),
		Forests:     forests(r),
		Tables:      resultTables(r),
		StageRows:   stageRows(r),
		Details:     details(r),
		Curves:      curves(r, logs.Metrics),
		Samples:     samples(r, logs.Answers),
		RuleRows:    ruleRows(r.Rules),
		SetWords:    setWords(r),
		CreditLabel: creditLabel(r),
	})
}

// pageView is what the template sees: the report, and what has been made
// readable of it.
type pageView struct {
	*Run
	Date, Memory string
	Total, Took  string // of all stages, of this process
	SettingText  string
	Headline     []string
	Agreement    string
	Alarms       []stageAlarms
	Parts        []partRow
	StepRows     []stepRow
	Short        []comparison
	Forests      []forestSet
	Tables       []resultTable
	StageRows    []stageRow
	Details      []detail
	Curves       []curveSection
	Samples      samplesView
	RuleRows     []ruleRow
	SetWords     []namedText
	CreditLabel  string
}

// agreement says how far people agree; "" if nobody knows.
func agreement(a *Raters) string {
	if a == nil {
		return ""
	}
	return fmt.Sprintf("Two raters of a row give the same label in %s of cases, and a single rater gives the row's label in %s (%s with several raters). A model that is right more often than a single rater has learnt as much as the labels can teach.",
		percent(a.Agree), percent(a.AsLabel), count(a.Rows, "row"))
}

// dash stands for a number that does not exist.
const dash = "–"

// column is a column of the results table.
type column struct {
	Name string
	// better is +1 if the highest value is the best, -1 if the lowest is, 0 if
	// the values of different stages are not alike.
	better   int
	interval string // key of Scores.Intervals
	value    func(*Scores) float64
	text     func(float64) string
}

func columns(steps []string) []column {
	c := []column{
		{"accuracy", +1, "accuracy", func(s *Scores) float64 { return s.Accuracy }, three},
		{"binary accuracy", +1, "binary_accuracy", func(s *Scores) float64 { return s.BinaryAccuracy }, three},
		{"macro-F1", +1, "macro_f1", func(s *Scores) float64 { return s.MacroF1 }, three},
		{"QWK", +1, "qwk", func(s *Scores) float64 { return orNaN(s.QWK) }, three},
		{"nDCG@10", +1, "", func(s *Scores) float64 { return orNaN(s.NDCG) }, three},
		{"right answer, wrong step", -1, "right_answer_wrong_step", func(s *Scores) float64 { return orNaN(s.RightAnswerWrongStep) }, three},
		{"label right after right steps", +1, "label_after_right_steps", func(s *Scores) float64 { return orNaN(s.LabelAfterRightSteps) }, three},
		{"unparsable", -1, "unparsable", func(s *Scores) float64 { return orNaN(s.Unparsable) }, three},
		{"mean step accuracy", +1, "mean_step_accuracy", func(s *Scores) float64 { return orNaN(s.MeanStepAccuracy) }, three},
	}
	for _, name := range steps {
		c = append(c, column{"step " + name, +1, "step_accuracy/" + name, func(s *Scores) float64 {
			if v, ok := s.StepAccuracy[name]; ok {
				return v
			}
			return math.NaN()
		}, three})
	}
	return append(c, column{"tokens/s", 0, "", func(s *Scores) float64 {
		if s.TokensPerSecond <= 0 {
			return math.NaN()
		}
		return s.TokensPerSecond
	}, func(v float64) string { return grouped(int(math.Round(v))) }})
}

// keyColumns are those that show at a glance what step credit changes.
func keyColumns() []column {
	return slices.DeleteFunc(columns(nil), func(c column) bool {
		return !slices.Contains([]string{"accuracy", "right_answer_wrong_step", "mean_step_accuracy"}, c.interval)
	})
}

// resultTable is the results on one test set.
type resultTable struct {
	Set      string
	Examples string
	Columns  []column
	Rows     []resultRow
}

type resultRow struct {
	Label, Title, Class string
	Cells               []resultCell
}

type resultCell struct {
	Value, Low, High string
	Best             bool
	value            float64
}

func resultTables(r *Run) []resultTable {
	var tables []resultTable
	for _, set := range TestSets(r.Stages) {
		t := resultTable{Set: set, Columns: columns(stepNames(r))}
		for _, s := range r.Stages {
			if sc := s.Tests[set]; sc != nil {
				t.Examples = grouped(sc.Examples)
				t.Rows = append(t.Rows, resultRow{stageLabel(s.Name), s.Title, stageClass(s.Name), cells(t.Columns, sc)})
			}
		}
		for k, c := range t.Columns {
			markBest(t.Rows, k, c.better)
		}
		tables = append(tables, t)
	}
	return tables
}

func cells(columns []column, s *Scores) []resultCell {
	var out []resultCell
	for _, c := range columns {
		cell := resultCell{Value: dash, value: c.value(s)}
		if finite(cell.value) {
			cell.Value = c.text(cell.value)
			if i, ok := s.Intervals[c.interval]; ok && finite(i[0]) && finite(i[1]) {
				cell.Low, cell.High = c.text(i[0]), c.text(i[1])
			}
		}
		out = append(out, cell)
	}
	return out
}

// markBest marks the best of at least two different values in column k.
func markBest(rows []resultRow, k, better int) {
	e := newExtent()
	for _, r := range rows {
		e.add(r.Cells[k].value)
	}
	best := e.hi
	if better < 0 {
		best = e.lo
	}
	for _, r := range rows {
		r.Cells[k].Best = better != 0 && e.lo < e.hi && r.Cells[k].value == best
	}
}

// comparison says in words what step credit changed on one test set.
type comparison struct {
	Set   string
	Lines []comparisonLine
}

type comparisonLine struct {
	Name, From, To, Verdict string
}

// comparisons compares the stages with and without step credit.
func comparisons(r *Run) []comparison {
	without, with := stageNamed(r, "rl-outcome"), credited(r)
	if without == nil || with == nil || without == with {
		return nil
	}
	var out []comparison
	for _, set := range TestSets(r.Stages) {
		a, b := without.Tests[set], with.Tests[set]
		if a == nil || b == nil {
			continue
		}
		c := comparison{Set: set}
		for _, col := range keyColumns() {
			va, vb := col.value(a), col.value(b)
			if !finite(va) || !finite(vb) {
				continue
			}
			c.Lines = append(c.Lines, comparisonLine{col.Name, col.text(va), col.text(vb), tellApart(col, a, b, va, vb)})
		}
		out = append(out, c)
	}
	return out
}

// tellApart says whether the intervals overlap, and if not, which is better.
func tellApart(c column, a, b *Scores, va, vb float64) string {
	ia, oka := a.Intervals[c.interval]
	ib, okb := b.Intervals[c.interval]
	switch {
	case !oka || !okb:
		return "no interval"
	case ia[0] <= ib[1] && ib[0] <= ia[1]:
		return "intervals overlap"
	case float64(c.better)*(vb-va) > 0:
		return "better, intervals apart"
	}
	return "worse, intervals apart"
}

// stageRow is what a stage cost and noted.
type stageRow struct {
	Label, Title, Class, Seconds, Tokens, Note string
	Numbers                                    []namedText
}

type namedText struct{ Name, Text string }

func stageRows(r *Run) []stageRow {
	var rows []stageRow
	for _, s := range r.Stages {
		row := stageRow{stageLabel(s.Name), s.Title, stageClass(s.Name), span(s.Seconds), dash, s.Note, nil}
		if s.Tokens > 0 {
			row.Tokens = grouped(s.Tokens)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Numbers)) {
			row.Numbers = append(row.Numbers, namedText{strings.ReplaceAll(name, "_", " "), short(s.Numbers[name])})
		}
		rows = append(rows, row)
	}
	return rows
}

// ruleRow is what came of asking a rule.
type ruleRow struct {
	Name, Scored, Unscorable, Share string
	Reasons                         []namedText
}

func ruleRows(rules map[string]Tally) []ruleRow {
	var rows []ruleRow
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		t := rules[name]
		row := ruleRow{Name: name, Scored: grouped(t.Scored), Share: dash}
		unscorable := 0
		for _, reason := range slices.Sorted(maps.Keys(t.Unscorable)) {
			unscorable += t.Unscorable[reason]
			row.Reasons = append(row.Reasons, namedText{reason, grouped(t.Unscorable[reason])})
		}
		row.Unscorable = grouped(unscorable)
		if n := t.Scored + unscorable; n > 0 {
			row.Share = fmt.Sprintf("%.1f%%", 100*float64(unscorable)/float64(n))
		}
		rows = append(rows, row)
	}
	return rows
}

// TestSets names the test sets of stages, first the one that looks like training.
func TestSets(stages []*Stage) []string {
	names := map[string]bool{}
	for _, s := range stages {
		for set := range s.Tests {
			names[set] = true
		}
	}
	sets := slices.Sorted(maps.Keys(names))
	if i := slices.IndexFunc(sets, func(s string) bool { return s == "RANDOM" || s == "TEST" }); i > 0 {
		first := sets[i]
		sets = slices.Insert(slices.Delete(sets, i, i+1), 0, first)
	}
	return sets
}

func stepNames(r *Run) (names []string) {
	for _, s := range r.Task.Steps {
		names = append(names, s.Name)
	}
	return names
}

func stageNamed(r *Run, name string) *Stage {
	for _, s := range r.Stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// credited is the first stage of reinforcement learning with step credit.
func credited(r *Run) *Stage {
	for _, s := range r.Stages {
		if s.Kind == KindReinforce && s.Name != "rl-outcome" {
			return s
		}
	}
	return nil
}

func creditLabel(r *Run) string {
	if s := credited(r); s != nil {
		return strings.TrimPrefix(s.Name, "rl-")
	}
	return "outcome"
}

// stageLabel is a stage's name in a chart.
func stageLabel(name string) string {
	switch credit, rl := strings.CutPrefix(name, "rl-"); {
	case rl:
		return "RL, " + credit
	case name == "warmup":
		return "warm-up"
	case name == "distill":
		return "student"
	}
	return strings.ReplaceAll(name, "-", " ")
}

// stageClass is a stage's style, the same one in every chart and table.
func stageClass(name string) string {
	switch {
	case name == "rl-outcome":
		return "c2"
	case strings.HasPrefix(name, "rl-"):
		return "c3"
	case name == "warmup":
		return "c1"
	case name == "distill":
		return "c4"
	}
	return "c0"
}

func orNaN(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func three(v float64) string { return minus(strconv.FormatFloat(v, 'f', 3, 64)) }

// minus writes the sign as wide as a plus.
func minus(number string) string { return strings.ReplaceAll(number, "-", "−") }

// short is a number as a tick or a tooltip shows it.
func short(v float64) string {
	if !finite(v) {
		return dash
	}
	return minus(strconv.FormatFloat(v, 'g', 3, 64))
}

// signed is an advantage as the page shows it.
func signed(v float64) string {
	switch {
	case !finite(v):
		return dash
	case math.Abs(v) < .005:
		return "0"
	}
	return minus(fmt.Sprintf("%+.2f", v))
}

// grouped writes thousands apart.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func megabytes(n int64) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
