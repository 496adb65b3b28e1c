package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/eval"
)

// contrast is a difference of two arms, the first minus the second.
type contrast struct {
	a, b string
	eval.Contrast
}

// compare contrasts two arms of a part over the seeds that have both, and of these over
// the pairs that it is to take.
func (s *study) compare(r *results, p *part, rates map[string][]float64, a, b string, take func(*row) bool) contrast {
	var x, y [][]float64
	ofB := r.of(p, b, rates[b][0])
	for i, w := range r.of(p, a, rates[a][0]) {
		if w != nil && ofB[i] != nil && take(w) && take(ofB[i]) {
			x, y = append(x, w.bits(p.setting.Test)), append(y, ofB[i].bits(p.setting.Test))
		}
	}
	return contrast{a, b, eval.CompareRuns(x, y, eval.BootstrapOptions{Seed: 1})}
}

func anyRow(*row) bool { return true }

// keptForm is whether at most a tenth of the answers on LONGTAIL are malformed.
func keptForm(w *row) bool { return w.values["LONGTAIL_malformed"] <= malformed }

// malformed is the share of malformed answers above which a run has lost the form.
const malformed = .1

// contrasts are the primary ones, then every arm against both controls and the mask.
func (s *study) contrasts(r *results, p *part, rates map[string][]float64) (all []contrast) {
	done := map[[2]string]bool{}
	add := func(a, b string) {
		if a != b && slices.Contains(p.Arms, a) && slices.Contains(p.Arms, b) && !done[[2]string{a, b}] && !done[[2]string{b, a}] {
			done[[2]string{a, b}] = true
			all = append(all, s.compare(r, p, rates, a, b, anyRow))
		}
	}
	for _, c := range s.Primary {
		add(c[0], c[1])
	}
	for _, arm := range p.Arms {
		for _, b := range []string{"outcome", "verdict", "mask"} {
			add(arm, b)
		}
	}
	return all
}

// says is what a contrast shows, in words. p is its p-value where others were looked at
// beside it, and NaN for a primary contrast, of which the interval alone decides.
func (s *study) says(c contrast, p float64) string {
	better := map[eval.Finding]string{eval.FindingBetter: c.a, eval.FindingWorse: c.b}[c.Finding(s.Matters)]
	switch {
	case c.Runs < eval.FewestRuns:
		return "too few seeds"
	case better == "":
		return c.Finding(s.Matters).String()
	case p > .05:
		return "not resolved, as one of several"
	case max(math.Abs(c.Low), math.Abs(c.High)) < s.Matters:
		return better + " is better, by too little to matter"
	}
	return better + " is better"
}

