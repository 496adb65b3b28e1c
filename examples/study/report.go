package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/stepwise-rl/stepwise/eval"
)

// contrast is a paired difference of two arms over the seeds that have both.
type contrast struct {
	a, b     string
	seeds    int
	better   int // seeds in which a is better
	deviates float64
	interval eval.Interval // seeds and queries drawn
	p        float64       // of the seeds, by sign flips
}

// compare returns the contrast of two arms in a part.
func (s *study) compare(r *results, p *part, rates map[string][]float64, a, b string) contrast {
	c := contrast{a: a, b: b}
	ofA, ofB := r.of(p, a, rates[a][0]), r.of(p, b, rates[b][0])
	var d [][]float64
	var means []float64
	for seed := p.Seeds[0]; seed <= p.Seeds[1]; seed++ {
		x, y := ofA[seed], ofB[seed]
		if x == nil || y == nil {
			continue
		}
		bitsA, bitsB := x.bits(p.setting.Test), y.bits(p.setting.Test)
		for i := range bitsA {
			bitsA[i] -= bitsB[i]
		}
		mean, _ := eval.Mean(bitsA)
		d, means = append(d, bitsA), append(means, mean)
		if mean > 0 {
			c.better++
		}
	}
	c.seeds = len(d)
	if c.seeds < 2 {
		c.interval, c.p = eval.Interval{Estimate: math.NaN(), Low: math.NaN(), High: math.NaN()}, math.NaN()
		return c
	}
	c.interval = eval.BootstrapCrossed(d, eval.BootstrapOptions{Seed: 1})
	c.p = eval.SignFlip(means, 1)
	mean, n := eval.Mean(means)
	for _, x := range means {
		c.deviates += (x - mean) * (x - mean) / float64(n-1)
	}
	c.deviates = math.Sqrt(c.deviates)
	return c
}

// verdict says what an interval shows, given the smallest difference that matters.
func (s *study) verdict(c contrast) string {
	switch i := c.interval; {
	case math.IsNaN(i.Low):
		return "too few seeds"
	case i.Low > 0:
		return c.a + " is better"
	case i.High < 0:
		return c.b + " is better"
	case -s.Matters < i.Low && i.High < s.Matters:
		return "equal"
	}
	return "not resolved"
}

// writeReport writes tables.md, a section per part, and effects.svg.
func writeReport(dir string, s *study, r *results) error {
	var b bytes.Buffer
	var names []string
	var points []contrast
	for i := range s.Parts {
		p := &s.Parts[i]
		rates, err := s.rates(r, p)
		if err != nil {
			fmt.Fprintf(&b, "## %s\n\nNot begun.\n\n", p.Name)
			continue
		}
		fmt.Fprintf(&b, "## %s\n\n%s Seeds %d to %d.\n\n", p.Name, p.Question, p.Seeds[0], p.Seeds[1])
		if len(p.Rates) > 0 {
			s.gridTable(&b, r, p, rates)
			continue
		}
		s.armTable(&b, r, p, rates)
		all := s.contrasts(r, p, rates)
		s.contrastTable(&b, p, all)
		for _, c := range all {
			if c.a == s.Primary[0][0] && c.b == s.Primary[0][1] && !math.IsNaN(c.interval.Low) {
				names, points = append(names, p.Name), append(points, c)
			}
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "tables.md"), b.Bytes(), 0o666); err != nil {
		return err
	}
	if len(points) == 0 {
		return nil
	}
	return s.figure(filepath.Join(dir, "effects.svg"), names, points)
}

// contrasts are the primary ones, then every arm against both controls and the mask.
func (s *study) contrasts(r *results, p *part, rates map[string][]float64) (all []contrast) {
	has := func(a string) bool { return slices.Contains(p.Arms, a) }
	done := map[[2]string]bool{}
	add := func(a, b string) {
		if a != b && has(a) && has(b) && !done[[2]string{a, b}] {
			done[[2]string{a, b}] = true
			all = append(all, s.compare(r, p, rates, a, b))
		}
	}
	for _, c := range s.Primary {
		add(c[0], c[1])
	}
	for _, arm := range p.Arms {
		for _, b := range []string{"outcome", "verdict", "mask"} {
			if !done[[2]string{b, arm}] {
				add(arm, b)
			}
		}
	}
	return all
}

