package taskfile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/split"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// minimal is the shortest task.
const minimal = `version: 1
name: shop
labels: [0, 1]
data: {pairs: {file: pairs.csv}}
steps: [{name: label}]
`

const pairs = `query,title,label,topic,why
red tent,Red tent,1,same,red
red tent,Tent peg,0,other,peg
blue mug,Mug,0,same,
blue mug,Blue mug,1,same,
green hat,Green hat,1,,
green hat,Hat box,0,other,
old lamp,Lamp,0,same,
old lamp,Old lamp,1,same,
new sofa,New sofa,1,same,
big door,Door,0,same,
`

// open opens a task whose folder holds the pairs and other files.
func open(t *testing.T, text string, o Options, files ...string) (*Task, error) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("pairs.csv", pairs)
	write("task.yaml", text)
	for i := 0; i < len(files); i += 2 {
		write(files[i], files[i+1])
	}
	got, err := Open(filepath.Join(dir, "task.yaml"), o)
	if err != nil {
		// The folder is another one each time.
		err = errors.New(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""))
	}
	return got, err
}

func TestMinimal(t *testing.T) {
	got, err := open(t, minimal, Options{Seed: 1})
	require.NoError(t, err)
	s := got.Source
	assert.Equal(t, "shop, fold 0", s.Name)
	assert.Equal(t, []string{"0", "1"}, s.Labels)
	assert.Equal(t, "1", s.Relevant)
	assert.Nil(t, s.Meanings)
	n := s.Size + len(s.Validation)
	for _, set := range s.Tests[:1] {
		n += len(set.Examples)
	}
	assert.Equal(t, 10, n)
	e := s.Train(0)
	assert.Equal(t, "query: "+e.Query+"\ntitle: "+e.Document.Title, s.Input(e))
	assert.Equal(t, []string{e.Label()}, e.Truth)
	assert.Equal(t, []rows.Thought{{Reasoning: "so", Answer: e.Label()}}, e.Teach(rand.New(rand.NewPCG(1, 1))))
	assert.Len(t, got.File.Digest(), 64)
	require.Len(t, got.Inputs, 1)
}

// JSON is a part of YAML.
func TestJSON(t *testing.T) {
	got, err := open(t, "{\n\t\"version\": 1, \"name\": \"a \\u00e9 \\/ \\ud83d\\ude00 \\\\/ \\\"b\\\"\",\n\t\"labels\": [\"0\", {\"label\": 1, \"meaning\": \"good\"}],\n\t\"data\": {\"pairs\": {\"file\": \"pairs.csv\"}},\n\t\"steps\": [{\"name\": \"label\"}]\n}\n", Options{})
	require.NoError(t, err)
	assert.Equal(t, `a é / 😀 \/ "b", fold 0`, got.Source.Name)
	assert.Equal(t, []string{"", "good"}, got.Source.Meanings)
}

// with replaces or appends a part of the minimal task.
func with(old, text string) string {
	if old == "" {
		return minimal + text
	}
	return strings.Replace(minimal, old, text, 1)
}

