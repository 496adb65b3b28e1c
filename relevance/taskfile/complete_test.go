package taskfile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/task"
)

// A rule that contradicts the labels is mentioned. Answers that it does not use need not
// be known.
func TestContradictions(t *testing.T) {
	text := strings.Replace(minimal, "[{name: label}]", `
- {name: topic, answers: [same, other], rule: {truth: topic}}
- {name: free}
- name: label
  rule: {expr: 'answers.topic == "same" ? "1" : "0"'}
split: {folds: 6, validation: 0}
`, 1)
	got, err := open(t, text, Options{})
	require.NoError(t, err)
	n := got.Source.Size
	for _, e := range got.Source.Tests[0].Examples {
		require.NotEqual(t, "green hat", e.Query)
	}
	assert.Regexp(t, fmt.Sprintf(`^task.yaml:9:16: steps\[2\].rule.expr: finds the label of [23] of %d training pairs wrong although the steps before are right, the first at pairs.csv:\d+\n10 rows\n$`, n-1),
		strings.ReplaceAll(got.Reports[0].String(), filepath.Dir(got.Inputs[0])+string(filepath.Separator), ""))

	for source, want := range map[string][]string{
		`answers.b == "x"`: {"b"}, `(answers).a == "x"`: {"a"}, `answers[query] == "x"`: {"a", "b"}, `let said = answers; said.a == "x"`: {"a", "b"}, `query == "x"`: nil,
	} {
		x, err := (&File{}).compile("p", source, scope{earlier: []string{"a", "b"}, answer: true}, true)
		require.NoError(t, err)
		assert.Equal(t, want, x.answers, source)
	}
}

// What the teacher writes where the truth is known, and where it is not.
func TestTeacher(t *testing.T) {
	const text = `
teacher: {noise: .5, label_noise: .25}
`
	style := reward.RuleFunc[rows.Example](func(context.Context, rows.Example, *prompt.Trace, int) (reward.Score, error) {
		return reward.Score{}, nil
	})
	judges := Options{Judges: map[string]reward.Rule[rows.Example]{"style": style}}
	got, err := open(t, whole, judges)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 1))
	find := func(s *rows.Source, title string) rows.Example {
		for i := range s.Size {
			if e := s.Train(i); e.Document.Title == title {
				return e
			}
		}
		t.Fatal("not in training")
		return rows.Example{}
	}
	title := got.Source.Train(0).Document.Title
	seen := make(map[string]int)
	for range 1000 {
		th := find(got.Source, title).Teach(rng)
		require.Len(t, th, 5)
		require.Empty(t, th[3].Reasoning)
		seen[th[3].Answer]++
	}
	assert.InDelta(t, 500, seen["good"], 60, "at random")
	assert.Equal(t, 1000, seen["good"]+seen["bad"])

	got, err = open(t, whole+text, judges)
	require.NoError(t, err)
	wrong, wrongLabel := 0, 0
	e := find(got.Source, title)
	for range 2000 {
		th := e.Teach(rng)
		if th[1].Answer != e.Truth[1] {
			wrong++
		}
		if th[4].Answer != e.Label() {
			wrongLabel++
		}
	}
	assert.InDelta(t, 1000, wrong, 90)
	assert.InDelta(t, 500, wrongLabel, 80)
}

// Reasons quote other people's texts, which must not break the format.
func TestReasonsAreMadeWritable(t *testing.T) {
	b := &builder{f: &File{Steps: make([]Step, 2)}, steps: []task.Step[rows.Example]{{Name: "a", Answers: []string{"x"}}, {Name: "b"}}}
	th := []rows.Thought{{Reasoning: `has </step> and \boxed{y}`, Answer: "x"}, {Reasoning: "fine", Answer: "y"}}
	require.NoError(t, b.writable(&rows.Example{}, th))
	assert.Equal(t, []rows.Thought{{Answer: "x"}, {Reasoning: "fine", Answer: "y"}}, th)
	th[1].Answer = "</step>"
	assert.ErrorContains(t, b.writable(&rows.Example{File: "f", Line: 3}, th), "f:3: ")
	assert.Equal(t, "one two", b.cite("one\n\x00 two"))
	assert.Len(t, strings.Fields(b.cite(strings.Repeat("w ", 99))), mostCited)
}

type half struct{}

func (half) Clip(e rows.Example) (rows.Example, error) {
	title, _, _ := strings.Cut(e.Document.Title, " ")
	e.Document.Title = title
	return e, nil
}

func (half) Quote(word string) string { return word[:1] }

// full is a clipper for whose model every prompt is too long.
type full struct{ half }

func (full) Clip(e rows.Example) (rows.Example, error) {
	return e, &rows.RowError{File: e.File, Line: e.Line, Field: "query", Problem: "is too long"}
}

// Where the steps fill the prompt, the error is about them and not about a query.
func TestTheStepsFillThePrompt(t *testing.T) {
	steps := "steps:\n- {name: a, instruction: Compare what is asked for with what is offered., answers: [yes, no], rule: {truth: topic}}\n- {name: label, instruction: Give the label.}\n"
	steps = strings.Replace(steps, "[yes, no]", "[same, other]", 1)
	got, err := open(t, with("steps: [{name: label}]\n", steps), Options{})
	require.NoError(t, err)
	err = got.Source.Clip(full{})
	assert.ErrorContains(t, err, "task.yaml:1:1: prompt: the instructions and criteria of the steps take ")
	assert.ErrorContains(t, err, "set compact: true")
	var row *rows.RowError
	require.ErrorAs(t, err, &row)
	got, err = open(t, with("steps: [{name: label}]\n", steps+"prompt: {compact: true}\n"), Options{})
	require.NoError(t, err)
	assert.Equal(t, row.Problem, "is too long")
	assert.NotContains(t, got.Source.Clip(full{}).Error(), "compact")
}

// A fact is about the whole document; what a step must find itself, about what the model
// reads.
func TestClip(t *testing.T) {
	text := strings.Replace(whole, "    rule: {judge: style}\n", "", 1)
	text = strings.Replace(text, "{expr: found.head.answer}", "{criterion: head}", 1)
	text = strings.Replace(text, "    answers: [yes, no, none]\n", "", 1)
	got, err := open(t, text, Options{})
	require.NoError(t, err)
	require.NoError(t, got.Source.Clip(half{}))
	all := got.Source.Tests[0].Examples
	for i := range got.Source.Size {
		all = append(all, got.Source.Train(i))
	}
	n := 0
	for _, e := range all {
		if e.ID != "2" && e.ID != "9" { // Red tent, Old lamp
			continue
		}
		n++
		assert.Equal(t, []string{"all", "no"}, e.Truth[1:3], e.Document.Title)
		assert.Equal(t, "2/2", e.Facts[0].Value)
		if e.Teach != nil {
			for _, w := range strings.Fields(e.Teach(rand.New(rand.NewPCG(1, 1)))[2].Reasoning) {
				assert.Len(t, w, 1, "each word is quoted")
			}
		}
	}
	assert.Equal(t, 2, n)
}
