package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A chart is laid out here in the units of its SVG viewBox; the template only
// draws it.
const (
	chartWidth, chartHeight                          = 420.0, 236.0
	chartLeft, chartRight, chartTop, chartBottom     = 46.0, 410.0, 10.0, 200.0
	forestWidth, forestLeft, forestRight, forestLine = 420.0, 118.0, 372.0, 30.0
)

// chart is a set of curves over training steps.
type chart struct {
	Title, Good                    string // what it shows, and what is good
	Summary                        string // the same for who cannot see it
	Width, Height                  float64
	Left, Right, Top, Bottom       float64
	XTicks, YTicks                 []tick
	Lines                          []chartLine
	LogScale                       bool
	XLabel                         string
	XLabelX, XLabelY, TickX, TickY float64
}

type tick struct {
	At   float64
	Text string
}

type chartLine struct {
	Name, Class, Last string
	Faint, Path       string // raw and smoothed
	Dot               *dot   // instead, of a single point
}

type dot struct{ X, Y float64 }

// xy is a point of a curve.
type xy struct{ x, y float64 }

// curve is a chart's input line.
type curve struct {
	name, class string
	points      []xy
}

// quantity says how a quantity is drawn.
type quantity struct {
	title, good string
	share       bool   // between 0 and 1
	log         bool   // logarithmic if the values span much
	x           string // what the points stand over; "" means training steps
}

// drawChart lays out a chart; ok is false if there is nothing to show.
func drawChart(q quantity, curves []curve) (c chart, ok bool) {
	c = chart{
		Title: q.title, Good: q.good, XLabel: cmp.Or(q.x, "step"), Width: chartWidth, Height: chartHeight,
		Left: chartLeft, Right: chartRight, Top: chartTop, Bottom: chartBottom,
		XLabelX: (chartLeft + chartRight) / 2, XLabelY: chartHeight - 3, TickX: chartLeft - 6, TickY: chartBottom + 16,
	}
	xs, ys := newExtent(), newExtent()
	for i := range curves {
		curves[i].points = thin(curves[i].points)
		for _, p := range curves[i].points {
			xs.add(p.x)
			ys.add(p.y)
		}
	}
	if xs.empty() {
		return c, false
	}
	x := linear(xs.lo, max(xs.hi, xs.lo+1), chartLeft+4, chartRight)
	c.LogScale = q.log && ys.lo > 0 && ys.hi/ys.lo > 20
	var y scale
	if c.LogScale {
		y = logarithmic(ys, chartBottom, chartTop)
	} else {
		y = nice(ys, q.share, chartBottom, chartTop)
	}
	c.XTicks, c.YTicks = x.wholeTicks(), y.ticks
	var said []string
	for _, l := range curves {
		if len(l.points) == 0 {
			continue
		}
		line := drawLine(l, x, y, q.text())
		c.Lines = append(c.Lines, line)
		said = append(said, fmt.Sprintf("%s from %s to %s", l.name, q.text()(l.points[0].y), line.Last))
	}
	c.Summary = q.title + ", " + q.good + ": " + strings.Join(said, "; ")
	return c, true
}

// text is how a value of the quantity is written.
func (q quantity) text() func(float64) string {
	if q.share {
		return three
	}
	return short
}

func drawLine(l curve, x, y scale, text func(float64) string) chartLine {
	smooth, window := smoothed(l.points)
	out := chartLine{Name: l.name, Class: l.class, Last: text(smooth[len(smooth)-1].y)}
	if len(l.points) == 1 {
		out.Dot = &dot{x.at(smooth[0].x), y.at(smooth[0].y)}
		return out
	}
	out.Path = path(smooth, x, y)
	if window > 1 {
		out.Faint = path(l.points, x, y)
	}
	return out
}

func path(points []xy, x, y scale) string {
	var b strings.Builder
	for i, p := range points {
		command := byte('L')
		if i == 0 {
			command = 'M'
		}
		fmt.Fprintf(&b, "%c%g %g", command, x.at(p.x), y.at(p.y))
	}
	return b.String()
}

// smoothed is the mean over about a tenth of the curve around each point, at
// the ends over the half of it that is there.
func smoothed(points []xy) (out []xy, window int) {
	half := len(points) / 20
	for i, p := range points {
		from, to := max(i-half, 0), min(i+half+1, len(points))
		sum := 0.0
		for _, q := range points[from:to] {
			sum += q.y
		}
		out = append(out, xy{p.x, sum / float64(to-from)})
	}
	return out, 2*half + 1
}

// thin bounds a curve's number of points by averaging neighbours.
func thin(points []xy) []xy {
	const most = 300
	if len(points) <= most {
		return points
	}
	var out []xy
	for i := range most {
		part := points[i*len(points)/most : (i+1)*len(points)/most]
		var m xy
		for _, p := range part {
			m.x += p.x / float64(len(part))
			m.y += p.y / float64(len(part))
		}
		out = append(out, m)
	}
	return out
}

// extent is the range of the finite numbers added.
type extent struct{ lo, hi float64 }

func newExtent() extent { return extent{math.Inf(1), math.Inf(-1)} }

func (e *extent) add(v float64) {
	if finite(v) {
		e.lo, e.hi = min(e.lo, v), max(e.hi, v)
	}
}

func (e *extent) empty() bool { return e.lo > e.hi }

// scale maps values to coordinates, which it rounds to a tenth.
type scale struct {
	at     func(float64) float64
	lo, hi float64
	ticks  []tick
}

func linear(lo, hi, from, to float64) scale {
	return scale{lo: lo, hi: hi, at: func(v float64) float64 {
		share := min(max((v-lo)/(hi-lo), 0), 1)
		return math.Round(10*(from+share*(to-from))) / 10
	}}
}

