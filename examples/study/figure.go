package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// series are the contrasts of one colour in a figure, one for each of its rows.
type series struct {
	name      string
	contrasts []contrast
}

// figure draws contrasts with their intervals, a row for each name. The band is that of
// differences that do not matter.
func (s *study) figure(path string, names []string, all []series) error {
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
	band, err := plotter.NewPolygon(plotter.XYs{{X: -m, Y: -.5}, {X: m, Y: -.5}, {X: m, Y: top}, {X: -m, Y: top}})
	if err != nil {
		return err
	}
	band.Color, band.LineStyle.Width = color.Gray{232}, 0
	zero, err := plotter.NewLine(plotter.XYs{{X: 0, Y: -.5}, {X: 0, Y: top}})
	if err != nil {
		return err
	}
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
		bars, err := plotter.NewXErrorBars(p)
		if err != nil {
			return err
		}
		dots, err := plotter.NewScatter(p)
		if err != nil {
			return err
		}
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
	if _, err := c.WriteTo(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}
