package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/stepwise-rl/stepwise/eval"
)

// malformed is the share of malformed answers above which a run has lost the form.
const malformed = .1

func (w *row) lostForm(set string) bool { return w.value(set+"_malformed") > malformed }

// pairs are the rows of two arms by seed, where both are there.
func (s *study) pairs(p *part, a, b string) (pairs [][2]*row) {
	ofB := s.of(p, b, p.rates[b][0])
	for i, x := range s.of(p, a, p.rates[a][0]) {
		if y := ofB[i]; x != nil && y != nil {
			pairs = append(pairs, [2]*row{x, y})
		}
	}
	return pairs
}

// pairsInForm are those of which both runs keep the form.
func (s *study) pairsInForm(p *part, a, b string) [][2]*row {
	return slices.DeleteFunc(s.pairs(p, a, b), func(x [2]*row) bool { return x[0].lostForm("LONGTAIL") || x[1].lostForm("LONGTAIL") })
}

// contrast is a difference of two arms, the first minus the second.
type contrast struct {
	a, b string
	eval.Contrast
}

// compare contrasts two arms of a part over pairs of their rows.
func compare(p *part, a, b string, pairs [][2]*row) contrast {
	var x, y [][]float64
	for _, pair := range pairs {
		x, y = append(x, pair[0].bits(p.setting.Test)), append(y, pair[1].bits(p.setting.Test))
	}
	return contrast{a, b, eval.CompareRuns(x, y, bootstrap)}
}

var bootstrap = eval.BootstrapOptions{Seed: 1}

// contrasts are the primary ones, then every arm against both controls and the mask; by
// their arms also turned around.
func (s *study) contrasts(p *part) (all []contrast, by map[[2]string]contrast) {
	by = map[[2]string]contrast{}
	add := func(a, b string) {
		if _, done := by[[2]string{a, b}]; done || a == b || !slices.Contains(p.Arms, a) || !slices.Contains(p.Arms, b) {
			return
		}
		c := compare(p, a, b, s.pairs(p, a, b))
		all = append(all, c)
		by[[2]string{a, b}] = c
		c.a, c.b = b, a
		c.Estimate, c.Low, c.High = -c.Estimate, -c.High, -c.Low
		by[[2]string{b, a}] = c
	}
	for _, c := range s.Primary {
		add(c[0], c[1])
	}
	for _, arm := range p.Arms {
		for _, b := range []string{"outcome", "verdict", "mask"} {
			add(arm, b)
		}
	}
	return all, by
}

// says is what a contrast shows, in words: above and below are those for a difference. p
// is its p-value where others were looked at beside it, and NaN for a primary contrast, of
// which the interval alone decides.
func (s *study) says(c eval.Contrast, p float64, above, below string) string {
	finding := c.Finding(s.Matters)
	differs := map[eval.Finding]string{eval.FindingBetter: above, eval.FindingWorse: below}[finding]
	switch {
	case c.Runs < eval.FewestRuns:
		return "too few seeds"
	case differs == "":
		return finding.String()
	case p > .05:
		return "not resolved, as one of several"
	case max(math.Abs(c.Low), math.Abs(c.High)) < s.Matters:
		return differs + ", by too little to matter"
	}
	return differs
}