// nice is a linear scale that ends on round numbers.
func nice(e extent, share bool, from, to float64) scale {
	if e.hi-e.lo < 1e-9*max(1, math.Abs(e.hi)) { // constant
		pad := max(math.Abs(e.hi)/2, .05)
		e = extent{e.lo - pad, e.hi + pad}
	}
	if share {
		e = extent{max(e.lo, 0), min(e.hi, 1)}
		if e.hi <= e.lo { // not a share after all
			e.hi = e.lo + 1
		}
	}
	step := niceStep((e.hi - e.lo) / 4)
	lo, hi := math.Floor(e.lo/step+1e-9), math.Ceil(e.hi/step-1e-9)
	s := linear(lo*step, hi*step, from, to)
	for i := lo; i <= hi; i++ {
		s.ticks = append(s.ticks, tick{s.at(i * step), tickText(i*step, step)})
	}
	return s
}

// tickText writes v with the decimals that tell it from its neighbours.
func tickText(v, step float64) string {
	if step < 1e-4 || math.Abs(v) >= 1e6 {
		return short(v)
	}
	decimals := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	return minus(strconv.FormatFloat(v+0, 'f', decimals, 64)) // -0 + 0 is 0
}

// niceStep is the smallest of 1, 2, 5 times a power of ten that is at least v.
func niceStep(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*unit >= v*(1-1e-9) {
			return f * unit
		}
	}
	return 10 * unit
}

// wholeTicks are round whole numbers in the scale's range.
func (s scale) wholeTicks() []tick {
	step := max(niceStep((s.hi-s.lo)/5), 1)
	var ticks []tick
	for i := math.Ceil(s.lo / step); i*step <= s.hi; i++ {
		ticks = append(ticks, tick{s.at(i * step), grouped(int(i * step))})
	}
	return ticks
}

// logarithmic is a scale for positive values.
func logarithmic(e extent, from, to float64) scale {
	inner := linear(math.Log(e.lo), math.Log(e.hi), from, to)
	s := scale{lo: e.lo, hi: e.hi, at: func(v float64) float64 { return inner.at(math.Log(v)) }}
	first, last := math.Floor(math.Log10(e.lo)), math.Floor(math.Log10(e.hi))
	factors, stride := []float64{1, 2, 5}, math.Ceil((last-first)/6)
	if e.hi/e.lo > 200 {
		factors = factors[:1]
	}
	for k := first; k <= last; k += max(stride, 1) {
		for _, f := range factors {
			if v := f * math.Pow(10, k); v >= e.lo && v <= e.hi {
				s.ticks = append(s.ticks, tick{s.at(v), short(v)})
			}
		}
	}
	return s
}

// forestSet is the dot-and-interval charts of one test set.
type forestSet struct {
	Set    string
	Charts []forest
}

// forest shows one metric of all stages with its intervals.
type forest struct {
	Title, Good, Summary       string
	Width, Height, Top, Bottom float64
	LabelX, ValueX, TickY      float64
	Ticks                      []tick
	Rows                       []forestRow
}

type forestRow struct {
	Label, Class, Value string
	X, Y, TextY         float64
	Low, High           float64
	Known, Interval     bool
}

// forests draws every test set's charts; a metric has the same axis in all.
func forests(r *Run) []forestSet {
	sets := TestSets(r.Stages)
	out := make([]forestSet, len(sets))
	for i, set := range sets {
		out[i].Set = set
		for _, c := range keyColumns() {
			if f, ok := drawForest(r, set, c, forestScale(r, c)); ok {
				out[i].Charts = append(out[i].Charts, f)
			}
		}
	}
	return slices.DeleteFunc(out, func(f forestSet) bool { return len(f.Charts) == 0 })
}

func forestScale(r *Run, c column) scale {
	e := newExtent()
	for _, s := range r.Stages {
		for _, sc := range s.Tests {
			if v := c.value(sc); finite(v) {
				e.add(v)
				if i, ok := sc.Intervals[c.interval]; ok {
					e.add(i[0])
					e.add(i[1])
				}
			}
		}
	}
	if e.empty() {
		e = extent{0, 1}
	}
	return nice(e, true, forestLeft+6, forestRight-6)
}

func drawForest(r *Run, set string, c column, x scale) (forest, bool) {
	good := "higher is better"
	if c.better < 0 {
		good = "lower is better"
	}
	f := forest{Title: c.Name, Good: good, Width: forestWidth, Top: 6, LabelX: forestLeft - 8, ValueX: forestWidth - 2, Ticks: x.ticks}
	var said []string
	y, known := f.Top, false
	for _, s := range r.Stages {
		sc := s.Tests[set]
		if sc == nil {
			continue
		}
		row := forestRow{Label: stageLabel(s.Name), Class: stageClass(s.Name), Value: dash, Y: y + forestLine/2, TextY: y + forestLine/2 + 4}
		if v := c.value(sc); finite(v) {
			row.Known, row.Value, row.X = true, c.text(v), x.at(v)
			known = true
		}
		if i, ok := sc.Intervals[c.interval]; ok && row.Known && finite(i[0]) && finite(i[1]) {
			row.Interval, row.Low, row.High = true, x.at(i[0]), x.at(i[1])
		}
		f.Rows = append(f.Rows, row)
		said = append(said, row.Label+" "+row.Value)
		y += forestLine
	}
	f.Bottom, f.TickY, f.Height = y+2, y+16, y+22
	f.Summary = c.Name + " on " + set + ": " + strings.Join(said, ", ")
	return f, known
}