func TestErrorsNameTheirPlace(t *testing.T) {
	const steps = "steps: [{name: label}]\n"
	for text, want := range map[string]string{
		"":                  `task.yaml: is empty, want a task`,
		"# nothing\n":       `task.yaml: is empty, want a task`,
		"version: 1\n a: [": `task.yaml:2:1: neither YAML nor JSON: mapping values are not allowed in this context (a text with ": " or " #" in it needs quotes, or | and a line of its own)`,
		"[1]":               `task.yaml:1:1: is a list, want settings with names`,
		`{"q":"a","name":"b","label":1}` + "\n" + `{"q":"c","name":"d","label":0}` + "\n": `task.yaml: looks like data, want a task file: YAML with the settings version, name, labels, data and steps, where data.pairs.file names the file of the data`,
		"query,title,label\nq,t,1\n":                                                                `task.yaml: looks like data, want a task file: YAML with the settings version, name, labels, data and steps, where data.pairs.file names the file of the data`,
		`{"versio": 1, "name": "shop", "labels": [0, 1]}`:                                           `task.yaml:1:2: no setting "versio", want one of version, name, labels, relevant, data, split, criteria, roles, judges, prompt, steps, teacher`,
		minimal + "---\na: 1\n":                                                                     `task.yaml:6:1: a second document begins, want one`,
		with("name: shop", "nam: shop"):                                                             `task.yaml:2:1: no setting "nam", want one of version, name, labels, relevant, data, split, criteria, roles, judges, prompt, steps, teacher`,
		with("version: 1", "version: 2"):                                                            `task.yaml:1:10: version: is 2, want 1`,
		with("version: 1", "version: one"):                                                          `task.yaml:1:10: version: is "one", want a whole number`,
		with("name: shop", "name:"):                                                                 `task.yaml:2:6: name: is empty, want a text`,
		with("name: shop", "name: a\nname: b"):                                                      `task.yaml:3:1: "name" is set twice`,
		with("[0, 1]", "[0]"):                                                                       `task.yaml:3:9: labels: 1 given, want at least two, in ascending order of relevance`,
		with("[0, 1]", "0"):                                                                         `task.yaml:3:9: labels: is "0", want a list`,
		with("[0, 1]", "[0, {label: 1, meaning: a, or b}]"):                                         `task.yaml:3:36: labels[1]: no setting "or b", want one of label, meaning, values (a text with a comma needs quotes inside { })`,
		with("[0, 1]", "[0, {label: 1, mean: x}]"):                                                  `task.yaml:3:24: labels[1]: no setting "mean", want one of label, meaning, values`,
		with("[0, 1]", "[0, 2, 1]"):                                                                 `task.yaml:3:9: labels: 0, 2, 1 are neither in ascending nor in descending order, want the least relevant first`,
		with("[0, 1]", "[0, 0]"):                                                                    `task.yaml:4:7: data: rows: the label "0" is empty or occurs twice`,
		with("", "relevant: 7\n"):                                                                   `task.yaml:6:11: relevant: "7" is not a label`,
		with("{pairs: {file: pairs.csv}}", "{}"):                                                    `task.yaml:4:7: data.pairs.file: is missing, want a file of pairs (or data.weak, data.generated)`,
		with("pairs.csv", "pairs.xls"):                                                              `task.yaml:4:7: data: pairs.xls: the name does not tell the format, want a format, one of jsonl, csv, tsv, qrels, parquet`,
		with("pairs.csv", "pairs.csv, columns: {titel: t}"):                                         `task.yaml:4:43: data.pairs.columns: no setting "titel", want one of id, query, query_id, document, document_id, title, body, fields, label, raters, keep`,
		with("pairs.csv", "pairs.csv, columns: {fields: [a]}"):                                      `task.yaml:4:51: data.pairs.columns.fields: is a list, want the column of each field, as {brand: supplier}`,
		with("pairs.csv", "pairs.csv, columns: {title: name}"):                                      `task.yaml:4:50: data.pairs.columns.title: pairs.csv:2: field "name": is missing, want a text; the columns are query, title, label, topic, why`,
		with("{pairs: {file: pairs.csv}}", "{generated: notes}"):                                    `task.yaml:4:19: data.generated: this program has no generator "notes" (it has none): a generator is Go code, which a program registers in taskfile.Options.Generators`,
		with("{pairs: {file: pairs.csv}}", "{generated: notes, pairs: {file: a.csv}}"):              `task.yaml:4:7: data: is generated and has files, want one of the two`,
		with("", "split: {folds: 1, test: -1, validation: 1}\n"):                                    "task.yaml:6:16: split.folds: is 1, want at least 2\ntask.yaml:6:25: split.test: is -1, want a fold from 0\ntask.yaml:6:41: split.validation: is 1, want a share of the queries, from 0 to below 1",
		with("", "split: {folds: 7}\n"):                                                             `pairs.csv: split: 7 folds of 6 different queries, want at least 2 folds and a query for each`,
		with("", "split: {test: 5}\n"):                                                              `pairs.csv: split: no query is in fold 5, so nothing is left to test on`,
		with("", "split: {column: topic}\n"):                                                        `pairs.csv:2: field "topic": is "same", want the number of a fold`,
		with("", "criteria:\n  - {kind: coverag}\n"):                                                `task.yaml:7:12: criteria[0].kind: no criterion "coverag", want one of `,
		with("", "criteria:\n  - {kind: coverage, params: {feld: title}}\n"):                        `task.yaml:7:12: criteria[0].kind: coverage: no parameter "feld", want one of: `,
		with("", "criteria: [{kind: brand}, {kind: brand}]\n"):                                      `task.yaml:6:27: criteria[1]: a second criterion is called "brand", want another name`,
		with("", "teacher: {noise: 1.5}\n"):                                                         `task.yaml:6:18: teacher.noise: is 1.5, want a probability`,
		with(steps, "steps: []\n"):                                                                  `task.yaml:5:8: steps: are missing, want at least the one that states the label`,
		with(steps, "steps: [{name: a}, {name: a}]\n"):                                              `task.yaml:5:27: steps[1].name: "a" is empty or the name of another step`,
		with(steps, "steps: [{name: a, answers: [0, 1]}]\n"):                                        `task.yaml:5:28: steps[0].answers: the last step's answers are the labels, want none here`,
		with(steps, "steps: [{name: a, rule: {truth: topic}}]\n"):                                   `task.yaml:5:25: steps[0].rule: the last step states the label, so its truth is the label; want expr, judge or no rule`,
		with(steps, "steps:\n- name: a\n  rule: {truth: topic, judge: j}\n- name: b\n"):             `task.yaml:7:9: steps[0].rule: more than one of truth, criterion, expr and judge is given, want one`,
		with(steps, "steps:\n- name: a\n  rule: {reason: why}\n- name: b\n"):                        `task.yaml:7:18: steps[0].rule.reason: stands without truth`,
		with(steps, "steps:\n- name: a\n  rule: {criterion: brand}\n- name: b\n"):                   `task.yaml:7:21: steps[0].rule.criterion: no criterion is called "brand"; the file lists none under criteria; {kind: brand} in criteria adds it`,
		with(steps, "criteria: [kind: head]\nsteps: [{name: a, rule: {criterion: x}}, name: b]"):    `task.yaml:6:37: steps[0].rule.criterion: no criterion is called "x"; the file's are: head`,
		with(steps, "steps:\n- name: a\n  rule: {judge: model}\n- name: b\n"):                       `task.yaml:7:17: steps[0].rule.judge: no judge "model" was given, only: `,
		with(steps, "steps:\n- name: a\n  criteria: [{text: x}]\n- name: b\n"):                      `task.yaml:7:14: steps[0].criteria[0]: has no name or no text, want both`,
		with(steps, "steps:\n- name: a\n  answers: [yes, no]\n  rule: {truth: topic}\n- name: b\n"): `pairs.csv:2: field "topic": is "same", want one of yes, no`,
		with("pairs.csv", "nothere.csv"):                                                            `task.yaml:4:22: data.pairs.file: open nothere.csv: no such file or directory`,
		with("", "split: {given: {file: nothere.csv}}\n"):                                           `task.yaml:6:23: split.given.file: open nothere.csv: no such file or directory`,
		with("pairs.csv", "none.jsonl, columns: {keep: [a]}"):                                       `task.yaml:4:22: data.pairs.file: open none.jsonl: no such file or directory`,
		with(steps, "steps:\n- name: a\n  answers: [x]\n  rule: {expr: '\"y\"'}\n- name: b\n"):      `task.yaml:8:16: steps[0].rule.expr: on pairs.csv:`,
		with(steps, "steps:\n- name: a\n  rule: {truth: topik}\n- name: b\n"):                       `task.yaml:7:17: steps[0].rule.truth: pairs.csv:2: field "topik": is missing; the columns are query, title, label, topic, why`,
		with("", "prompt: {input: '{{.Titel}}'}\n"):                                                 `task.yaml:6:20: prompt.input: executing "input" at <.Titel>: can't evaluate field Titel in type taskfile.View`,
		with("", "prompt:\n  input: |\n    a\n    {{if}}\n"):                                        `task.yaml:9:5: prompt.input: missing value for if`,
		with(steps, "steps:\n- name: a\n  answers: ['']\n- name: b\n"):                              `task.yaml:6:1: steps: step "a" would be malformed: `,
	} {
		_, err := open(t, text, Options{})
		if strings.HasSuffix(want, " ") || strings.HasSuffix(want, ":") { // more follows
			assert.ErrorContains(t, err, want)
		} else {
			assert.EqualError(t, err, want, text)
		}
	}
}

