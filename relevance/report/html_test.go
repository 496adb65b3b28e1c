package report

import (
	"bytes"
	"encoding/xml"
	"flag"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval"
)

func render(t *testing.T, r *Run, m []Metrics, l []Answered) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Write(&b, r, Logs{m, l}))
	checkPage(t, b.String())
	return b.String()
}

var writePage = flag.String("write-page", "", "write a page with all there is to this file, to look at it")

func TestWritePage(t *testing.T) {
	if *writePage == "" {
		t.Skip("without -write-page FILE there is nothing to write")
	}
	require.NoError(t, os.WriteFile(*writePage, []byte(render(t, testReport(), testMetrics(200), testRollouts(4, 2, 8))), 0o644))
}

// checkPage checks what holds for every page: it needs nothing else, its tags
// are balanced, and every coordinate is a number.
func checkPage(t *testing.T, page string) {
	t.Helper()
	for _, never := range []string{"<script", "<link", "<img", "@import", "url(", "http://", "https://", ` src="`, "ZgotmplZ", "NaN", "Inf"} {
		assert.False(t, strings.Contains(page, never), "the page holds %q", never)
	}
	assert.True(t, strings.HasPrefix(page, "<!DOCTYPE html>"))
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta"}, xml.HTMLEntity
	for {
		_, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	for _, a := range regexp.MustCompile(` (?:d|x|y|cx|cy|viewBox)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		assert.Regexp(t, `^[MLHVv0-9. -]+$`, a[1], a[0])
	}
}

func TestPageHoldsEverything(t *testing.T) {
	page := render(t, testReport(), testMetrics(60), testRollouts(4, 2, 8))
	for _, want := range []string{
		"generated notes", "go run ./examples/relevance -seed 1", "One run shows one seed", "arXiv:2512.00968", "as reconstructed here",
		"2 January 2026, 03:04 UTC", "6m39s in the stages", "6m41s in this process", "700 MiB", "&#34;warmup_steps&#34;", "RANDOM", "LONGTAIL", "teacher: rl-mask",
		"Warm-up loss", "Distillation loss", "Reward", "Live groups", "Gradient norm", "Masked tokens per step: RL, mask",
		"broken, missing", "128 of 128", "25\u202f600", "live groups",
	} {
		assert.Contains(t, page, want)
	}
	assert.NotContains(t, page, "Masked tokens per step: RL, outcome", "it masks nothing")
	assert.NotContains(t, page, "smoke run")
	assert.Less(t, strings.Index(page, "All numbers on RANDOM"), strings.Index(page, "All numbers on LONGTAIL"))
	assert.Equal(t, 2*2, strings.Count(page, `class="step" open`), "the first and the last step of each stage")
	assert.Equal(t, 2*4, strings.Count(page, `class="step"`))
	assert.Equal(t, 128+2*mostWorst, strings.Count(page, `<article class="answer">`))
}

func TestPageToleratesWhatIsMissing(t *testing.T) {
	only := func(names ...string) *Run {
		r := testReport()
		r.Stages = slices.DeleteFunc(r.Stages, func(s *Stage) bool { return !slices.Contains(names, s.Name) })
		return r
	}
	render(t, &Run{}, nil, nil)
	render(t, only("warmup"), nil, nil)
	render(t, only("rl-outcome", "distill"), testMetrics(1), nil)
	render(t, testReport(), nil, []Answered{{}})
	untested := testReport()
	for _, s := range untested.Stages {
		s.Tests = nil
	}
	render(t, untested, testMetrics(3), testRollouts(1, 1, 1))

	outcome := only("warmup", "rl-outcome")
	assert.NotContains(t, render(t, outcome, nil, nil), "What step credit", "nothing to compare")
}

func TestPageEscapesWhatItShows(t *testing.T) {
	const evil = `</title></style></svg><script>alert("1")</script><img src=x onerror=alert(1)>'"&`
	r := testReport()
	r.Name, r.Command, r.Machine.Backend, r.Best = evil, evil, evil, "rl-"+evil
	r.Task.Labels, r.Task.Meanings, r.Task.Relevant, r.Task.Example, r.Warnings = []string{evil, evil, evil, evil, evil}, []string{evil, evil, evil, evil, evil}, evil, evil, []string{evil}
	r.Data = []Part{{evil, 1, 1, []int{1, 0, 0, 0, 0}}}
	r.Task.Steps = []Step{{Name: evil, Instruction: evil, Criteria: []string{evil}, Answers: []Answer{{Answer: evil}}}, {Name: "label"}}
	r.Stages[3].Name, r.Stages[3].Title, r.Stages[3].Note = "rl-"+evil, evil, evil
	r.Stages[3].Numbers = map[string]float64{evil: 1}
	r.Stages[3].Tests[evil] = detailed(policyScores(.5, .5, .5))
	r.Stages[3].Tests[evil].Queries[0].Query = evil
	r.Stages[3].Tests[evil].Worst = []Mistake{{ID: evil, Query: evil, Document: evil, Label: evil, Said: evil, Text: evil, Steps: []StepPair{{evil, evil, evil}}}}
	r.Stages[3].Tests[evil].Disagree, r.Stages[3].Alarms = r.Stages[3].Tests[evil].Worst, []string{evil}
	r.Rules = map[string]Tally{evil: {Scored: 1, Unscorable: map[string]int{evil: 2}}}
	m := []Metrics{{"rl-" + evil, 1, map[string]float64{"reward/label": 1, "credit/" + evil + "/masked": .5}}}
	l := []Answered{{
		Stage: "rl-" + evil, Step: 1, ID: evil, Prompt: evil, Truth: map[string]string{evil: evil},
		Steps:  []AnsweredStep{{Name: evil, End: 1, Verdict: evil}},
		Tokens: []AnsweredToken{{Text: evil, Keep: true}, {Text: evil}},
	}}
	page := render(t, r, m, l)
	assert.GreaterOrEqual(t, strings.Count(page, "&lt;script&gt;"), 15)
}

func TestTableMarksTheBestAndDashesTheMissing(t *testing.T) {
	r := testReport()
	r.Stages[2].Tests["RANDOM"].QWK = nil
	tables := resultTables(r)
	require.Equal(t, "RANDOM", tables[0].Set)
	cell := func(row int, name string) resultCell {
		k := slices.IndexFunc(tables[0].Columns, func(c column) bool { return c.Name == name })
		require.GreaterOrEqual(t, k, 0, name)
		return tables[0].Rows[row].Cells[k]
	}
	accuracy := cell(3, "accuracy")
	assert.Equal(t, []string{"0.760", "0.740", "0.780"}, []string{accuracy.Value, accuracy.Low, accuracy.High})
	assert.True(t, accuracy.Best)
	assert.False(t, cell(2, "accuracy").Best)
	assert.True(t, cell(3, "right answer, wrong step").Best, "the lowest")
	assert.Equal(t, dash, cell(2, "QWK").Value)
	assert.Empty(t, cell(2, "QWK").Low)
	assert.Equal(t, dash, cell(0, "mean step accuracy").Value)
	assert.False(t, cell(1, "unparsable").Best, "all the same")
	for row := range 5 {
		assert.False(t, cell(row, "tokens/s").Best, "not comparable")
	}
}

func TestComparisonTellsOverlap(t *testing.T) {
	c := comparisons(testReport())
	require.Len(t, c, 2)
	assert.Equal(t, []comparisonLine{
		{"accuracy", "0.740", "0.760", "intervals overlap"},
		{"right answer, wrong step", "0.240", "0.100", "better, intervals apart"},
		{"mean step accuracy", "0.690", "0.830", "better, intervals apart"},
	}, c[0].Lines)
}

func TestNumbersAsTheyAreShown(t *testing.T) {
	assert.Equal(t, "1\u202f234\u202f567", grouped(1234567))
	assert.Equal(t, "-123", grouped(-123))
	assert.Equal(t, "999", grouped(999))
	assert.Equal(t, "−0.50", signed(-.5))
	assert.Equal(t, "+1.25", signed(1.25))
	assert.Equal(t, "0", signed(-.001))
	assert.Equal(t, dash, signed(math.NaN()))
	assert.Equal(t, dash, short(math.Inf(1)))
	assert.Equal(t, "−0.123", three(-.1234))
}

// The page begins with the one best model, and says where a number rests on little and
// where a baseline is better.
func TestHeadline(t *testing.T) {
	r := testReport()
	r.Chosen = "the best on validation rows (accuracy); it is in the folder model"
	r.Data = append(r.Data, Part{"LONGTAIL", 7, 2, []int{1, 1, 1, 2, 2}})
	r.Notes = []string{`conflict of "a" and "b": line 1: 0, line 2: 3; taken as 0`}
	r.Raters = &Raters{Rows: 900, Agree: .75, AsLabel: .875}
	assert.Equal(t, []string{
		"The best model of generated notes is RL, mask: the best on validation rows (accuracy); it is in the folder model.",
		"On RANDOM (1\u202f000 rows of 700 queries), the best model (RL, mask) gives the label that people gave for 76.0%; the best baseline (words) does so for 45.0%, the student for 71.0%.",
		"LONGTAIL has only 1\u202f000 rows of 2 queries: too few to tell anything.",
	}, headline(r))
	assert.Empty(t, BetterBaselines(r))
	page := render(t, r, nil, nil)
	assert.Contains(t, page, "<title>generated notes: relevance in steps")
	assert.Contains(t, page, "Two raters of a row give the same label in 75.0% of cases")
	assert.Contains(t, page, "line 2: 3; taken as 0")

	r.Stages[0].Tests["RANDOM"].Accuracy = .9
	assert.Equal(t, "words on RANDOM (0.900 against 0.760)", BetterBaselines(r))
	assert.Contains(t, headline(r)[3], "A baseline is better than the best model: words on RANDOM")
	r.Weak = "training pairs are weak"
	assert.Contains(t, headline(r)[3], "words on RANDOM (0.900 against 0.760); training pairs are weak. Use that")
	assert.Contains(t, setWords(r)[1].Text, "the harder part")
	for _, s := range r.Stages {
		s.Tests["TEST"] = s.Tests["RANDOM"]
	}
	assert.Contains(t, render(t, r, nil, nil), "the rows of TEST whose queries share no word with any training query")
}

// By hand: of the three answers after right steps two are right; a fourth is right after a
// wrong step, and a step without a truth does not count.
func TestLabelAfterRightSteps(t *testing.T) {
	l := Labels{Names: testLabels, Cut: 3, Steps: []string{"a", "b", "label"}}
	var all []Outcome
	for _, o := range []struct {
		said  int
		steps []float64
	}{{2, []float64{1, 1, 1}}, {2, []float64{1, math.NaN(), 1}}, {3, []float64{1, 1, 0}}, {2, []float64{0, 1, 1}}} {
		all = append(all, Outcome{Pair: eval.Pair{Gold: 2, Pred: o.said}, Steps: o.steps})
	}
	require.InDelta(t, 2./3, *Score(l, all).LabelAfterRightSteps, 1e-15)
	require.Nil(t, Score(l, all[3:]).LabelAfterRightSteps)
}
