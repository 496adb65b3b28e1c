package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
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
    {"name": "arms", "question": "", "seeds": [3, 4], "arms": ["permuted", "random-mask", "all-steps", "outcome-form", "imitate"], "rates": [1e-4], "change": {"flip_verdicts": 0.5, "wrong_rule": 0.5, "flip_outcomes": 0.5}}
  ]
}`

// A study that was stopped goes on with what is missing, and its rows are those of one
// that was not.
func TestStudyGoesOn(t *testing.T) {
	dir := t.TempDir()
	config, rows := filepath.Join(dir, "study.json"), filepath.Join(dir, "evidence", "rows.csv")
	require.NoError(t, os.WriteFile(config, []byte(smallStudy), 0o666))
	study := func(rows string) error {
		return do(t.Context(), io.Discard, options{config: config, rows: rows, dir: filepath.Join(dir, filepath.Base(rows)+".runs"), workers: 2})
	}
	require.NoError(t, study(rows))
	text, err := os.ReadFile(rows)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	// As if it had been killed in the middle of a line.
	cut := filepath.Join(dir, "evidence", "cut.csv")
	require.NoError(t, os.WriteFile(cut, []byte(strings.Join(lines[:4], "")+lines[4][:20]), 0o666))
	require.NoError(t, study(cut))
	again, err := os.ReadFile(cut)
	require.NoError(t, err)
	require.ElementsMatch(t, withoutSeconds(lines), withoutSeconds(strings.SplitAfter(string(again), "\n")))

	require.NoError(t, study(rows), "nothing is left")
	after, err := os.ReadFile(rows)
	require.NoError(t, err)
	require.Equal(t, string(text), string(after))

	require.NoError(t, do(t.Context(), io.Discard, options{config: config, rows: rows, report: filepath.Join(dir, "evidence")}))
	tables, err := os.ReadFile(filepath.Join(dir, "evidence", "tables.md"))
	require.NoError(t, err)
	require.Contains(t, string(tables), "| mask − outcome |")
	require.FileExists(t, filepath.Join(dir, "evidence", "effects.svg"))

	var out bytes.Buffer
	look := options{config: config, rows: rows, dir: filepath.Join(dir, "rows.csv.runs"), seeds: 1}
	require.NoError(t, do(t.Context(), &out, look))
	require.Contains(t, out.String(), "3,imitate,")
	require.Contains(t, out.String(), "Spearman")

	// What is watched is the run of the row.
	out.Reset()
	look.parts, look.watch = "grid", "mask@0.0002"
	require.NoError(t, do(t.Context(), &out, look))
	records, err := csv.NewReader(&out).ReadAll()
	require.NoError(t, err)
	require.Equal(t, watchColumns, records[0])
	require.Len(t, records, 1+6, "before the first update, and after each of five")
	greedy, err := strconv.ParseFloat(records[6][5], 64)
	require.NoError(t, err)
	r, err := readResults(rows)
	require.NoError(t, err)
	s, err := readStudy(config)
	require.NoError(t, err)
	require.Equal(t, r.of(s.part("grid"), "mask", 2e-4)[0].values["VALIDATION"], greedy)
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

// A part or a seed that the study does not have is an error, not a run of nothing or of
// another part's seeds.
func TestUnknownParts(t *testing.T) {
	dir := t.TempDir()
	config, rows := filepath.Join(dir, "study.json"), filepath.Join(dir, "rows.csv")
	require.NoError(t, os.WriteFile(config, []byte(strings.Replace(smallStudy, `"name": "arms"`, `"name": "others"`, 1)), 0o666))
	require.ErrorContains(t, do(t.Context(), io.Discard, options{config: config, rows: rows, parts: "grid,confrim", plan: true}), `no part "confrim"`)
	require.ErrorContains(t, do(t.Context(), io.Discard, options{config: config, rows: rows, seeds: 1}), `no part "arms"`)
	require.ErrorContains(t, do(t.Context(), io.Discard, options{config: config, rows: rows, parts: "grid", seeds: 3}), "part grid has 2 seeds, fewer than 3")
	require.NoFileExists(t, filepath.Join(dir, "gradients.csv"))
}

// The study that is committed is valid, and its settings are those that the rows were
// made with: a digest that changes would make all runs anew.
func TestStudyFile(t *testing.T) {
	s, err := readStudy("study.json")
	require.NoError(t, err)
	require.Equal(t, "2891045fe0d6", unit{s.part("grid"), 902, "outcome", 2e-4}.digest())
	outcome := func(part string) string { return unit{s.part(part), 1201, "outcome", 4e-4}.digest() }
	require.Equal(t, outcome("rule-20"), outcome("flip-10"), "outcome credit does not see which verdicts are wrong")
	require.NotEqual(t, outcome("rule-20"), outcome("label-10"))
	require.Equal(t, "1d40f8ca4a27", unit{part: &part{setting: s.Base.beforeRL()}, seed: 901}.digest(), "a warm-up")
	r, err := readResults("../../docs/evidence/rows.csv")
	require.NoError(t, err)
	require.NotEmpty(t, r.rows)
	for _, w := range r.rows {
		require.Equal(t, w.Digest, unit{s.part(w.Part), w.seed, w.arm, w.rate}.digest(), "%s, seed %d, %s", w.Part, w.seed, w.arm)
	}
}

func TestBadStudy(t *testing.T) {
	for change, want := range map[string]string{
		`"mask"]`:      `there is no arm "nonsense"`,
		`"grid": "gr`:  `grid "xx`,
		`"arithmetic"`: "want notes or arithmetic",
		`"version": 1`: "want version 1",
		`"LONGTAIL"`:   "LONGTAIL in measure",
	} {
		to := map[string]string{`"mask"]`: `"nonsense"]`, `"grid": "gr`: `"grid": "xx`, `"arithmetic"`: `"poetry"`, `"version": 1`: `"version": 2`, `"LONGTAIL"`: `"RANDOM"`}[change]
		text := strings.Replace(strings.ReplaceAll(smallStudy, `["mask", "outcome"], "grid"`, `["outcome", "mask"], "grid"`), change, to, 1)
		path := filepath.Join(t.TempDir(), "s.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		_, err := readStudy(path)
		require.ErrorContains(t, err, want)
	}
}

// What was measured before stays until a new measurement is whole.
func TestTableReplacesTheFileWhenItIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watch.csv")
	write := func(value float64, err error) error {
		w, failed := newTable(path, io.Discard, "seed", "norm")
		require.NoError(t, failed)
		return w.close(errors.Join(w.add([]float64{value}, 901), err))
	}
	require.NoError(t, write(1, nil))
	require.ErrorIs(t, write(2, context.Canceled), context.Canceled)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "seed,norm\n901,1\n", string(text))
}
