package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/serve"
	"github.com/stepwise-rl/stepwise/relevance/taskfile"
)

const relevanceTask = `
version: 1
name: lamps
labels: [{label: 0, meaning: no}, {label: 1, meaning: yes}]
data: {pairs: {file: pairs.jsonl}}
criteria: [{name: words, kind: coverage, params: {field: title}}]
prompt: {compact: true}
steps:
  - {name: words, instruction: Look for the words., rule: {criterion: words}}
  - {name: label, instruction: Give the label.}
`

const relevanceRun = `{
  "policy": {"kind": "scratch", "vocab": 400, "shape": {"dim": 32, "layers": 1, "heads": 2, "ff": 64, "max_seq": 192}},
  "max_tokens": 64,
  "warmup": {"steps": 30, "batch": 8, "lr": 0.01, "probe_prompts": 4},
  "reinforce": {"steps": 2, "prompts": 4, "group": 4, "credits": [{"name": "mask", "credit": {"kind": "mask"}}]},
  "student": {"encoder": {"kind": "scratch", "vocab": 400, "shape": {"dim": 32, "layers": 1, "heads": 2, "ff": 64, "max_seq": 64}}, "examples": 16, "epochs": 1, "max_tokens": 64},
  "validation": {"rows": 10}, "checkpoint_every": 1, "sample_every": 1, "baseline_rows": 50
}`

// The help of train has the shortest task file of the documentation, and one default of -fold.
func TestRelevanceTrainHelp(t *testing.T) {
	status, out, errs := stepwise("", "relevance", "train", "-h")
	require.Zero(t, status, errs)
	require.Contains(t, out, "usage: stepwise relevance train [flags] TASK\n")
	require.Contains(t, out, shortestTask)
	require.Regexp(t, `-fold int\n.*; -1 is the task's \(default -1\)\n`, out)
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "taskfile.md"))
	require.NoError(t, err)
	require.Contains(t, string(docs), "```yaml\n"+shortestTask+"```")
	_, err = taskfile.Parse([]byte(shortestTask), "task.yaml")
	require.NoError(t, err)
}