func TestErrorsOfExpressions(t *testing.T) {
	step := func(rule string) string {
		return with("steps: [{name: label}]\n", "steps:\n- name: topic\n  answers: [same, other]\n  rule: {truth: topic}\n- name: label\n  rule:\n    expr: "+rule)
	}
	for rule, want := range map[string]string{
		`answers.topik == "same"`:          `task.yaml:11:19: steps[1].rule.expr: unknown field topik`,
		`answers.label == "same"`:          `task.yaml:11:19: steps[1].rule.expr: unknown field label`,
		`"query == titel"`:                 `task.yaml:11:21: steps[1].rule.expr: unknown name titel`,
		`'query == titel'`:                 `task.yaml:11:21: steps[1].rule.expr: unknown name titel`,
		"|\n      query ==\n        titel": `task.yaml:13:9: steps[1].rule.expr: unknown name titel`,
		`query + 1`:                        `task.yaml:11:17: steps[1].rule.expr: invalid operation: + (mismatched types string and int)`,
		`len(query)`:                       `task.yaml:11:11: steps[1].rule.expr: gives a value of type int, want a text (the right answer) or a truth value`,
		`'answer == "1" ? answer : "0"'`:   `task.yaml:11:11: steps[1].rule.expr: gives the right answer and asks for the step's own answer, want one of the two`,
		`query matches "["`:                `task.yaml:11:17: steps[1].rule.expr: error parsing regexp: missing closing ]: ` + "`[`",
		`found.brand.answer`:               `task.yaml:11:17: steps[1].rule.expr: unknown field brand`,
		`now() == now()`:                   `task.yaml:11:11: steps[1].rule.expr: unknown name now`,
		`'any(words(query), any(words(title), # == "a"))'`:                   ``,
		`'any(words(query), any(words(title), any(words(body), # == "a")))'`: `task.yaml:11:11: steps[1].rule.expr: loops stand in each other 3 deep, want at most 2`,
		`columns.nothing == "a"`:                                             `task.yaml:11:19: steps[1].rule.expr: pairs.csv:2: field "nothing": is missing; the columns are query, title, label, topic, why`,
		`words(query)[1] == "x"`:                                             ``,
		`words(query)[9] == "x"`:                                             `task.yaml:11:11: steps[1].rule.expr: on pairs.csv:`,
		`1..2000000 == []`:                                                   `task.yaml:11:11: steps[1].rule.expr: on pairs.csv:`,
	} {
		_, err := open(t, step(rule)+"\n", Options{})
		switch {
		case want == "":
			assert.NoError(t, err, rule)
		case strings.HasSuffix(want, ":"):
			assert.ErrorContains(t, err, want)
		default:
			assert.EqualError(t, err, want, rule)
		}
	}
	_, err := open(t, step(strings.Repeat("1 + ", 300)+"1 == 2")+"\n", Options{})
	assert.ErrorContains(t, err, "exceeds maximum allowed nodes")
	// A condition sees no answers.
	_, err = open(t, with("{name: label}", "{name: label, criteria: [{name: a, text: b, when: 'answers.x == query'}]}"), Options{})
	assert.EqualError(t, err, `task.yaml:5:60: steps[0].criteria[0].when: unknown name answers`)
}

const whole = `version: 1
name: shop
labels:
  - {label: 0, meaning: useless}
  - {label: 1, meaning: fits, values: [good]}
data: {pairs: {file: pairs.csv}}
split: {folds: 2, validation: 0}
criteria:
  - {name: coverage, kind: coverage, params: {field: title}, fact: true}
  - {name: head, kind: head}
prompt:
  system: Judge.
  input: |
    Q {{.Query}}
    T {{.Title}} ({{.Fact "coverage"}}) {{.Column "why"}}
steps:
  - name: topic
    instruction: Compare.
    criteria:
      - {name: same, text: The same thing.}
      - {name: red, text: Red things only., when: 'has(query, "reds")'}
    answers: [same, other]
    rule: {truth: topic, reason: why}
  - name: words
    rule: {criterion: coverage}
  - name: head
    rule: {expr: found.head.answer}
    answers: [yes, no, none]
  - name: style
    answers: [good, bad]
    rule: {judge: style}
  - name: label
    rule:
      expr: |
        answer == (answers.topic == "same" && answers.words == "all" ? "1" : "0")
`

// completion writes the steps' answers as a model would.
func completion(t *testing.T, d *task.Definition[rows.Example], answers ...string) *rollout.Completion {
	c := &rollout.Completion{}
	written := make([]prompt.Written, len(answers))
	for i, a := range answers {
		written[i].Answer = a
	}
	text, err := d.Template().Write(written)
	require.NoError(t, err)
	c.Text, c.Ends, c.Tokens = text, []int{len(text)}, []int32{1}
	return c
}