func (s *study) gridTable(w io.Writer, r *results, p *part, rates map[string][]float64) {
	fmt.Fprintf(w, "Mean accuracy on validation queries by learning rate; the best is taken.\n\n| arm |")
	grid := rates[p.Arms[0]]
	for _, rate := range grid {
		fmt.Fprintf(w, " %g |", rate)
	}
	fmt.Fprintf(w, "\n|---|%s\n", bytes.Repeat([]byte("---|"), len(grid)))
	for _, arm := range p.Arms {
		best, _ := bestRate(r, p, arm, grid)
		fmt.Fprintf(w, "| %s |", arm)
		for _, rate := range grid {
			cell := fmt.Sprintf("%.4f", meanOf(r.of(p, arm, rate), "VALIDATION"))
			if rate == best {
				cell = "**" + cell + "**"
			}
			fmt.Fprintf(w, " %s |", cell)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

func meanOf(rows map[int]*row, column string) float64 {
	var x []float64
	for _, w := range rows {
		if v, ok := w.values[column]; ok {
			x = append(x, v)
		}
	}
	slices.Sort(x) // a map has no order, and sums do
	mean, _ := eval.Mean(x)
	return mean
}

func (s *study) armTable(w io.Writer, r *results, p *part, rates map[string][]float64) {
	fmt.Fprint(w, "| arm | learning rate | seeds | LONGTAIL | RANDOM | right steps before the label, LONGTAIL | label right given right steps | right with a wrong step | sampled reward | live groups | tokens, thousands |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, arm := range p.Arms {
		rows := r.of(p, arm, rates[arm][0])
		fmt.Fprintf(w, "| %s | %g | %d |", arm, rates[arm][0], len(rows))
		for _, c := range []string{"LONGTAIL", "RANDOM", "LONGTAIL_inner", "LONGTAIL_label_given_steps", "LONGTAIL_right_wrong_step", "reward", "live"} {
			fmt.Fprintf(w, " %.3f |", meanOf(rows, c))
		}
		fmt.Fprintf(w, " %.0f |\n", meanOf(rows, "tokens")/1000)
	}
	fmt.Fprintln(w)
}

// contrastTable adjusts the p-values of all but the primary contrasts of the part that
// confirms.
func (s *study) contrastTable(w io.Writer, p *part, all []contrast) {
	primary := 0
	if p.Name == s.Confirm {
		primary = len(s.Primary)
	}
	ps := make([]float64, len(all))
	for i, c := range all {
		ps[i] = c.p
	}
	adjusted := append(slices.Clone(ps[:min(primary, len(ps))]), eval.Holm(ps[min(primary, len(ps)):])...)
	fmt.Fprintf(w, "Differences in accuracy on %s, in points; p of the rows after the first %d adjusted by Holm.\n\n| difference | points | 95%% interval, seeds and queries drawn | deviation over seeds | better in | p | |\n|---|---|---|---|---|---|---|\n", s.Measure, primary)
	for i, c := range all {
		fmt.Fprintf(w, "| %s − %s | %+.2f | [%+.2f %+.2f] | %.2f | %d of %d | %.2g | %s |\n", c.a, c.b,
			100*c.interval.Estimate, 100*c.interval.Low, 100*c.interval.High, 100*c.deviates, c.better, c.seeds, adjusted[i], s.verdict(c))
	}
	fmt.Fprintln(w)
}

// effects are a figure's points with their intervals.
type effects []contrast

func (e effects) Len() int { return len(e) }
func (e effects) XY(i int) (x, y float64) {
	return 100 * e[i].interval.Estimate, float64(len(e) - 1 - i)
}
func (e effects) XError(i int) (l, h float64) {
	x := e[i].interval
	return 100 * (x.Low - x.Estimate), 100 * (x.High - x.Estimate)
}

// figure draws the first primary contrast in every part.
func (s *study) figure(path string, names []string, points []contrast) error {
	g := plot.New()
	g.X.Label.Text = fmt.Sprintf("accuracy on %s, %s − %s, points", s.Measure, s.Primary[0][0], s.Primary[0][1])
	e := effects(points)
	bars, err := plotter.NewXErrorBars(e)
	if err != nil {
		return err
	}
	dots, err := plotter.NewScatter(e)
	if err != nil {
		return err
	}
	zero, err := plotter.NewLine(plotter.XYs{{X: 0, Y: -.5}, {X: 0, Y: float64(len(points)) - .5}})
	if err != nil {
		return err
	}
	zero.Dashes = []vg.Length{vg.Points(3), vg.Points(3)}
	g.Add(zero, bars, dots)
	reversed := slices.Clone(names)
	slices.Reverse(reversed)
	g.NominalY(reversed...)
	c := vgsvg.New(14*vg.Centimeter, vg.Length(len(points)+3)*.7*vg.Centimeter)
	g.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}
