package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const smallStudy = `{
  "version": 1, "confirm": "a", "measure": "LONGTAIL", "primary": [["mask", "outcome"]], "matters": 0.01, "deviation": [0.03],
  "base": {"task": "arithmetic", "steps": 2, "glance": 0.5, "dim": 16, "layers": 1, "heads": 2, "ff": 16, "max_seq": 128, "vocab": 290,
    "warmup": 3, "warmup_batch": 4, "warmup_rate": 1e-3, "updates": 5, "prompts": 2, "group": 2, "max_tokens": 12, "validation": 4, "test": 6},
  "parts": [
    {"name": "grid", "question": "", "seeds": [1, 2], "arms": ["mask", "outcome"], "rates": [1e-4, 2e-4]},
    {"name": "a", "question": "", "seeds": [3, 5], "arms": ["mask", "outcome"], "grid": "grid"},
    {"name": "arms", "question": "", "seeds": [3, 4], "arms": ["permuted", "shuffled", "random-mask", "all-steps", "outcome-form", "imitate"], "rates": [1e-4], "change": {"flip_verdicts": 0.5, "wrong_rule": 0.5, "flip_outcomes": 0.5}},
    {"name": "best", "question": "", "seeds": [3, 4], "arms": ["mask"], "grid": "grid", "beside": "a", "change": {"best": 2}}
  ]
}`