func TestWhole(t *testing.T) {
	style := reward.RuleFunc[rows.Example](func(_ context.Context, e rows.Example, tr *prompt.Trace, step int) (reward.Score, error) {
		return reward.Score{Value: 1}, nil
	})
	got, err := open(t, whole, Options{Judges: map[string]reward.Rule[rows.Example]{"style": style}})
	require.NoError(t, err)
	s := got.Source
	byTitle := make(map[string]rows.Example)
	for _, set := range s.Tests[:1] {
		for _, e := range set.Examples {
			byTitle[e.Document.Title] = e
		}
	}
	for i := range s.Size {
		e := s.Train(i)
		byTitle[e.Document.Title] = e
		require.NotNil(t, e.Teach)
	}
	require.Len(t, byTitle, 10)
	e := byTitle["Tent peg"]
	assert.Equal(t, []string{"other", "some", "yes", "", "0"}, e.Truth)
	assert.Equal(t, "Q red tent\nT Tent peg (1/2) peg", s.Input(e))
	assert.Equal(t, []rows.Field{{Name: "coverage", Value: "1/2"}}, e.Facts)
	assert.Equal(t, []string{"", "all", "yes", "", "1"}, byTitle["Green hat"].Truth, "an empty column is not known")

	d := s.Definition()
	d.GroupSize, d.Params = 1, rollout.Params{MaxTokens: 1}
	d.Encode = task.Plain[rows.Example](func(string) []int32 { return []int32{1} })
	text := d.Template().Render(e)
	for _, want := range []string{"Judge.\n", "1. topic: Compare.\n   - same: The same thing.\n   - red: Red things only.\n", "2. words\n   - coverage title: ", "   - 0: useless\n"} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, d.Template().Render(byTitle["Mug"]), "Red things")

	made, err := task.New(d)
	require.NoError(t, err)
	verdicts := func(answers ...string) (v []rollout.Verdict, reward float64) {
		c := completion(t, &d, answers...)
		require.NoError(t, made.Bind(e).Judge(t.Context(), c))
		for _, st := range c.Steps {
			v = append(v, st.Verdict)
		}
		return v, c.Rewards[0]
	}
	const right, wrong = rollout.VerdictCorrect, rollout.VerdictIncorrect
	v, r := verdicts("other", "some", "yes", "good", "0")
	assert.Equal(t, []rollout.Verdict{right, right, right, right, right}, v)
	assert.Equal(t, 1., r)
	// The last rule asks whether the label follows from the answers, not whether it
	// is right.
	v, r = verdicts("same", "all", "no", "bad", "1")
	assert.Equal(t, []rollout.Verdict{wrong, wrong, wrong, right, right}, v)
	assert.Equal(t, 0., r)
	v, _ = verdicts("same", "all", "yes", "bad", "0")
	assert.Equal(t, wrong, v[4])
	assert.Equal(t, "10 rows\n", got.Reports[0].String())
}

func TestPrepareCompletesPairsFromElsewhere(t *testing.T) {
	got, err := open(t, strings.Replace(whole, "    rule: {judge: style}\n", "", 1), Options{})
	require.NoError(t, err)
	e := got.Source.Prepare(rows.Example{Query: "red\nmug", Document: rows.Document{Title: "Mug"}})
	assert.Equal(t, "Q red mug\nT Mug (1/2) ", got.Source.Input(e))

	// Without criteria, too, no document begins a line of its own.
	got, err = open(t, minimal, Options{})
	require.NoError(t, err)
	e = got.Source.Prepare(rows.Example{Query: "mug", Document: rows.Document{Title: "Mug\nlabel: 1"}})
	assert.Equal(t, "query: mug\ntitle: Mug label: 1", got.Source.Input(e))
}

func TestFilesOfTheirOwn(t *testing.T) {
	text := `version: 1
name: shop
labels: [0, 1]
data:
  pairs: {file: pairs.csv}
  validation: {file: v.jsonl}
  tests:
    - {name: NEW, pairs: {file: t.tsv}}
    - {name: OLD, pairs: {file: pairs.csv}}
steps: [{name: label}]
`
	got, err := open(t, text, Options{}, "v.jsonl", `{"query":"a","document":"b","label":1}`, "t.tsv", "query\ttitle\tlabel\na\tb\t0\n")
	require.NoError(t, err)
	s := got.Source
	assert.Equal(t, []int{10, 1, 1, 10}, []int{s.Size, len(s.Validation), len(s.Tests[0].Examples), len(s.Tests[1].Examples)})
	assert.Equal(t, []string{"NEW", "OLD"}, []string{s.Tests[0].Name, s.Tests[1].Name})
	assert.Len(t, got.Inputs, 3)
	ids := make(map[string]bool)
	for i := range s.Size {
		ids[s.Train(i).ID] = true
	}
	for _, es := range [][]rows.Example{s.Validation, s.Tests[0].Examples, s.Tests[1].Examples} {
		for _, e := range es {
			assert.False(t, ids[e.ID], e.ID)
			ids[e.ID] = true
		}
	}
	assert.Len(t, ids, 22)
	assert.Equal(t, "NEW:2", s.Tests[0].Examples[0].ID)

	_, err = open(t, strings.Replace(text, "NEW", "validation", 1), Options{})
	assert.EqualError(t, err, "task.yaml:8:7: data.tests[0]: want a name of its own, other than validation, and pairs with a file")
}

// Every test file is looked at for leaks, though its rows stand in the lines of another's;
// and one alone has no part that is tested once more.
func TestLeaksOfTestFiles(t *testing.T) {
	text := strings.Replace(minimal, "data: {", "data: {tests: [{name: MAY, pairs: {file: may.csv}}, {name: JUNE, pairs: {file: june.csv}}], ", 1)
	got, err := open(t, text, Options{}, "may.csv", "query,title,label\na,b,0\nc,d,1\n", "june.csv", "query,title,label\nBlue mugs,Cup,0\nnew,x,1\n")
	require.NoError(t, err)
	assert.Contains(t, strings.Join(split.Check(got.Source, ""), "\n"), "test set JUNE: 1 of 2 queries are in training, too")

	got, err = open(t, strings.Replace(minimal, "data: {", "data: {tests: [{name: MAY, pairs: {file: may.csv}}], ", 1), Options{},
		"may.csv", "query,title,label\nred tent,b,0\nunseen,d,1\n")
	require.NoError(t, err)
	assert.Len(t, got.Source.Tests, 1)
}