// writeReport writes tables.md, a section per part, and the figures.
func writeReport(dir string, s *study, r *results) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var head, b bytes.Buffer
	fmt.Fprintf(&head, "# The study's tables\n\nWritten by `go run ./examples/study -report`. Accuracy is a share, and differences of it are in points (hundredths). Every number is of the last checkpoint.\n\n| part | runs | question |\n|---|---|---|\n")
	var figures, parts []string
	effects := make([]series, len(s.Primary))
	for i := range s.Parts {
		p := &s.Parts[i]
		done, total := r.progress(s, p)
		state := fmt.Sprintf("%d of %d", done, total)
		if done == 0 {
			state = fmt.Sprintf("none of %d yet", total)
		}
		fmt.Fprintf(&head, "| %s | %s | %s |\n", p.Name, state, p.Question)
		if done == 0 {
			continue
		}
		fmt.Fprintf(&b, "## %s\n\n%s Seeds %d to %d.\n\n", p.Name, p.Question, p.Seeds[0], p.Seeds[1])
		if done < total {
			fmt.Fprintf(&b, "**Not complete: %d of %d runs. What follows will change and shows nothing yet.**\n\n", done, total)
		}
		rates, err := s.rates(r, p)
		if err != nil {
			return err // progress found runs, so there are rates
		}
		if len(p.Rates) > 0 {
			gridTable(&b, r, p, rates)
			continue
		}
		armTable(&b, r, p, rates)
		all := s.contrasts(r, p, rates)
		s.contrastTable(&b, p, all, done < total)
		if p.Name == s.Confirm {
			s.formTable(&b, r, p, rates)
			s.seedTable(&b, r, p, rates)
		}
		name := p.Name
		if done < total {
			name += fmt.Sprintf(" (%d/%d)", done, total)
		}
		parts = append(parts, name)
		for k, c := range s.Primary {
			e := &effects[k]
			e.name = c[0] + " − " + c[1]
			e.contrasts = append(e.contrasts, find(all, c[0], c[1]))
		}
		if p.Name != "arms" {
			continue
		}
		controls := []series{{name: "minus outcome"}, {name: "minus verdict"}}
		for _, arm := range p.Arms {
			for k, control := range []string{"outcome", "verdict"} {
				controls[k].contrasts = append(controls[k].contrasts, find(all, arm, control))
			}
		}
		figures = append(figures, "![All arms beside the controls, in the part arms](arms.svg)\n\n")
		if err := s.figure(filepath.Join(dir, "arms.svg"), p.Arms, controls); err != nil {
			return err
		}
	}
	if len(parts) > 0 {
		figures = append(figures, "![The primary contrasts in every part](effects.svg)\n\n")
		if err := s.figure(filepath.Join(dir, "effects.svg"), parts, effects); err != nil {
			return err
		}
	}
	fmt.Fprintf(&head, "\n%s", strings.Join(figures, ""))
	text := strings.TrimRight(head.String()+b.String(), "\n") + "\n"
	return os.WriteFile(filepath.Join(dir, "tables.md"), []byte(text), 0o666)
}