// A study that was stopped goes on with what is missing, and its rows are those of one
// that was not.
func TestStudyGoesOn(t *testing.T) {
	dir := t.TempDir()
	evidence := filepath.Join(dir, "evidence")
	o := options{config: filepath.Join(dir, "study.json"), rows: filepath.Join(evidence, "rows.csv"), dir: filepath.Join(dir, "runs"), workers: 2}
	require.NoError(t, os.WriteFile(o.config, []byte(smallStudy), 0o666))
	study := func(o options) string {
		var out bytes.Buffer
		require.NoError(t, do(t.Context(), &out, o))
		return out.String()
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	study(o)
	text := read(o.rows)
	lines := strings.SplitAfter(text, "\n")
	// As if it had been killed in the middle of a line.
	cut := o
	cut.rows, cut.dir = filepath.Join(evidence, "cut.csv"), filepath.Join(dir, "cut")
	require.NoError(t, os.WriteFile(cut.rows, []byte(strings.Join(lines[:4], "")+lines[4][:20]), 0o666))
	study(cut)
	require.ElementsMatch(t, withoutSeconds(lines), withoutSeconds(strings.SplitAfter(read(cut.rows), "\n")))

	study(o)
	require.Equal(t, text, read(o.rows), "nothing was left")

	report := o
	report.report = evidence
	study(report)
	require.Contains(t, read(filepath.Join(evidence, "tables.md")), "| mask − outcome |")
	require.FileExists(t, filepath.Join(evidence, "effects.svg"))

	look := o
	look.seeds = 1
	out := study(look)
	require.Contains(t, out, "3,imitate,")
	require.Contains(t, out, "Spearman")
	gradients := read(filepath.Join(evidence, "gradients.csv"))
	require.True(t, strings.HasPrefix(out, gradients))
	// What was measured before stays until a new measurement is whole.
	stopped, stop := context.WithCancel(t.Context())
	stop()
	require.ErrorIs(t, do(stopped, io.Discard, look), context.Canceled)
	require.Equal(t, gradients, read(filepath.Join(evidence, "gradients.csv")))

	// What is watched is the run of the row.
	look.parts, look.watch = "grid", "mask@0.0002"
	records, err := csv.NewReader(strings.NewReader(study(look))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, watchColumns, records[0])
	require.Len(t, records, 1+6, "before the first update, and after each of five")
	greedy, err := strconv.ParseFloat(records[6][5], 64)
	require.NoError(t, err)
	s := readStudy(o.config, o.rows)
	require.Equal(t, s.of(s.part("grid"), "mask", 2e-4)[0].value("VALIDATION"), greedy)

	// A run of the best checkpoint ends with the best of its looks.
	p := s.part("best")
	require.NoError(t, s.choose(p))
	for i, u := range p.units() {
		logs, err := filepath.Glob(filepath.Join(o.dir, "*", "stages", p.setting.digest(u), "metrics.jsonl"))
		require.NoError(t, err)
		require.Len(t, logs, 1)
		looks := regexp.MustCompile(`"eval/accuracy":([^,}]+)`).FindAllStringSubmatch(read(logs[0]), -1)
		require.Len(t, looks, 2)
		most := 0.
		for _, l := range looks {
			most = max(most, must(strconv.ParseFloat(l[1], 64)))
		}
		require.Equal(t, most, s.of(p, u.arm, u.rate)[i].value("VALIDATION"))
	}
}

func withoutSeconds(lines []string) (all []string) {
	for _, l := range lines {
		f := strings.Split(l, ",")
		if len(f) > firstValue {
			f[firstValue] = ""
		}
		all = append(all, strings.Join(f, ","))
	}
	return all
}

// The study that is committed is valid, and its settings are those that the rows were
// made with: a digest that changes would make all runs anew.
func TestStudyFile(t *testing.T) {
	const rows = "../../docs/evidence/rows.csv"
	s := readStudy("study.json", rows)
	require.Equal(t, "2891045fe0d6", s.part("grid").setting.digest(unit{902, "outcome", 2e-4}))
	outcome := func(part string) string { return s.part(part).setting.digest(unit{1201, "outcome", 4e-4}) }
	require.Equal(t, outcome("rule-20"), outcome("flip-10"), "outcome credit does not see which verdicts are wrong")
	require.NotEqual(t, outcome("rule-20"), outcome("label-10"))
	require.Equal(t, "1d40f8ca4a27", s.Base.beforeRL().digest(unit{seed: 901}), "a warm-up")
	f, err := os.Open(rows)
	require.NoError(t, err)
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	for _, w := range records[1:] {
		seed, err1 := strconv.Atoi(w[2])
		rate, err2 := strconv.ParseFloat(w[4], 64)
		require.NoError(t, errors.Join(err1, err2))
		require.Equal(t, w[1], s.part(w[0]).setting.digest(unit{seed, w[3], rate}), w[:firstValue])
	}
}

// What the study or its rows do not allow is an error that says where, not a run of
// nothing or of another part's seeds.
func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		from, to string // in the study
		rows     string
		o        options
		want     string
	}{
		{`["mask", "outcome"], "rates"`, `["nonsense"], "rates"`, "", options{}, `study.json: parts.0 (grid): there is no arm "nonsense"`},
		{`"grid": "grid"`, `"grid": "arms-grid"`, "", options{}, `parts.1 (a): it has no rates, and grid "arms-grid"`},
		{`"grid": "grid"`, `"grid": "grid", "beside": "grid"`, "", options{}, `parts.1 (a): beside is "grid", want a part that has these seeds and arms`},
		{`"arithmetic"`, `"poetry"`, "", options{}, "want notes or arithmetic"},
		{`"group": 2`, `"group": 1`, "", options{}, "a size is too small"},
		{`"flip_verdicts"`, `"flip_verdict"`, "", options{}, `parts.2 (arms): json: unknown field "flip_verdict"`},
		{`"version": 1`, `"version": 2`, "", options{}, "want version 1"},
		{`"LONGTAIL"`, `"RANDOM"`, "", options{}, "LONGTAIL in measure"},
		{`[["mask", "outcome"]]`, `[["mask", "verdict"]]`, "", options{}, `the primary contrast ["mask" "verdict"] has an arm that part a lacks`},
		{"", "", "", options{parts: "grid,confrim"}, `no part "confrim"`},
		{`"name": "arms"`, `"name": "others"`, "", options{seeds: 1}, `no part "arms"`},
		{"", "", "", options{parts: "grid", seeds: 3}, "part grid has 2 seeds, fewer than 3"},
		{"", "", "", options{watch: "mosk@1"}, `-watch mosk@1: there is no arm "mosk"`},
		{"", "", "", options{watch: "mask@fast"}, `"fast": invalid syntax`},
		{"", "", "part,digest\n", options{}, "rows.csv: the columns are [part digest], want"},
		{"", "", strings.Join(columns, ",") + "\n" + strings.Repeat("x,", len(columns)-1) + "\n", options{}, `rows.csv:2: seconds: strconv.ParseFloat: parsing "x"`},
	} {
		dir := t.TempDir()
		c.o.config, c.o.rows, c.o.plan = filepath.Join(dir, "study.json"), filepath.Join(dir, "rows.csv"), true
		require.NoError(t, os.WriteFile(c.o.config, []byte(strings.Replace(smallStudy, c.from, c.to, 1)), 0o666))
		require.NoError(t, os.WriteFile(c.o.rows, []byte(c.rows), 0o666))
		require.ErrorContains(t, do(t.Context(), io.Discard, c.o), c.want)
		require.NoFileExists(t, filepath.Join(dir, "gradients.csv"))
	}
}