// report writes tables.md, a section per part, and the figures.
func (s *study) report(dir string) {
	check(os.MkdirAll(dir, 0o777))
	var head, sections, figures bytes.Buffer
	fmt.Fprintf(&head, "# The study's tables\n\nWritten by `go run ./examples/study -report`. Accuracy is a share, and differences of it are in points (hundredths). Every number is of the last checkpoint.\n\n")
	tableHead(&head, "part", "runs", "question")
	var names []string
	effects := make([]series, len(s.Primary))
	for k, c := range s.Primary {
		effects[k].name = c[0] + " − " + c[1]
	}
	for i := range s.Parts {
		p := &s.Parts[i]
		done, total := s.progress(p)
		if done == 0 {
			tableRow(&head, p.Name, fmt.Sprintf("none of %d yet", total), p.Question)
			continue
		}
		tableRow(&head, p.Name, fmt.Sprintf("%d of %d", done, total), p.Question)
		fmt.Fprintf(&sections, "## %s\n\n%s Seeds %d to %d.\n\n", p.Name, p.Question, p.Seeds[0], p.Seeds[1])
		name := p.Name
		if done < total {
			fmt.Fprintf(&sections, "**Not complete: %d of %d runs. What follows will change and shows nothing yet.**\n\n", done, total)
			name += fmt.Sprintf(" (%d/%d)", done, total)
		}
		if len(p.Rates) > 0 {
			s.gridTable(&sections, p)
			continue
		}
		all, by := s.contrasts(p)
		s.armTable(&sections, p)
		s.contrastTable(&sections, p, all, done < total)
		if q := s.part(p.Beside); q != nil && done == total {
			s.besideTable(&sections, p, q)
		}
		if p.Name == s.Confirm {
			s.formTable(&sections, p)
			s.seedTable(&sections, p)
		}
		names = append(names, name)
		for k, c := range s.Primary {
			effects[k].contrasts = append(effects[k].contrasts, by[c])
		}
		if p.Name == "arms" {
			controls := []series{{name: "minus outcome"}, {name: "minus verdict"}}
			for _, arm := range p.Arms {
				controls[0].contrasts = append(controls[0].contrasts, by[[2]string{arm, "outcome"}])
				controls[1].contrasts = append(controls[1].contrasts, by[[2]string{arm, "verdict"}])
			}
			fmt.Fprint(&figures, "![All arms beside the controls, in the part arms](arms.svg)\n\n")
			s.figure(filepath.Join(dir, "arms.svg"), p.Arms, controls)
		}
	}
	if len(names) > 0 {
		fmt.Fprint(&figures, "![The primary contrasts in every part](effects.svg)\n\n")
		s.figure(filepath.Join(dir, "effects.svg"), names, effects)
	}
	text := strings.TrimRight(head.String()+"\n"+figures.String()+sections.String(), "\n") + "\n"
	check(os.WriteFile(filepath.Join(dir, "tables.md"), []byte(text), 0o666))
}