// What a prompt asks of the columns is read of pairs from elsewhere, too; what only
// judges, they may lack.
func TestUnlabelled(t *testing.T) {
	text := strings.Replace(minimal, "steps: [{name: label}]", `steps:
  - name: topic
    criteria: [{name: c, text: In Italian., when: 'columns.lang == "it"'}]
    rule: {truth: topic}
  - name: label`, 1)
	got, err := open(t, text, Options{}, "pairs.csv", "query,title,label,topic,lang\na,t,0,x,en\nb,t,1,x,it\nc,t,1,x,it\nd,t,1,x,it\ne,t,1,x,it\n")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "new.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(`{"query":"q","title":"t","lang":"it","label":"?"}`+"\n"+`{"query":"q","title":"u"}`), 0o600))
	var in []bool
	for e, err := range got.File.Unlabelled(file, "").Each(&rows.Report{}) {
		require.NoError(t, err)
		in = append(in, got.Source.Steps[0].Criteria[0].When(e))
	}
	assert.Equal(t, []bool{true, false}, in)
}

// Pairs that are scored have the fields that training has: a label, a rater's or a
// truth that stands beside them is none, nor is one needed. A header that the task gives
// is that of its own files.
func TestUnlabelledFields(t *testing.T) {
	text := strings.Replace(minimal, "{file: pairs.csv}", `{file: pairs.tsv, header: [query, title, label, r1, topic, fold, brand], columns: {raters: [r1], fields: {"*": "*"}}}`, 1)
	text = strings.Replace(text, "[{name: label}]", "[{name: topic, rule: {truth: topic}}, {name: label}]\nsplit: {column: fold}", 1)
	got, err := open(t, text, Options{}, "pairs.tsv", "a\tb\t0\t0\tx\t0\tAcme\nc\td\t1\t1\ty\t1\tBolt\n")
	require.NoError(t, err)
	assert.Equal(t, []rows.Field{{Name: "brand", Value: "Bolt"}}, got.Source.Train(0).Document.Fields)
	file := filepath.Join(t.TempDir(), "new.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(`{"query":"q","title":"t","brand":"Acme","label":1,"r1":1,"topic":"x","fold":1}`), 0o600))
	for e, err := range got.File.Unlabelled(file, "").Each(&rows.Report{}) {
		require.NoError(t, err)
		assert.Equal(t, []rows.Field{{Name: "brand", Value: "Acme"}}, e.Document.Fields)
	}
}

// What fails on a pair of the data is an error when they are read: a condition, which
// would be taken not to hold, and a template, for which another would be used.
func TestPromptsThatFailOnAPair(t *testing.T) {
	_, err := open(t, strings.Replace(minimal, "[{name: label}]", `
  - name: label
    criteria: [{name: c, text: Cheap., when: 'title != "Mug" || int(title) > 3'}]`, 1), Options{})
	assert.ErrorContains(t, err, "task.yaml:7:46: steps[0].criteria[0].when: on pairs.csv:4: ")
	_, err = open(t, with("", "prompt:\n  input: |\n    {{.Query}}\n    {{if .Title}}{{slice .Title 0 4}}{{end}}\n"), Options{})
	assert.ErrorContains(t, err, "prompt.input: on pairs.csv:4: ")
	assert.ErrorContains(t, err, "task.yaml:9:")
}

// What a template names of the columns is kept, as what an expression names, also of
// pairs that are scored.
func TestColumnsOfATemplate(t *testing.T) {
	text := with("", "prompt: {input: '{{.Query}}{{with .Query}} {{$.Column \"topic\"}}{{else}}{{printf \"%q\" (.Column \"why\")}}{{end}}'}\n")
	got, err := open(t, text, Options{})
	require.NoError(t, err)
	for i := range got.Source.Size {
		e := got.Source.Train(i)
		assert.Equal(t, strings.TrimRight(e.Query+" "+e.Columns["topic"], "\n"), got.Source.Input(e))
		assert.Contains(t, e.Columns, "topic")
		assert.Contains(t, e.Columns, "why")
	}
	assert.Equal(t, []string{"topic", "why"}, got.File.Unlabelled("new.csv", "").Pairs.Columns.Keep)
	_, err = open(t, strings.Replace(text, "topic", "tpoic", 1), Options{})
	assert.ErrorContains(t, err, `task.yaml:6:55: prompt.input: pairs.csv:2: field "tpoic": is missing`)
}

// The error of a column that no row has points at its name, in texts of many lines, too.
func TestColumnsOfLongTexts(t *testing.T) {
	_, err := open(t, with("", "prompt:\n  input: |\n    问 {{.Query}}\n\n    问 {{.Column \"why\"}} {{.Column \"topik\"}}\n"), Options{})
	assert.ErrorContains(t, err, `task.yaml:10:35: prompt.input: pairs.csv:2: field "topik": is missing`)
	_, err = open(t, with("[{name: label}]", "\n- name: label\n  rule:\n    expr: |\n      query == title or\n        columns[\"topik\"] == title\n"), Options{})
	assert.ErrorContains(t, err, `task.yaml:10:17: steps[0].rule.expr: pairs.csv:2: field "topik": is missing`)
	f := &File{Version: 1, Name: "x", Labels: []rows.Label{{Name: "0"}, {Name: "1"}}, Steps: []Step{{Name: "label"}}}
	f.Data.Pairs.File = filepath.Join(t.TempDir(), "pairs.csv")
	require.NoError(t, os.WriteFile(f.Data.Pairs.File, []byte(pairs), 0o600))
	f.Prompt.Input = "{{.Query}}\n{{.Column \"topik\"}}"
	_, err = f.Open(Options{})
	assert.ErrorContains(t, err, `taskfile: prompt.input: line 2, column 11: `)
	assert.ErrorAs(t, err, new(*rows.RowError))
}

// A field that no document has is an error, unless the columns of the data declare it,
// and so is a fact of no criterion.
func TestFieldsOfNoDocument(t *testing.T) {
	const (
		data   = "query,title,label,maker,size\na,t,0,Acme,\nb,t,1,,\nc,t,1,,\nd,t,1,,\ne,t,1,,\n"
		mapped = "pairs.csv, columns: {fields: {brand: maker, size: size}}"
		input  = "prompt:\n  input: |\n    {{.Query}}\n    {{.Field \"brand\"}} {{.Field \"size\"}}\n"
	)
	task := func(columns, more string) string {
		return strings.Replace(minimal, "pairs.csv", columns, 1) + more
	}
	when := func(condition string) string {
		return strings.Replace(task(mapped, ""), "{name: label}", "{name: label, criteria: [{name: a, text: b, when: '"+condition+"'}]}", 1)
	}
	for text, want := range map[string]string{
		task(mapped, input): "",
		task(mapped, strings.Replace(input, "brand", "brnad", 1)):                   `task.yaml:9:14: prompt.input: no document has the field "brnad"; the fields are brand, size`,
		task(mapped, strings.NewReplacer("brand", "b", "size", "s").Replace(input)): "task.yaml:9:14: prompt.input: no document has the field \"b\"; the fields are brand, size\ntask.yaml:9:29: prompt.input: no document has the field \"s\"; the fields are brand, size",
		task(`pairs.csv, columns: {fields: {"*": "*"}}`, input):                     "task.yaml:9:14: prompt.input: no document has the field \"brand\"; the fields are maker\ntask.yaml:9:33: prompt.input: no document has the field \"size\"; the fields are maker",
		task("pairs.csv", input):                               "no document has the field \"brand\" or any other; fields, under the columns of the data, makes fields of columns",
		when(`fields.brand == "Acme" || fields["size"] != ""`): "",
		when(`fields.brand == "Acme" || fields["siez"] != ""`): `task.yaml:5:93: steps[0].criteria[0].when: no document has the field "siez"; the fields are brand, size`,
		when(`fields.brnad == "Acme"`):                         `task.yaml:5:67: steps[0].criteria[0].when: no document has the field "brnad"; the fields are brand, size`,
		task("pairs.csv", "prompt: {input: '{{.Query}} {{.Fact \"words\"}}'}\ncriteria: [{kind: coverage, fact: true}, {name: words, kind: n-grams}]\n"): `task.yaml:6:37: prompt.input: no criterion that is a fact is called "words"; the file's are: coverage`,
	} {
		_, err := open(t, text, Options{}, "pairs.csv", data)
		switch {
		case want == "":
			assert.NoError(t, err, text)
		case strings.HasPrefix(want, "task"):
			assert.EqualError(t, err, want, text)
		default:
			assert.ErrorContains(t, err, want, text)
		}
	}

	// Not every document need be one of a pair.
	const more = `data:
  pairs: {file: pairs.csv}
  documents: {file: d.jsonl, columns: {document: doc}}
criteria: [{kind: coverage}]
prompt: {input: '{{.Query}} {{.Field "rare"}}'}
`
	_, err := open(t, strings.Replace(minimal, "data: {pairs: {file: pairs.csv}}\n", more, 1), Options{},
		"pairs.csv", "query,document_id,label\na,1,0\nb,1,1\nc,1,1\nd,1,1\ne,1,1\n", "d.jsonl", `{"id":1,"doc":{"title":"t"}}`+"\n"+`{"id":2,"doc":{"title":"u","rare":"x"}}`+"\n")
	assert.NoError(t, err)
}

// A condition on a criterion that a compact prompt writes for every pair is refused.
func TestConditionsOfACompactPrompt(t *testing.T) {
	text := strings.Replace(minimal, "{name: label}", `{name: label, criteria: [{name: a, text: Cheap., when: 'title == "Mug"'}]}`, 1)
	_, err := open(t, text, Options{})
	require.NoError(t, err)
	_, err = open(t, text+"prompt: {compact: true}\n", Options{})
	assert.EqualError(t, err, "task.yaml:5:64: steps[0].criteria[0].when: has no effect, for a compact prompt without a system text opens with all criteria of the last step: leave the condition out, or set prompt.system or prompt.compact: false")
	_, err = open(t, text+"prompt: {compact: true, system: Judge.}\n", Options{})
	require.NoError(t, err)
}

// A truth that the step does not allow and a fold that is no number make a row malformed,
// as a label does that is none.
func TestMalformedTruthsAreSkipped(t *testing.T) {
	text := strings.Replace(minimal, "[{name: label}]", "[{name: topic, answers: [same, other], rule: {truth: topic}}, {name: label}]\nsplit: {column: fold}", 1)
	const data = "query,title,label,topic,fold\na,t,0,same,0\na,u,1,smae,0\nb,t,1,,1\nc,t,0,other,x\nd,t,0,other,1\n"
	for text, want := range map[string]string{
		text: `pairs.csv:3: field "topic": is "smae", want one of same, other`,
		strings.Replace(text, "answers: [same, other], ", "", 1): `pairs.csv:5: field "fold": is "x", want the number of a fold`,
	} {
		_, err := open(t, text, Options{}, "pairs.csv", data)
		assert.EqualError(t, err, want)
	}
	got, err := open(t, text, Options{OnBadRow: rows.BadRowSkip}, "pairs.csv", data)
	require.NoError(t, err)
	assert.Equal(t, 3, got.Source.Size+len(got.Source.Validation)+len(got.Source.Tests[0].Examples))
	assert.Contains(t, got.Reports[0].String(), "5 rows, 2 malformed, skipped\n")
}

// A fold that is asked for is tested on, or it is an error.
func TestAFoldOfNothing(t *testing.T) {
	fold := 1
	_, err := open(t, strings.Replace(minimal, "data: {", "data: {tests: [{name: MAY, pairs: {file: pairs.csv}}], ", 1), Options{Fold: &fold})
	assert.EqualError(t, err, "task.yaml:4:15: data.tests: fold 1 is asked for, but the test sets have files of their own: leave the fold out")
	_, err = open(t, with("{pairs: {file: pairs.csv}}", "{generated: g}"), Options{Fold: &fold, Generators: map[string]Generator{"g": nil}})
	assert.EqualError(t, err, "task.yaml:4:19: data.generated: fold 1 is asked for, but generated data have none: leave the fold out")
}

func TestValidationOfOneQuery(t *testing.T) {
	const two = "query,title,label\na,t,0\na,u,1\nb,t,0\n"
	got, err := open(t, with("", "split: {folds: 2}\n"), Options{}, "pairs.csv", two)
	require.NoError(t, err)
	assert.Empty(t, got.Source.Validation)
	_, err = open(t, with("", "split: {folds: 2, validation: .1}\n"), Options{}, "pairs.csv", two)
	assert.EqualError(t, err, "pairs.csv: split: the training data have only one query, want two: one to train on, one to validate on")
}

func TestGivenFolds(t *testing.T) {
	given := func(columns, file string) (*Task, error) {
		return open(t, with("", "split: {given: {file: f.csv"+columns+"}, test: 3, validation: 0}\n"), Options{}, "f.csv", file)
	}
	const rest = "red tent,0\nblue mug,3\ngreen hat,1\nold lamp,2\nnew sofa,4\n"
	got, err := given(", query: q, fold: n", "q,n\nbig door,3\n"+rest)
	require.NoError(t, err)
	assert.Equal(t, []int{7, 3}, []int{got.Source.Size, len(got.Source.Tests[0].Examples)})
	_, err = given("", "query,fold\n"+rest)
	assert.EqualError(t, err, `pairs.csv:11: field "query": "big door" has no fold in f.csv`)
	_, err = given("", "query,fold\nbig door,-1\n"+rest)
	assert.EqualError(t, err, `f.csv:2: field "fold": is "-1", want a whole number from 0`)
	_, err = given("", "query,fold\nred tent,1\n"+rest)
	assert.EqualError(t, err, `f.csv:3: field "query": "red tent" occurs before, want one fold for each query`)
}

func TestGenerated(t *testing.T) {
	make := func(uint64) (Generated, error) {
		return Generated{
			Train: func(i int) rows.Example {
				return rows.Example{ID: fmt.Sprint(i), Query: "q", Document: rows.Document{Title: fmt.Sprint(i)}, Truth: []string{"1"}, Columns: map[string]string{"topic": "yes"}}
			},
			Tests: []rows.TestSet{{Name: "T", Examples: []rows.Example{{Query: "q", Document: rows.Document{Title: "t"}, Truth: []string{"0"}, Columns: map[string]string{"topic": "maybe"}}}}},
		}, nil
	}
	text := with("{pairs: {file: pairs.csv}}", "{generated: g}")
	text = strings.Replace(text, "[{name: label}]", "[{name: topic, rule: {truth: topic}}, {name: label}]", 1)
	o := Options{Generators: map[string]Generator{"g": make}}
	got, err := open(t, text, o)
	require.NoError(t, err)
	assert.Equal(t, []string{"yes", "1"}, got.Source.Train(7).Truth)
	assert.Equal(t, []string{"maybe", "0"}, got.Source.Tests[0].Examples[0].Truth)
	_, err = open(t, strings.Replace(text, "{name: topic,", "{name: topic, answers: [yes, no],", 1), o)
	assert.EqualError(t, err, `:0: field "topic": is "maybe", want one of yes, no`)
}

// A task may also be written in Go.
func TestInGo(t *testing.T) {
	f := &File{Version: 1, Name: "x", Labels: []rows.Label{{Name: "0"}, {Name: "1"}}, Steps: []Step{{Name: "a", Rule: Rule{Expr: "qury"}}, {Name: "label"}}}
	f.Data.Pairs.File = "pairs.csv"
	_, err := f.Open(Options{})
	assert.EqualError(t, err, "taskfile: steps[0].rule.expr: line 1, column 1: unknown name qury")
	assert.Empty(t, f.Digest())
}

// Whatever the file, Parse returns a valid task or errors with places.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(whole))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("{\"version\": 1, \"labels\": [0, {\"label\": 1}], \"criteria\": [{\"kind\": \"brand\", \"params\": {\"a\": [1, null]}}]}"))
	f.Add([]byte("x: &a [1,2]\ny: &b [*a,*a]\nlabels: [*b,*b]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(text, "f.yaml")
		if err != nil {
			if file != nil || !strings.HasPrefix(err.Error(), "f.yaml:") {
				t.Fatalf("%q", err)
			}
			return
		}
		require.NoError(t, file.Validate())
	})
}