// find returns the contrast a − b, turned around if need be; without intervals if there
// is none.
func find(all []contrast, a, b string) contrast {
	for _, c := range all {
		switch {
		case c.a == a && c.b == b:
			return c
		case c.a == b && c.b == a:
			c.a, c.b = a, b
			c.Estimate, c.Low, c.High = -c.Estimate, -c.High, -c.Low
			return c
		}
	}
	return contrast{a: a, b: b}
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

func gridTable(w io.Writer, r *results, p *part, rates map[string][]float64) {
	fmt.Fprintf(w, "Mean accuracy on validation queries by learning rate. The best is in bold, once all are there; a number of seeds stands beside a mean that lacks some. The last column counts the runs that end with more than a tenth of the answers malformed.\n\n")
	grid := rates[p.Arms[0]]
	head := []string{"arm"}
	for _, rate := range grid {
		head = append(head, fmt.Sprint(rate))
	}
	tableHead(w, append(head, "malformed")...)
	for _, arm := range p.Arms {
		lost := 0
		best, _ := bestRate(r, p, arm, grid)
		cells := []string{arm}
		for _, rate := range grid {
			rows := r.of(p, arm, rate)
			cell := number("%.4f", meanOf(rows, "VALIDATION"))
			if rate == best {
				cell = "**" + cell + "**"
			}
			if n := count(rows); 0 < n && n < len(rows) {
				cell += fmt.Sprintf(" (%d)", n)
			}
			for _, w := range rows {
				if w != nil && w.values["VALIDATION_malformed"] > malformed {
					lost++
				}
			}
			cells = append(cells, cell)
		}
		tableRow(w, append(cells, fmt.Sprint(lost))...)
	}
	fmt.Fprintln(w)
}

func count(rows []*row) (n int) {
	for _, w := range rows {
		if w != nil {
			n++
		}
	}
	return n
}

// meanOf is the mean of a column over the rows that there are.
func meanOf(rows []*row, column string) float64 {
	var x []float64
	for _, w := range rows {
		if w != nil {
			if v, ok := w.values[column]; ok {
				x = append(x, v)
			}
		}
	}
	mean, _ := eval.Mean(x)
	return mean
}

// derived are columns made of others: accuracy is P·a + (1 − P)·b, with P the share of
// answers whose inner steps are all right, and a and b the label's accuracy after them and
// after a wrong one.
func (w *row) derived() (p, b float64) {
	wrong := w.values["LONGTAIL_right_wrong_step"]
	if a, ok := w.values["LONGTAIL_label_given_steps"]; ok { // else there is none of them
		p = (w.values["LONGTAIL"] - wrong) / a
	}
	return p, wrong / (1 - p)
}

func armTable(w io.Writer, r *results, p *part, rates map[string][]float64) {
	tableHead(w, "arm", "learning rate", "seeds", "LONGTAIL", "RANDOM", "inner steps right", "all of them", "label right after that", "after a wrong step", "commonest answer", "malformed", "lost the form", "sampled reward", "live groups", "tokens, thousands")
	for _, arm := range p.Arms {
		rows := r.of(p, arm, rates[arm][0])
		var inForm []*row
		var all, after []float64
		for _, one := range rows {
			if one != nil && keptForm(one) {
				p, b := one.derived()
				inForm, all, after = append(inForm, one), append(all, p), append(after, b)
			}
		}
		allRight, _ := eval.Mean(all)
		afterWrong, _ := eval.Mean(after)
		cells := []string{arm, fmt.Sprint(rates[arm][0]), fmt.Sprint(count(rows))}
		add := func(values ...float64) {
			for _, v := range values {
				cells = append(cells, number("%.3f", v))
			}
		}
		add(meanOf(rows, "LONGTAIL"), meanOf(rows, "RANDOM"), meanOf(inForm, "LONGTAIL_inner"), allRight, meanOf(inForm, "LONGTAIL_label_given_steps"), afterWrong,
			meanOf(rows, "LONGTAIL_mode"), meanOf(rows, "LONGTAIL_malformed"))
		cells = append(cells, fmt.Sprint(count(rows)-len(inForm)))
		add(meanOf(rows, "reward"), meanOf(rows, "live"))
		tableRow(w, append(cells, number("%.0f", meanOf(rows, "tokens")/1000))...)
	}
	fmt.Fprint(w, "\nColumns without a name of their own are of LONGTAIL; reward and live groups are of the last fifth of training, sampled. A run has lost the form if more than a tenth of its answers are malformed. The four columns about steps leave such runs out: steps that an answer goes on with after its label would count as wrong inner ones.\n\n")
}

// formTable is how the primary contrasts depend on the runs that lost the form.
func (s *study) formTable(w io.Writer, r *results, p *part, rates map[string][]float64) {
	fmt.Fprint(w, "The same over the pairs of which both runs keep the form. Training chose these seeds, so this says what the differences rest on and confirms nothing.\n\n")
	tableHead(w, "difference", "points", "95% interval, seeds and queries drawn", "deviation over seeds", "first better in")
	for _, c := range s.Primary {
		contrastRow(w, s.compare(r, p, rates, c[0], c[1], keptForm))
	}
	fmt.Fprintln(w)
}

// seedTable is with what the first primary contrast goes along from seed to seed.
func (s *study) seedTable(w io.Writer, r *results, p *part, rates map[string][]float64) {
	a, b := s.Primary[0][0], s.Primary[0][1]
	of := []struct {
		name  string
		value func(*row) float64
	}{
		{"all inner steps right", func(w *row) float64 { all, _ := w.derived(); return all }},
		{"label right after that", func(w *row) float64 { return meanOf([]*row{w}, "LONGTAIL_label_given_steps") }}, // NaN if there is none
		{"label right after a wrong step", func(w *row) float64 { _, after := w.derived(); return after }},
		{"live groups", func(w *row) float64 { return w.values["live"] }},
	}
	var points []float64
	values := make([][2][]float64, len(of)) // of a, and a less b
	ofB := r.of(p, b, rates[b][0])
	for i, x := range r.of(p, a, rates[a][0]) {
		y := ofB[i]
		if x == nil || y == nil || !keptForm(x) || !keptForm(y) {
			continue
		}
		points = append(points, x.values[s.Measure]-y.values[s.Measure])
		for k := range of {
			values[k][0] = append(values[k][0], of[k].value(x))
			values[k][1] = append(values[k][1], of[k].value(x)-of[k].value(y))
		}
	}
	fmt.Fprintf(w, "With what %s − %s goes along over these %d pairs: Spearman's correlation of it with each share, of %[1]s and as a difference. A share of the same answers is no cause.\n\n", a, b, len(points))
	tableHead(w, "share", a, a+" − "+b)
	for k := range of {
		tableRow(w, of[k].name, number("%+.2f", eval.Spearman(values[k][0], points)), number("%+.2f", eval.Spearman(values[k][1], points)))
	}
	fmt.Fprintln(w)
}

// contrastRow writes a contrast, with more cells at its end.
func contrastRow(w io.Writer, c contrast, more ...string) {
	interval := "–"
	if c.Runs > 1 {
		interval = fmt.Sprintf("[%+.2f %+.2f]", 100*c.Low, 100*c.High)
	}
	tableRow(w, append([]string{
		c.a + " − " + c.b, number("%+.2f", 100*c.Estimate), interval, number("%.2f", 100*c.Deviation), fmt.Sprintf("%d of %d", c.Better, c.Runs),
	}, more...)...)
}

// contrastTable adjusts the p-values of all but the primary contrasts of the part that
// confirms.
func (s *study) contrastTable(w io.Writer, p *part, all []contrast, incomplete bool) {
	primary := 0
	if p.Name == s.Confirm {
		primary = min(len(s.Primary), len(all))
		for i, c := range all[:primary] {
			fmt.Fprintf(w, "Primary contrast %s − %s: ", c.a, c.b)
			if c.Runs < eval.FewestRuns {
				fmt.Fprint(w, "too few seeds.\n\n")
				continue
			}
			// An interval is 2·1.96 standard errors wide.
			sees := eval.PairedDifference(1, (c.High-c.Low)/(2*1.96), .05, .8)
			fmt.Fprintf(w, "%d seeds with a deviation of %.2f points see a difference of %.2f points with a power of .8 in a test over seeds (planned: %d seeds, %.2f, %.2f). The interval, which decides, draws queries too: it sees %.2f points.\n\n",
				c.Runs, 100*c.Deviation, 100*eval.PairedDifference(c.Runs, c.Deviation, .05, .8),
				p.seeds(), 100*s.Deviation[i], 100*eval.PairedDifference(p.seeds(), s.Deviation[i], .05, .8), 100*sees)
		}
	}
	if c := s.part(s.Confirm); p != c && p.setting == c.setting && p.Seeds[0] <= c.Seeds[1] && c.Seeds[0] <= p.Seeds[1] {
		fmt.Fprintf(w, "Seeds %d to %d are also in the part %s: what both compare is no second finding.\n\n", max(p.Seeds[0], c.Seeds[0]), min(p.Seeds[1], c.Seeds[1]), c.Name)
	}
	ps := make([]float64, len(all))
	for i, c := range all {
		ps[i] = c.P
	}
	adjusted := append(slices.Clone(ps[:primary]), eval.Holm(ps[primary:])...)
	of := "all p are"
	if primary > 0 {
		of = fmt.Sprintf("the first %d are primary, and p of the others is", primary)
	}
	fmt.Fprintf(w, "Differences in accuracy on %s; %s adjusted by Holm. Equality is said of each interval by itself.\n\n", s.Measure, of)
	tableHead(w, "difference", "points", "95% interval, seeds and queries drawn", "deviation over seeds", "first better in", "p", "shows")
	for i, c := range all {
		beside := adjusted[i]
		if i < primary {
			beside = math.NaN()
		}
		shows := s.says(c, beside)
		if incomplete {
			shows = "not complete"
		}
		contrastRow(w, c, number("%.2g", adjusted[i]), shows)
	}
	fmt.Fprintln(w)
}