func tableRow(w io.Writer, cells ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

func tableHead(w io.Writer, cells ...string) {
	tableRow(w, cells...)
	fmt.Fprintf(w, "%s|\n", strings.Repeat("|---", len(cells)))
}

// number writes a number, or a dash for one that is not known.
func number(format string, x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	return fmt.Sprintf(format, x)
}

func (s *study) gridTable(w io.Writer, p *part) {
	fmt.Fprintf(w, "Mean accuracy on validation queries by learning rate. The best is in bold, once all are there; a number of seeds stands beside a mean that lacks some. The last column counts the runs that end with more than a tenth of the answers malformed.\n\n")
	grid := p.rates[p.Arms[0]]
	head := []string{"arm"}
	for _, rate := range grid {
		head = append(head, fmt.Sprint(rate))
	}
	tableHead(w, append(head, "malformed")...)
	for _, arm := range p.Arms {
		lost := 0
		best, _ := s.bestRate(p, arm, grid)
		cells := []string{arm}
		for _, rate := range grid {
			rows := present(s.of(p, arm, rate))
			cell := number("%.4f", mean(rows, "VALIDATION"))
			if rate == best {
				cell = "**" + cell + "**"
			}
			if n := len(rows); 0 < n && n < len(p.seeds()) {
				cell += fmt.Sprintf(" (%d)", n)
			}
			for _, w := range rows {
				if w.lostForm("VALIDATION") {
					lost++
				}
			}
			cells = append(cells, cell)
		}
		tableRow(w, append(cells, fmt.Sprint(lost))...)
	}
	fmt.Fprintln(w)
}

// present are the rows that there are.
func present(rows []*row) []*row {
	return slices.DeleteFunc(rows, func(w *row) bool { return w == nil })
}

func (s *study) armTable(w io.Writer, p *part) {
	tableHead(w, "arm", "learning rate", "seeds", "LONGTAIL", "RANDOM", "inner steps right", "all of them", "label right after that", "after a wrong step", "commonest answer", "malformed", "lost the form", "sampled reward", "live groups", "tokens, thousands")
	for _, arm := range p.Arms {
		rate := p.rates[arm][0]
		all := present(s.of(p, arm, rate))
		kept := slices.DeleteFunc(slices.Clone(all), func(w *row) bool { return w.lostForm("LONGTAIL") })
		cells := []string{arm, fmt.Sprint(rate), fmt.Sprint(len(all))}
		add := func(rows []*row, columns ...string) {
			for _, c := range columns {
				cells = append(cells, number("%.3f", mean(rows, c)))
			}
		}
		add(all, "LONGTAIL", "RANDOM")
		add(kept, "LONGTAIL_inner", allRight, "LONGTAIL_label_given_steps", afterWrong)
		add(all, "LONGTAIL_mode", "LONGTAIL_malformed")
		cells = append(cells, fmt.Sprint(len(all)-len(kept)))
		add(all, "reward", "live")
		tableRow(w, append(cells, number("%.0f", mean(all, "tokens")/1000))...)
	}
	fmt.Fprint(w, "\nColumns without a name of their own are of LONGTAIL; reward and live groups are of the last fifth of training, sampled. A run has lost the form if more than a tenth of its answers are malformed. The four columns about steps leave such runs out: steps that an answer goes on with after its label would count as wrong inner ones.\n\n")
}

// formTable is how the primary contrasts depend on the runs that lost the form.
func (s *study) formTable(w io.Writer, p *part) {
	fmt.Fprint(w, "The same over the pairs of which both runs keep the form. Training chose these seeds, so this says what the differences rest on and confirms nothing.\n\n")
	tableHead(w, contrastHead...)
	for _, c := range s.Primary {
		tableRow(w, compare(p, c[0], c[1], s.pairsInForm(p, c[0], c[1])).cells()...)
	}
	fmt.Fprintln(w)
}

// seedTable is with what the first primary contrast goes along from seed to seed.
func (s *study) seedTable(w io.Writer, p *part) {
	a, b := s.Primary[0][0], s.Primary[0][1]
	pairs := s.pairsInForm(p, a, b)
	of := func(column string) (ofA, difference []float64) {
		for _, pair := range pairs {
			x, y := pair[0].value(column), pair[1].value(column)
			ofA, difference = append(ofA, x), append(difference, x-y)
		}
		return ofA, difference
	}
	_, points := of(s.Measure)
	fmt.Fprintf(w, "With what %s − %s goes along over these %d pairs: Spearman's correlation of it with each share, of %[1]s and as a difference. A share of the same answers is no cause.\n\n", a, b, len(pairs))
	tableHead(w, "share", a, a+" − "+b)
	for _, share := range [][2]string{
		{"all inner steps right", allRight}, {"label right after that", "LONGTAIL_label_given_steps"}, {"label right after a wrong step", afterWrong}, {"live groups", "live"},
	} {
		ofA, difference := of(share[1])
		tableRow(w, share[0], number("%+.2f", eval.Spearman(ofA, points)), number("%+.2f", eval.Spearman(difference, points)))
	}
	fmt.Fprintln(w)
}

var contrastHead = []string{"difference", "points", "95% interval, seeds and queries drawn", "deviation over seeds", "first better in"}

// cells are those of a contrast in a table.
func (c contrast) cells() []string {
	interval := "–"
	if c.Runs > 1 {
		interval = fmt.Sprintf("[%+.2f %+.2f]", 100*c.Low, 100*c.High)
	}
	return []string{c.a + " − " + c.b, number("%+.2f", 100*c.Estimate), interval, number("%.2f", 100*c.Deviation), fmt.Sprintf("%d of %d", c.Better, c.Runs)}
}

// besideTable is what a complete part changes against the part q beside it: every arm,
// and the primary contrasts, which are differences of differences then.
func (s *study) besideTable(w io.Writer, p, q *part) {
	if done, total := s.progress(q); done < total {
		fmt.Fprintf(w, "What it changes against the part %s is to be seen when that is complete.\n\n", q.Name)
		return
	}
	only := *q // the seeds of p
	only.Seeds = p.Seeds
	q = &only
	answers := func(p *part, arm string) (all [][]float64) {
		for _, w := range s.of(p, arm, p.rates[arm][0]) {
			all = append(all, w.bits(p.setting.Test))
		}
		return all
	}
	less := func(x, y [][]float64) [][]float64 {
		for i := range x {
			for j := range x[i] {
				x[i][j] -= y[i][j]
			}
		}
		return x
	}
	var all []contrast
	var same []string
	for _, arm := range p.Arms {
		if slices.Equal(s.of(p, arm, p.rates[arm][0]), s.of(q, arm, q.rates[arm][0])) {
			same = append(same, arm)
			continue
		}
		all = append(all, contrast{a: arm, Contrast: eval.CompareRuns(answers(p, arm), answers(q, arm), bootstrap)})
	}
	for _, c := range s.Primary {
		a, b := c[0], c[1]
		if slices.Contains(p.Arms, a) && slices.Contains(p.Arms, b) && !slices.Contains(same, a) && !slices.Contains(same, b) {
			all = append(all, contrast{a: a + " − " + b, Contrast: eval.CompareRuns(less(answers(p, a), answers(p, b)), less(answers(q, a), answers(q, b)), bootstrap)})
		}
	}
	fmt.Fprintf(w, "What it changes against the part %s, seed by seed; all p are adjusted by Holm.", q.Name)
	for _, arm := range same {
		fmt.Fprintf(w, " The runs of %s are the same in both: what changes an arm changes its difference to it as much.", arm)
	}
	fmt.Fprint(w, "\n\n")
	tableHead(w, slices.Concat([]string{"change of"}, contrastHead[1:4], []string{"higher in", "p", "shows"})...)
	var ps []float64
	for _, c := range all {
		ps = append(ps, c.P)
	}
	for i, p := range eval.Holm(ps) {
		c := all[i]
		tableRow(w, slices.Concat([]string{c.a}, c.cells()[1:], []string{number("%.2g", p), s.says(c.Contrast, p, "higher", "lower")})...)
	}
	fmt.Fprintln(w)
}

// contrastTable adjusts the p-values of all but the primary contrasts of the part that
// confirms.
func (s *study) contrastTable(w io.Writer, p *part, all []contrast, incomplete bool) {
	primary, of := 0, "all p are"
	if p.Name == s.Confirm && len(all) > 0 {
		primary = min(len(s.Primary), len(all))
		of = fmt.Sprintf("the first %d are primary, and p of the others is", primary)
	}
	for i, c := range all[:primary] {
		fmt.Fprintf(w, "Primary contrast %s − %s: ", c.a, c.b)
		if c.Runs < eval.FewestRuns {
			fmt.Fprint(w, "too few seeds.\n\n")
			continue
		}
		sees := func(runs int, sd float64) float64 { return 100 * eval.PairedDifference(runs, sd, .05, .8) }
		fmt.Fprintf(w, "%d seeds with a deviation of %.2f points see a difference of %.2f points with a power of .8 in a test over seeds (planned: %d seeds, %.2f, %.2f). The interval, which decides, draws queries too: it sees %.2f points.\n\n",
			c.Runs, 100*c.Deviation, sees(c.Runs, c.Deviation), len(p.seeds()), 100*s.Deviation[i], sees(len(p.seeds()), s.Deviation[i]),
			sees(1, (c.High-c.Low)/(2*1.96))) // an interval is 2·1.96 standard errors wide
	}
	if c := s.part(s.Confirm); p != c && p.setting == c.setting && p.Seeds[0] <= c.Seeds[1] && c.Seeds[0] <= p.Seeds[1] {
		fmt.Fprintf(w, "Seeds %d to %d are also in the part %s: what both compare is no second finding.\n\n", max(p.Seeds[0], c.Seeds[0]), min(p.Seeds[1], c.Seeds[1]), c.Name)
	}
	fmt.Fprintf(w, "Differences in accuracy on %s; %s adjusted by Holm. Equality is said of each interval by itself.\n\n", s.Measure, of)
	tableHead(w, append(slices.Clone(contrastHead), "p", "shows")...)
	var others []float64
	for _, c := range all[primary:] {
		others = append(others, c.P)
	}
	adjusted := eval.Holm(others)
	for i, c := range all {
		p, beside := c.P, math.NaN()
		if i >= primary {
			p, beside = adjusted[i-primary], adjusted[i-primary]
		}
		shows := s.says(c.Contrast, beside, c.a+" is better", c.b+" is better")
		if incomplete {
			shows = "not complete"
		}
		tableRow(w, append(c.cells(), number("%.2g", p), shows)...)
	}
	fmt.Fprintln(w)
}

// series are the contrasts of one colour in a figure, one for each of its rows.
type series struct {
	name      string
	contrasts []contrast
}

// figure draws contrasts with their intervals, a row for each name. The band is that of
// differences that do not matter.
func (s *study) figure(path string, names []string, all []series) {
	g := plot.New()
	g.X.Label.Text = fmt.Sprintf("difference in accuracy on %s, points, with 95%% intervals", s.Measure)
	g.X.Tick.Marker = plot.TickerFunc(func(min, max float64) []plot.Tick {
		ticks := plot.DefaultTicks{}.Ticks(min, max)
		for i := range ticks {
			if ticks[i].Label != "" && ticks[i].Value != 0 {
				ticks[i].Label = fmt.Sprintf("%+.4g", ticks[i].Value)
			}
		}
		return ticks
	})
	top, m := float64(len(names))-.5, 100*s.Matters
	band := must(plotter.NewPolygon(plotter.XYs{{X: -m, Y: -.5}, {X: m, Y: -.5}, {X: m, Y: top}, {X: -m, Y: top}}))
	band.Color, band.LineStyle.Width = color.Gray{232}, 0
	zero := must(plotter.NewLine(plotter.XYs{{X: 0, Y: -.5}, {X: 0, Y: top}}))
	zero.Dashes = []vg.Length{vg.Points(3), vg.Points(3)}
	g.Add(band, zero)
	colours := []color.Color{color.RGBA{0, 90, 181, 255}, color.RGBA{220, 50, 32, 255}}
	shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}}
	for k, one := range all {
		var p struct {
			plotter.XYs
			plotter.XErrors
		}
		for i, c := range one.contrasts { // the first at the top
			if c.Runs > 1 {
				p.XYs = append(p.XYs, plotter.XY{X: 100 * c.Estimate, Y: float64(len(names)-1-i) + .3*(float64(len(all)-1)/2-float64(k))})
				p.XErrors = append(p.XErrors, struct{ Low, High float64 }{100 * (c.Low - c.Estimate), 100 * (c.High - c.Estimate)})
			}
		}
		if p.Len() == 0 {
			continue
		}
		bars, dots := must(plotter.NewXErrorBars(p)), must(plotter.NewScatter(p))
		bars.Color, dots.Color, dots.Shape = colours[k%2], colours[k%2], shapes[k%2]
		g.Add(bars, dots)
		g.Legend.Add(one.name, dots)
	}
	g.Legend.Top = true
	reversed := slices.Clone(names)
	slices.Reverse(reversed)
	g.NominalY(reversed...)
	g.Y.Min, g.Y.Max = -.5, top+1.2 // the legend is above the rows
	c := vgsvg.New(17*vg.Centimeter, vg.Length(len(names)+4)*.75*vg.Centimeter)
	g.Draw(draw.Crop(draw.New(c), vg.Centimeter, 0, 0, 0)) // viewers' fonts may be wider than ours
	var b bytes.Buffer
	must(c.WriteTo(&b))
	check(os.WriteFile(path, b.Bytes(), 0o666))
}