// Whatever the expression, it compiles or the error names the setting; compiled, it ends
// soon.
func FuzzExpression(f *testing.F) {
	for _, s := range []string{`query == title`, `answers.a == "x" ? "1" : "0"`, `any(words(query), # in words(title))`, `has(title, answer)`, `found.c.score > .5 && fields["brand"] matches "a+"`, `reduce(1..100, #acc + #) == 1`, `repeat("ab", 9) == query`} {
		f.Add(s)
	}
	file := &File{}
	e := rows.Example{Query: "red tent", Document: rows.Document{Title: "Red tents", Fields: []rows.Field{{Name: "brand", Value: "a"}}}, Found: []rows.Found{{Name: "c", Score: 1}}}
	f.Fuzz(func(t *testing.T, text string) {
		var columns []string
		for _, n := range expressionNames(text)["columns"] {
			columns = append(columns, n.name)
		}
		x, err := file.compile("p", text, scope{criteria: []string{"c"}, columns: columns, earlier: []string{"a"}, answer: true}, true)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "taskfile: p: ") {
				t.Fatal(err)
			}
			return
		}
		x.truth(&e, []string{"a"}, []string{"x"}, []string{"x", "y"})
	})
}

// What the criteria need and no document has is said when the task is opened.
func TestCriteriaThatLackSomething(t *testing.T) {
	got, err := open(t, with("", "criteria:\n  - {kind: coverage}\n  - {name: maker, kind: brand}\n"), Options{})
	require.NoError(t, err)
	require.Len(t, got.Reports[0].Notes, 1)
	assert.Contains(t, got.Reports[0].Notes[0], `task.yaml:8:5: criteria[1]: "maker" tells little: no document has a brand field (one of: brand, `)
}

