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

func absent(w *row) bool { return w == nil }

// lostForm says whether a run is missing, or has lost the form in a set of queries.
func lostForm(set string) func(*row) bool {
	return func(w *row) bool { return w == nil || w.value(set+"_malformed") > malformed }
}

// pairs are the rows of two arms, seed by seed, but for those to be left out.
func (s *study) pairs(p *part, a, b string, leaveOut func(*row) bool) (x, y []*row) {
	ofB := s.chosen(p, b)
	for i, w := range s.chosen(p, a) {
		if !leaveOut(w) && !leaveOut(ofB[i]) {
			x, y = append(x, w), append(y, ofB[i])
		}
	}
	return x, y
}

// contrast is a difference, with its name and what it shows if it is above or below 0.
type contrast struct {
	name, above, below string
	eval.Contrast
}

// compare is an arm of a part minus another, over their pairs.
func (s *study) compare(p *part, a, b string, leaveOut func(*row) bool) contrast {
	x, y := s.pairs(p, a, b, leaveOut)
	return contrast{a + " − " + b, a + " is better", b + " is better", eval.CompareRuns(p.answers(x), p.answers(y), bootstrap)}
}

var bootstrap = eval.BootstrapOptions{Seed: 1}

// contrasts are the primary ones, then every arm against both controls and the mask; by
// their arms also turned around.
func (s *study) contrasts(p *part) (all []contrast, by map[[2]string]eval.Contrast) {
	wanted := slices.Clone(s.Primary)
	for _, arm := range p.Arms {
		wanted = append(wanted, [2]string{arm, "outcome"}, [2]string{arm, "verdict"}, [2]string{arm, "mask"})
	}
	by = map[[2]string]eval.Contrast{}
	for _, arms := range wanted {
		a, b := arms[0], arms[1]
		if _, done := by[arms]; done || a == b || !p.has(a, b) {
			continue
		}
		c := s.compare(p, a, b, absent)
		all = append(all, c)
		by[arms] = c.Contrast
		c.Estimate, c.Low, c.High = -c.Estimate, -c.High, -c.Low
		by[[2]string{b, a}] = c.Contrast
	}
	return all, by
}

// says is what a contrast shows, in words. p is its p-value where others were looked at
// beside it, and NaN for a primary contrast, of which the interval alone decides.
func (s *study) says(c contrast, p float64) string {
	finding := c.Finding(s.Matters)
	differs := map[eval.Finding]string{eval.FindingBetter: c.above, eval.FindingWorse: c.below}[finding]
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
	var names, primary []string
	for _, c := range s.Primary {
		primary = append(primary, c[0]+" − "+c[1])
	}
	var effects []map[[2]string]eval.Contrast
	for _, p := range s.Parts {
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
		s.differences(&sections, p, all, done == total)
		if q := s.part(p.Beside); q != nil && done == total {
			s.besideTable(&sections, p, q)
		}
		if p.Name == s.Confirm {
			s.formTable(&sections, p)
			s.seedTable(&sections, p)
		}
		names, effects = append(names, name), append(effects, by)
		if p.Name == "arms" {
			fmt.Fprint(&figures, "![All arms beside the controls, in the part arms](arms.svg)\n\n")
			s.figure(filepath.Join(dir, "arms.svg"), p.Arms, []string{"minus outcome", "minus verdict"}, func(i, k int) eval.Contrast {
				return by[[2]string{p.Arms[i], []string{"outcome", "verdict"}[k]}]
			})
		}
	}
	if len(names) > 0 {
		fmt.Fprint(&figures, "![The primary contrasts in every part](effects.svg)\n\n")
		s.figure(filepath.Join(dir, "effects.svg"), names, primary, func(i, k int) eval.Contrast { return effects[i][s.Primary[k]] })
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
			rows := slices.DeleteFunc(s.of(p, arm, rate), absent)
			cell := number("%.4f", mean(rows, "VALIDATION"))
			if rate == best {
				cell = "**" + cell + "**"
			}
			n := len(rows)
			if 0 < n && n < len(p.seeds()) {
				cell += fmt.Sprintf(" (%d)", n)
			}
			cells = append(cells, cell)
			lost += n - len(slices.DeleteFunc(rows, lostForm("VALIDATION")))
		}
		tableRow(w, append(cells, fmt.Sprint(lost))...)
	}
	fmt.Fprintln(w)
}