// A task from its file to labels: train, resume, evaluate, score, report and compare.
func TestRelevance(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	var pairs strings.Builder
	colours := []string{"red", "blue", "green", "grey", "pink"}
	for i := range 60 {
		asked, is := colours[i%5], colours[i/5%5]
		label := 0
		if asked == is {
			label = 1
		}
		fmt.Fprintf(&pairs, `{"query": "%s lamp %d", "document": {"title": "%s lamp"}, "label": %d}`+"\n", asked, i/3, is, label)
	}
	write("pairs.jsonl", pairs.String())
	task, runFile := write("task.yaml", relevanceTask), write("how.json", relevanceRun)
	fresh := write("new.jsonl", `{"query": "red lamp", "document": {"title": "red lamp <b>"}}`+"\n"+`{"id": "x", "query": "blue lamp", "document": "green lamp"}`+"\n")
	runDir := filepath.Join(dir, "run")

	stepwise := func(status int, args ...string) (out, errs string) {
		t.Helper()
		var o, e bytes.Buffer
		require.Equal(t, status, runRelevance(args, nil, &o, &e), "%s\n%s", o.String(), e.String())
		return o.String(), e.String()
	}
	out, errs := stepwise(0, "train", task, "-run", runFile, "-out", runDir)
	require.Contains(t, errs, "60 rows")
	require.Regexp(t, `training +\d+ rows of \d+ queries\n.*validation +\d+ rows`, out)
	require.Contains(t, out, "Baseline: logistic regression on what criteria find")
	require.Contains(t, out, "best model: ")
	require.Contains(t, out, "report: "+filepath.Join(runDir, "report.html"))
	out, _ = stepwise(0, "train", "-resume", "-run", runFile, "-out", runDir, task)
	require.Contains(t, out, "done before")
	_, errs = stepwise(1, "train", "-resume", "-run", runFile, "-seed", "99", "-out", runDir, task)
	require.Contains(t, errs, "give other settings than the run")
	out, _ = stepwise(0, "train", "-show", "-run", runFile, task)
	require.Contains(t, out, `"seed"`)
	_, errs = stepwise(1, "train", "-run", runFile, "-out", runDir, task)
	require.Contains(t, errs, "it holds a run already: resume it, or choose another folder (with -resume, or with another -out)")

	out, _ = stepwise(0, "eval", "-model", filepath.Join(runDir, "student"), task)
	require.Contains(t, out, "TEST")
	out, _ = stepwise(0, "score", "-model", filepath.Join(runDir, "model"), "-steps", task, fresh)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	var line struct {
		ID, Query, Title, Label string
		P                       []float64
		Model                   struct{ Version, Digest string }
		Steps                   []struct {
			Name, Answer string
			Found        struct{ Answer, Reason string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &line))
	require.Equal(t, []string{"1", "red lamp", "red lamp <b>"}, []string{line.ID, line.Query, line.Title})
	require.Contains(t, lines[0], `"title":"red lamp <b>"`)
	require.NotEmpty(t, line.Steps[0].Found.Reason, "what the criterion finds itself")
	require.Equal(t, "all", line.Steps[0].Found.Answer)
	served, err := serve.NewModel(t.Context(), filepath.Join(runDir, "model"), nil)
	require.NoError(t, err)
	require.Equal(t, []string{served.Version, served.Digest}, []string{line.Model.Version, line.Model.Digest})
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &line))
	require.Equal(t, []string{"x", "green lamp"}, []string{line.ID, line.Title})

	var position, positionErrs bytes.Buffer
	require.Zero(t, runPosir([]string{"eval", "-bm25", "-rerank", filepath.Join(runDir, "student"), "-task", task, "-rerank-depth", "3", "-replicates", "99", ownBenchmark(t)},
		nil, &position, &positionErrs), positionErrs.String())
	require.Contains(t, position.String(), "over 80 queries")
	student := filepath.Join(runDir, "student")
	testServe(t, student, task)
	require.NotZero(t, runPosir([]string{"eval", "-bm25", "-rerank", student, ownBenchmark(t)}, nil, &position, &positionErrs))
	require.Contains(t, positionErrs.String(), "needs the task that it was trained for: -task")
	mixed := write("mixed.jsonl", `{"query": "red lamp", "document": {"title": "red lamp"}}`+"\n{}\n")
	out, _ = stepwise(1, "score", "-model", student, task, mixed)
	require.Regexp(t, `^{"id":"1",.*\n$`, out, "the row before the malformed one")
	out, errs = stepwise(0, "score", "-model", student, "-on-bad-row", "skip", task, mixed)
	require.Len(t, strings.Split(strings.TrimSpace(out), "\n"), 1)
	require.Contains(t, errs, "1 malformed, skipped")
	pair, long := `{"query": "red lamp", "document": "red lamp"}`+"\n", `{"query": "`+strings.Repeat("red lamp ", 100)+`", "document": "lamp"}`+"\n"
	unreadable := write("unreadable.jsonl", pair+long+"{}\n"+pair+long)
	_, errs = stepwise(1, "score", "-model", student, task, unreadable)
	require.Contains(t, errs, `unreadable.jsonl:2: field "query": is too long`)
	out, errs = stepwise(0, "score", "-model", student, "-on-bad-row", "skip", task, unreadable)
	require.Regexp(t, `^{"id":"1",.*\n{"id":"4",.*\n$`, out)
	require.Contains(t, errs, "5 rows, 3 malformed, skipped")
	require.Contains(t, errs, `unreadable.jsonl:5: field "query": is too long`)
	_, errs = stepwise(1, "score", "-model", student, "-on-bad-row", "skip", task, write("all.jsonl", pair+strings.Repeat(long, 11)))
	require.Contains(t, errs, "11 of 12 rows are malformed, too many to skip")
	many := write("many.jsonl", `{"query": "red lamp", "document": "red lamp"}`+"\n"+strings.Repeat("{}\n", 11))
	_, errs = stepwise(1, "score", "-model", student, "-on-bad-row", "skip", task, many)
	require.Contains(t, errs, "11 of 12 rows are malformed, too many to skip")
	require.NotContains(t, errs, "conflict", "training has said what is in the data")
	require.NotContains(t, errs, "are not those that")
	fewer := t.TempDir()
	few := strings.Join(strings.SplitAfter(pairs.String(), "\n")[:40], "")
	require.NoError(t, os.WriteFile(filepath.Join(fewer, "pairs.jsonl"), []byte(few+`{"query": "red lamp 7", "document": {"title": "a red desk"}, "label": 0}`+"\n"), 0o600))
	_, errs = stepwise(0, "score", "-model", student, "-data-dir", fewer, task, fresh)
	require.Contains(t, errs, "are not those that "+student+" was trained with")

	out, _ = stepwise(0, "report", runDir)
	require.Contains(t, out, "What was asked")
	require.Contains(t, out, "<li class=\"any\">60 rows</li>")
	out, _ = stepwise(0, "report", "-compare", runDir, runDir)
	require.Contains(t, out, "+0.000 [+0.000 +0.000]")
	out, _ = stepwise(0, "report", "-stages", "warmup,warmup", runDir)
	require.Contains(t, out, "closeness")
	require.Contains(t, out, "+0.0000 [–]")
	require.NotContains(t, out, "NaN", "one seed has no deviation")
	require.Contains(t, out, "too few seeds")
	_, errs = stepwise(1, "report", "-stages", "warmup,mask", runDir)
	require.Regexp(t, `no stage "mask" has predictions; there are those of .*warmup`, errs)
	copied := filepath.Join(t.TempDir(), "run[1]")
	require.NoError(t, os.CopyFS(copied, os.DirFS(runDir)))
	_, errs = stepwise(1, "report", "-stages", "warmup,mask", copied)
	require.Regexp(t, `no stage "mask" has predictions; there are those of .*warmup`, errs, "a folder's name is no pattern")
	_, errs = stepwise(1, "report", "-stages", "warmup,warmup", "-sets", "fold *", runDir)
	require.Regexp(t, `no test set matches "fold \*"; there are .*TEST`, errs)
	stepwise(0, "report", "-stages=warmup,warmup", "-o", filepath.Join(dir, "stages.txt"), runDir)
	text, err := os.ReadFile(filepath.Join(dir, "stages.txt"))
	require.NoError(t, err)
	require.Contains(t, string(text), "closeness")
	page := write("page.html", "what was there")
	stepwise(1, "report", "-o", page, dir)
	text, err = os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, "what was there", string(text), "an error leaves the file as it is")
	for _, bad := range [][]string{{runDir, runDir}, {"-compare", runDir}, {"-stages", "warmup", runDir}, {"-stages", "a,b"}, {"-stages", "a,b", "-compare", runDir, runDir}} {
		_, errs = stepwise(exitUsage, append([]string{"report"}, bad...)...)
		require.Contains(t, errs, "want ")
	}
	for _, seed := range []string{"9", "0"} {
		out, _ = stepwise(0, "train", "-show", "-quick", "-seed", seed)
		require.Contains(t, out, `"seed": `+seed+",")
	}
	_, errs = stepwise(1, "train", "-resume", "-run", runFile, "-seed", "0", "-out", runDir, task)
	require.Contains(t, errs, "give other settings than the run")

	other := write("other.yaml", strings.Replace(relevanceTask, "Give the label.", "Decide.", 1))
	for _, c := range []struct {
		want string
		args []string
	}{
		{"trained for another task", []string{"score", "-model", filepath.Join(runDir, "student"), other, fresh}},
		{"is no model folder", []string{"eval", "-model", dir, task}},
		{"empty.jsonl: no pairs", []string{"score", "-model", student, task, write("empty.jsonl", "")}},
		{"a model is used with the data of its task", []string{"score", "-model", student, "-data-dir", t.TempDir(), task, fresh}},
		{"it holds no run", []string{"report", dir}},
		{"unknown field", []string{"train", "-run", write("bad.yaml", "warm_up: {}"), task}},
	} {
		_, errs := stepwise(1, c.args...)
		require.Contains(t, errs, c.want)
	}
	_, errs = stepwise(2, "train", "-resume", task)
	require.Contains(t, errs, "-resume needs -out")
	_, errs = stepwise(2, "score", task)
	require.Contains(t, errs, "1 argument, want TASK PAIRS")
	_, errs = stepwise(2, "score", "-model", "m", task, "-")
	require.Contains(t, errs, `PAIRS is "-", want a file whose name ends in .jsonl, .csv, .tsv, .qrels or .parquet`)
	for _, args := range [][]string{{"eval", task}, {"score", task, fresh}} {
		_, errs = stepwise(2, args...)
		require.Contains(t, errs, "-model is missing, want the folder model or student of a run")
	}
}