// A column that no row of JSON lines has is an error that says where the task names it.
func TestColumnsOfNoRow(t *testing.T) {
	var lines strings.Builder
	for i := range 10 {
		fmt.Fprintf(&lines, `{"query": "lamp %d", "title": "lamp", "label": %d, "topic": "same"}`+"\n", i, i%2)
	}
	task := func(columns, steps string) string {
		return "version: 1\nname: x\nlabels: [0, 1]\ndata:\n  pairs: {file: pairs.jsonl, columns: {" + columns + "}}\nsteps:\n" + steps + "- name: label\n"
	}
	const have = `pairs.jsonl: no row has the column "nope"; the columns are query, title, label, topic`
	for text, want := range map[string]string{
		task("keep: [nope]", ""):                                           `task.yaml:5:47: data.pairs.columns.keep[0]: ` + have,
		task("body: nope", ""):                                             `task.yaml:5:46: data.pairs.columns.body: ` + have,
		task("fields: {brand: nope}", ""):                                  `task.yaml:5:56: data.pairs.columns.fields.brand: ` + have,
		task("", "- name: a\n  rule: {truth: nope}\n"):                     `task.yaml:8:17: steps[0].rule.truth: ` + have,
		task("", "- name: a\n  rule: {truth: topic, reason: nope}\n"):      `task.yaml:8:32: steps[0].rule.reason: ` + have,
		task("", "- name: a\n  rule: {expr: columns.nope}\n"):              `task.yaml:8:24: steps[0].rule.expr: ` + have,
		task("query: nope, title: title", "") + "split: {validation: 0}\n": `task.yaml:5:47: data.pairs.columns.query: pairs.jsonl:1: field "nope": is missing, want a text that is not empty; the columns are query, title, label, topic`,
		task("fields: {brand: [topic, nope]}", ""):                         `task.yaml:5:64: data.pairs.columns.fields.brand[1]: ` + have,
		task("label: nope", ""):                                            `task.yaml:5:47: data.pairs.columns.label: pairs.jsonl:1: field "nope": is missing, want one of 0, 1; the columns are query, title, label, topic`,
		task("raters: [label, nope]", ""):                                  `task.yaml:5:56: data.pairs.columns.raters[1]: pairs.jsonl:1: field "nope": is missing, want a rater's label; the columns are query, title, label, topic`,
		task("", "") + "split: {given: {file: pairs.jsonl, fold: nope}}\n": `task.yaml:8:42: split.given.fold: pairs.jsonl:1: field "nope": is missing, want a text that is not empty; the columns are query, title, label, topic`,
		task("", "- name: a\n  rule: {truth: topic}\n"):                    "",
	} {
		_, err := open(t, text, Options{}, "pairs.jsonl", lines.String())
		if want == "" {
			assert.NoError(t, err)
		} else {
			assert.EqualError(t, err, want)
		}
	}
	_, err := open(t, task("query: q", ""), Options{}, "pairs.jsonl", `{"q": "lamp", "title": "lamp", "label": 1}`+"\n"+`{"title": "lamp", "label": 0}`+"\n")
	assert.EqualError(t, err, `pairs.jsonl:2: field "q": is missing, want a text that is not empty; the columns are title, label`, "a fault of one row")
	_, err = open(t, `{version: 1, name: x, labels: [0, 1], steps: [{name: label}], data: {weak: {pairs: 9}, documents: {file: pairs.jsonl}, pairs: {columns: {query: nope}},
  tests: [{name: T, pairs: {file: pairs.jsonl, columns: {query: nope}}}]}}`, Options{}, "pairs.jsonl", lines.String())
	assert.ErrorContains(t, err, `task.yaml:2:65: data.tests[0].pairs.columns.query: `, "columns of pairs without a file")
	_, err = open(t, task("query: nope", ""), Options{OnBadRow: rows.BadRowSkip}, "pairs.jsonl", lines.String())
	assert.EqualError(t, err, `task.yaml:5:47: data.pairs.columns.query: `+have, "rows that lack it are not skipped")
}

// Labels that descend are a note: where 1 is the best, they must.
func TestDescendingLabels(t *testing.T) {
	got, err := open(t, with("[0, 1]", "[1, 0]"), Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "0"}, got.Source.Labels)
	require.Len(t, got.Reports[0].Notes, 1)
	assert.Contains(t, got.Reports[0].Notes[0], "task.yaml:3:9: labels: 1, 0 descend: 1 is taken as the least relevant, 0 as the most")
	got, err = open(t, with("[0, 1]", "[{label: bad, values: [0]}, {label: good, values: [1]}]"), Options{})
	require.NoError(t, err)
	assert.Empty(t, got.Reports[0].Notes)
}