func (s *study) armTable(w io.Writer, p *part) {
	tableHead(w, "arm", "learning rate", "seeds", "LONGTAIL", "RANDOM", "inner steps right", "all of them", "label right after that", "after a wrong step", "commonest answer", "malformed", "lost the form", "sampled reward", "live groups", "tokens, thousands")
	for _, arm := range p.Arms {
		all := slices.DeleteFunc(s.chosen(p, arm), absent)
		kept := slices.DeleteFunc(slices.Clone(all), lostForm("LONGTAIL"))
		cells := []string{arm, fmt.Sprint(p.rates[arm][0]), fmt.Sprint(len(all))}
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
	tableHead(w, contrastHead("difference", "first better in")...)
	for _, c := range s.Primary {
		tableRow(w, s.compare(p, c[0], c[1], lostForm("LONGTAIL")).cells()...)
	}
	fmt.Fprintln(w)
}

// seedTable is with what the first primary contrast goes along from seed to seed.
func (s *study) seedTable(w io.Writer, p *part) {
	a, b := s.Primary[0][0], s.Primary[0][1]
	x, y := s.pairs(p, a, b, lostForm("LONGTAIL"))
	of := func(column string) (ofA, difference []float64) {
		ofA, difference = values(x, column), values(y, column)
		for i := range ofA {
			difference[i] = ofA[i] - difference[i]
		}
		return ofA, difference
	}
	_, points := of(s.Measure)
	fmt.Fprintf(w, "With what %s − %s goes along over these %d pairs: Spearman's correlation of it with each share, of %[1]s and as a difference. A share of the same answers is no cause.\n\n", a, b, len(x))
	tableHead(w, "share", a, a+" − "+b)
	for _, share := range [][2]string{
		{"all inner steps right", allRight}, {"label right after that", "LONGTAIL_label_given_steps"}, {"label right after a wrong step", afterWrong}, {"live groups", "live"},
	} {
		ofA, difference := of(share[1])
		tableRow(w, share[0], number("%+.2f", eval.Spearman(ofA, points)), number("%+.2f", eval.Spearman(difference, points)))
	}
	fmt.Fprintln(w)
}

func contrastHead(first, better string) []string {
	return []string{first, "points", "95% interval, seeds and queries drawn", "deviation over seeds", better}
}

// cells are those of a contrast in a table.
func (c contrast) cells() []string {
	interval := "–"
	if c.Runs > 1 {
		interval = fmt.Sprintf("[%+.2f %+.2f]", 100*c.Low, 100*c.High)
	}
	return []string{c.name, number("%+.2f", 100*c.Estimate), interval, number("%.2f", 100*c.Deviation), fmt.Sprintf("%d of %d", c.Better, c.Runs)}
}

// contrastTable is of contrasts, with what they show. The p-values of all but the first,
// primary ones are adjusted.
func (s *study) contrastTable(w io.Writer, head []string, all []contrast, primary int, complete bool) {
	tableHead(w, append(head, "p", "shows")...)
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
		shows := "not complete"
		if complete {
			shows = s.says(c, beside)
		}
		tableRow(w, append(c.cells(), number("%.2g", p), shows)...)
	}
	fmt.Fprintln(w)
}

// besideTable is what a complete part changes against the part q beside it: every arm,
// and the primary contrasts, which are differences of differences then.
func (s *study) besideTable(w io.Writer, p, q *part) {
	if done, total := s.progress(q); done < total {
		fmt.Fprintf(w, "What it changes against the part %s is to be seen when that is complete.\n\n", q.Name)
		return
	}
	sameSeeds := *q
	sameSeeds.Seeds = p.Seeds
	q = &sameSeeds
	fmt.Fprintf(w, "What it changes against the part %s, seed by seed; all p are adjusted by Holm.", q.Name)
	of := func(p *part, arm string) [][]float64 { return p.answers(s.chosen(p, arm)) }
	var all []contrast
	add := func(name string, x, y [][]float64) {
		all = append(all, contrast{name, "higher", "lower", eval.CompareRuns(x, y, bootstrap)})
	}
	changed := &part{} // with the arms that have other runs
	for _, arm := range p.Arms {
		if slices.Equal(s.chosen(p, arm), s.chosen(q, arm)) {
			fmt.Fprintf(w, " The runs of %s are the same in both: what changes an arm changes its difference to it as much.", arm)
			continue
		}
		changed.Arms = append(changed.Arms, arm)
		add(arm, of(p, arm), of(q, arm))
	}
	for _, c := range s.Primary {
		if a, b := c[0], c[1]; changed.has(a, b) {
			add(a+" − "+b, less(of(p, a), of(p, b)), less(of(q, a), of(q, b)))
		}
	}
	fmt.Fprint(w, "\n\n")
	s.contrastTable(w, contrastHead("change of", "higher in"), all, 0, true)
}

