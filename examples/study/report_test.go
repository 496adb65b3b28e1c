package main

import (
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const reportStudy = `{
  "version": 1, "confirm": "confirm", "measure": "LONGTAIL", "primary": [["mask", "outcome"], ["mask", "verdict"]], "matters": 0.01, "deviation": [0.03, 0.02],
  "base": {"task": "notes", "steps": 5, "glance": 0.5, "dim": 16, "layers": 1, "heads": 2, "ff": 16, "max_seq": 128, "vocab": 290,
    "warmup": 3, "warmup_batch": 4, "warmup_rate": 1e-3, "updates": 5, "prompts": 2, "group": 2, "max_tokens": 12, "validation": 4, "test": 1000},
  "parts": [
    {"name": "grid", "question": "Which rate?", "seeds": [1, 2], "arms": ["outcome", "verdict", "mask", "prefix"], "rates": [1e-4, 2e-4, 4e-4]},
    {"name": "confirm", "question": "Is it better?", "seeds": [11, 30], "arms": ["outcome", "verdict", "mask"], "grid": "grid"},
    {"name": "arms", "question": "How do all compare?", "seeds": [11, 30], "arms": ["outcome", "verdict", "mask", "prefix"], "grid": "grid"},
    {"name": "small", "question": "A small model.", "seeds": [41, 48], "arms": ["outcome", "mask"], "grid": "grid", "beside": "plain", "change": {"dim": 8}},
    {"name": "flipped", "question": "Wrong verdicts.", "seeds": [41, 48], "arms": ["outcome", "mask"], "grid": "grid", "beside": "plain", "change": {"flip_verdicts": 0.2}},
    {"name": "plain", "question": "Nothing changed.", "seeds": [41, 48], "arms": ["outcome", "mask"], "grid": "grid"}
  ]
}`

// made is a study whose results have known answers: on the grid, 2e-4 is best for all
// arms. In each seed, the mask is right on 30 queries more than outcome credit, verdict
// credit on one more or fewer than the mask, and prefix on up to 60 more or fewer; but in the
// part plain the mask is right on 50 more than outcome credit.
type made struct{ *study }

func newMade(t *testing.T) made {
	dir := t.TempDir()
	path := filepath.Join(dir, "study.json")
	require.NoError(t, os.WriteFile(path, []byte(reportStudy), 0o666))
	return made{readStudy(path, filepath.Join(dir, "rows.csv"))}
}

func (m made) add(p *part, u unit) {
	w := &row{part: p.Name, values: map[string]float64{"VALIDATION": .5 - (u.rate-2e-4)*(u.rate-2e-4)*1e6, "tokens": 2000}}
	if len(p.Rates) == 0 {
		rng := rand.New(rand.NewPCG(uint64(u.seed), 1))
		right := 500 + rng.IntN(100)
		switch extra := rng.IntN(121) - 60; u.arm {
		case "mask":
			right += 30
			if p.Name == "plain" {
				right += 20
			}
		case "verdict":
			right += 29 + 2*(u.seed%2)
		case "prefix":
			right += 30 + extra
		}
		bits := new(big.Int)
		for i := range right {
			bits.SetBit(bits, (i*7+u.seed)%1000, 1)
		}
		w.correct, w.values["LONGTAIL"] = bits.Text(62), float64(right)/1000
	}
	m.keep(p.setting.digest(u), w)
}

// make makes the results of the first seeds of a part.
func (m made) make(name string, seeds int) {
	p := m.part(name)
	for _, seed := range p.seeds()[:seeds] {
		for _, arm := range p.Arms {
			for _, rate := range append([]float64{2e-4}, p.Rates...) {
				m.add(p, unit{seed, arm, rate})
			}
		}
	}
}

// sections writes the report and returns the tables by section, with the heading, and how
// many figures there are.
func (m made) sections(t *testing.T) (sections map[string]string, figures int) {
	dir := t.TempDir()
	m.report(dir)
	text, err := os.ReadFile(filepath.Join(dir, "tables.md"))
	require.NoError(t, err)
	require.NotContains(t, string(text), "NaN")
	sections = map[string]string{}
	for _, s := range strings.Split(string(text), "\n## ") {
		name, rest, _ := strings.Cut(s, "\n")
		sections[name] = rest
	}
	svg, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	require.NoError(t, err)
	return sections, len(svg)
}

func TestReportOfPartialData(t *testing.T) {
	m := newMade(t)
	got, figures := m.sections(t)
	require.Zero(t, figures)
	require.Contains(t, got["# The study's tables"], "| confirm | none of 60 yet | Is it better? |")
	require.Len(t, got, 1, "nothing has been run")

	m.make("grid", 1)
	got, _ = m.sections(t)
	require.Contains(t, got["grid"], "**Not complete: 12 of 24 runs.")
	require.Contains(t, got["grid"], "0.5000 (1)")
	require.NotContains(t, got["grid"], "**0.5000**", "nothing is best yet")
	require.Len(t, got, 2, "confirm waits for the grid")

	m.make("grid", 2)
	got, figures = m.sections(t)
	require.Zero(t, figures)
	require.Contains(t, got["grid"], "| mask | 0.4900 | **0.5000** | 0.4600 | 0 |")
	require.NotContains(t, got["grid"], "Not complete")
	require.Len(t, got, 2)
	require.Contains(t, got["# The study's tables"], "| confirm | none of 60 yet |")

	m.make("confirm", 1)
	got, _ = m.sections(t)
	require.Contains(t, got["confirm"], "**Not complete: 3 of 60 runs.")
	require.Contains(t, got["confirm"], "Primary contrast mask − outcome: too few seeds.")
	require.Contains(t, got["confirm"], "| mask − outcome | +3.00 | – | – | 1 of 1 | 1 | not complete |")

	m.make("confirm", 12)
	got, figures = m.sections(t)
	require.Equal(t, 2, figures, "arms shares these seeds")
	require.Contains(t, got["confirm"], "**Not complete: 36 of 60 runs.")
	require.NotContains(t, got["confirm"], "is better |")
	require.Contains(t, got["arms"], "**Not complete: 36 of 80 runs.")
	require.Contains(t, got["arms"], "| prefix | 0.0002 | 0 | – | – | – | – | – |")
	require.Contains(t, got["# The study's tables"], "| small | none of 16 yet |")
}

func TestReport(t *testing.T) {
	m := newMade(t)
	m.make("grid", 2)
	m.make("confirm", 20)
	m.make("arms", 20)
	m.make("small", 8)
	got, _ := m.sections(t)
	require.Contains(t, got["# The study's tables"], "| confirm | 60 of 60 |")
	require.NotContains(t, strings.Join([]string{got["grid"], got["confirm"], got["arms"], got["small"]}, ""), "Not complete")
	require.Contains(t, got["confirm"], "Primary contrast mask − verdict: 20 seeds with a deviation of 0.10 points see a difference of 0.06 points with a power of .8 in a test over seeds (planned: 20 seeds, 2.00, 1.25). The interval, which decides, draws queries too: it sees 0.")
	line := func(section, begins string) string {
		for l := range strings.Lines(got[section]) {
			if strings.HasPrefix(l, begins) {
				return strings.TrimSpace(l)
			}
		}
		t.Fatalf("%s has no %s:\n%s", section, begins, got[section])
		return ""
	}
	mask := line("confirm", "| mask − outcome | +3.00 |")
	require.Contains(t, mask, "| 20 of 20 |")
	require.True(t, strings.HasSuffix(mask, "| mask is better |"), mask)
	require.True(t, strings.HasSuffix(line("confirm", "| mask − verdict |"), "| no difference that matters |"))
	// Of many contrasts beside each other: seed by seed a coin's toss.
	require.True(t, strings.HasSuffix(line("arms", "| prefix − mask |"), "| not resolved |"), line("arms", "| prefix − mask |"))
	require.Contains(t, got["arms"], "all p are adjusted by Holm")
	require.Contains(t, got["confirm"], "the first 2 are primary")
	// 8 seeds out of 8: p = 2/2⁸, alone in its table.
	require.Contains(t, line("small", "| mask − outcome | +3.00 |"), "| 0.0078 | mask is better |")
}

// The columns about steps, and a second table of the primary contrasts, leave out the runs
// that lost the form; and seeds that were used before are said to be.
func TestReportOfLostForm(t *testing.T) {
	m := newMade(t)
	m.make("grid", 2)
	m.make("confirm", 20)
	m.make("small", 8)
	for _, w := range m.rows {
		w.values["LONGTAIL_inner"], w.values["LONGTAIL_malformed"] = .8, 0
	}
	for i, w := range m.of(m.part("confirm"), "outcome", 2e-4) {
		if i%5 == 0 { // 4 of 20
			w.values["LONGTAIL_inner"], w.values["LONGTAIL_malformed"] = .3, 1
		}
	}
	got, _ := m.sections(t)
	require.Regexp(t, `\| outcome \| 0.0002 \| 20 \| 0.\d+ \| – \| 0.800 \|.*\| 0.200 \| 4 \| – `, got["confirm"])
	_, form, _ := strings.Cut(got["confirm"], "both runs keep the form")
	require.Regexp(t, `\| mask − outcome \| \+3.00 \| .* \| 16 of 16 \|`, form)
	require.Contains(t, form, "of 20 |", "mask and verdict kept it")
	require.Contains(t, form, "goes along over these 16 pairs")
	require.Contains(t, form, "| live groups | – | – |", "there are none in these rows")
	require.Contains(t, got["arms"], "Seeds 11 to 30 are also in the part confirm")
	require.NotContains(t, got["confirm"]+got["small"], "are also in the part")
}

// By hand: of 100 answers 60 have right steps only, 54 of them a right label, and of the
// other 40 there are 10.
func TestDerivedColumns(t *testing.T) {
	r := results{rows: map[string]*row{}}
	w := &row{values: map[string]float64{"LONGTAIL": .64, "LONGTAIL_right_wrong_step": .1, "LONGTAIL_label_given_steps": .9}}
	r.keep("a", w)
	require.InDelta(t, .6, w.value(allRight), 1e-12)
	require.InDelta(t, .25, w.value(afterWrong), 1e-12)
	w = &row{values: map[string]float64{"LONGTAIL": .7, "LONGTAIL_right_wrong_step": .7}}
	r.keep("b", w)
	require.Zero(t, w.value(allRight))
	require.Equal(t, .7, w.value(afterWrong))
}

// A part beside another shows what it changes there: the same runs are said to be, and not
// compared.
func TestReportBeside(t *testing.T) {
	m := newMade(t)
	m.make("grid", 2)
	m.make("small", 8)
	got, _ := m.sections(t)
	require.Contains(t, got["small"], "is to be seen when that is complete")
	m.make("plain", 8)
	m.make("flipped", 8)
	got, _ = m.sections(t)
	_, small, _ := strings.Cut(got["small"], "against the part plain")
	require.Contains(t, small, "| outcome | +0.00 | [+0.00 +0.00] | 0.00 | 0 of 8 | 1 | no difference that matters |")
	require.Regexp(t, `\| mask \| -2.00 \| \[-\d.* -1.*\] \| 0.00 \| 0 of 8 \| 0.023 \| lower \|`, small)
	require.Regexp(t, `\| mask − outcome \| -2.00 \| .* \| 0.00 \| 0 of 8 \| 0.023 \| lower \|`, small)
	_, flipped, _ := strings.Cut(got["flipped"], "against the part plain")
	require.Contains(t, flipped, "The runs of outcome are the same in both")
	require.Regexp(t, `\| mask \| -2.00 \| .* \| 0.0078 \| lower \|`, flipped)
	require.NotContains(t, flipped, "| mask − outcome")
}

func TestWhatAContrastSays(t *testing.T) {
	s := newMade(t)
	c := contrast{above: "x is better", below: "y is better"}
	c.Runs, c.Low, c.High = 9, .001, .008
	require.Equal(t, "x is better, by too little to matter", s.says(c, .04))
	require.Equal(t, "not resolved, as one of several", s.says(c, .06))
	c.Low, c.High = -.05, -.001
	require.Equal(t, "y is better", s.says(c, .01))
	c.Runs = 5
	require.Equal(t, "too few seeds", s.says(c, .01))
}