// less subtracts y from x, which it returns.
func less(x, y [][]float64) [][]float64 {
	for i := range x {
		for j := range x[i] {
			x[i][j] -= y[i][j]
		}
	}
	return x
}

// differences are the contrasts of a part. In the part that confirms the first are primary.
func (s *study) differences(w io.Writer, p *part, all []contrast, complete bool) {
	primary, of := 0, "all p are"
	if p.Name == s.Confirm && len(all) > 0 {
		primary = min(len(s.Primary), len(all))
		of = fmt.Sprintf("the first %d are primary, and p of the others is", primary)
	}
	for i, c := range all[:primary] {
		fmt.Fprintf(w, "Primary contrast %s: ", c.name)
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
	s.contrastTable(w, contrastHead("difference", "first better in"), all, primary, complete)
}

// figure draws contrasts with their intervals: of gives that of a row and a colour, which
// have these names. The band is that of differences that do not matter.
func (s *study) figure(path string, rows, colours []string, of func(row, colour int) eval.Contrast) {
	g := plot.New()
	g.X.Label.Text = fmt.Sprintf("difference on %s in points, 95%% intervals", s.Measure)
	g.X.Tick.Marker = plot.TickerFunc(func(min, max float64) []plot.Tick {
		ticks := plot.DefaultTicks{}.Ticks(min, max)
		for i := range ticks {
			if ticks[i].Label != "" && ticks[i].Value != 0 {
				ticks[i].Label = fmt.Sprintf("%+.4g", ticks[i].Value)
			}
		}
		return ticks
	})
	top, m := float64(len(rows))-.5, 100*s.Matters
	band := must(plotter.NewPolygon(plotter.XYs{{X: -m, Y: -.5}, {X: m, Y: -.5}, {X: m, Y: top}, {X: -m, Y: top}}))
	band.Color, band.LineStyle.Width = color.Gray{232}, 0
	zero := must(plotter.NewLine(plotter.XYs{{X: 0, Y: -.5}, {X: 0, Y: top}}))
	zero.Dashes = []vg.Length{vg.Points(3), vg.Points(3)}
	g.Add(band, zero)
	inks := []color.Color{color.RGBA{0, 90, 181, 255}, color.RGBA{220, 50, 32, 255}}
	shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}}
	for k, name := range colours {
		var p struct {
			plotter.XYs
			plotter.XErrors
		}
		for i := range rows { // the first at the top
			if c := of(i, k); c.Runs > 1 {
				p.XYs = append(p.XYs, plotter.XY{X: 100 * c.Estimate, Y: float64(len(rows)-1-i) + .3*(float64(len(colours)-1)/2-float64(k))})
				p.XErrors = append(p.XErrors, struct{ Low, High float64 }{100 * (c.Low - c.Estimate), 100 * (c.High - c.Estimate)})
			}
		}
		if p.Len() == 0 {
			continue
		}
		bars, dots := must(plotter.NewXErrorBars(p)), must(plotter.NewScatter(p))
		bars.Color, dots.Color, dots.Shape = inks[k%2], inks[k%2], shapes[k%2]
		g.Add(bars, dots)
		g.Legend.Add(name, dots)
	}
	g.Legend.Top = true
	reversed := slices.Clone(rows)
	slices.Reverse(reversed)
	g.NominalY(reversed...)
	g.Y.Min, g.Y.Max = -.5, top+1.2 // the legend is above the rows
	c := vgsvg.New(17*vg.Centimeter, vg.Length(len(rows)+4)*.75*vg.Centimeter)
	g.Draw(draw.Crop(draw.New(c), vg.Centimeter, 0, 0, 0)) // viewers' fonts may be wider than ours
	var b bytes.Buffer
	must(c.WriteTo(&b))
	check(os.WriteFile(path, b.Bytes(), 0o666))
}
