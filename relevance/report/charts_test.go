package report

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func texts(ticks []tick) (out []string) {
	for _, t := range ticks {
		out = append(out, t.Text)
	}
	return out
}

func TestTicksAreRound(t *testing.T) {
	assert.Equal(t, []string{"0.05", "0.10", "0.15", "0.20", "0.25"}, texts(nice(extent{.07, .23}, true, 0, 1).ticks))
	assert.Equal(t, []string{"0", "2", "4", "6"}, texts(nice(extent{.4, 5.9}, false, 0, 1).ticks))
	assert.Equal(t, []string{"−1.0", "−0.5", "0.0", "0.5", "1.0"}, texts(nice(extent{-1, 1}, false, 0, 1).ticks))
	assert.Equal(t, []string{"0.85", "0.90", "0.95", "1.00"}, texts(nice(extent{.87, 1.2}, true, 0, 1).ticks), "a share ends at 1")
	assert.Equal(t, []string{"20", "40", "60", "80", "100"}, texts(linear(1, 100, 0, 1).wholeTicks()))
	assert.Equal(t, []string{"0.5", "1", "2", "5"}, texts(logarithmic(extent{.3, 7}, 0, 1).ticks))
	assert.Equal(t, []string{"0.01", "0.1", "1", "10"}, texts(logarithmic(extent{.009, 12}, 0, 1).ticks))
}

func TestScaleEndsAtItsEnds(t *testing.T) {
	s := linear(2, 4, 100, 0)
	assert.Equal(t, []float64{100, 75, 50, 0}, []float64{s.at(2), s.at(2.5), s.at(3), s.at(4)})
	l := logarithmic(extent{.01, 1}, 0, 100)
	assert.Equal(t, []float64{0, 50, 100}, []float64{l.at(.01), l.at(.1), l.at(1)})
}

func TestSmoothedIsTheMeanAround(t *testing.T) {
	var points []xy
	for i := range 40 {
		points = append(points, xy{float64(i), float64(i * i)})
	}
	smooth, window := smoothed(points)
	require.Equal(t, 5, window)
	assert.InDelta(t, 10*10+2, smooth[10].y, 1e-12) // mean of (i±k)² is i² + mean k²
	assert.InDelta(t, (0+1+4)/3., smooth[0].y, 1e-12)
	assert.InDelta(t, (37*37+38*38+39*39)/3., smooth[39].y, 1e-12)

	few, window := smoothed(points[:19])
	assert.Equal(t, 1, window)
	assert.Equal(t, points[:19], few)
}

func TestThinKeepsTheMean(t *testing.T) {
	var points []xy
	for i := range 3000 {
		points = append(points, xy{float64(i), 1})
	}
	out := thin(points)
	assert.Len(t, out, 300)
	assert.InDelta(t, 4.5, out[0].x, 1e-9)
	assert.InDelta(t, 1, out[17].y, 1e-9)
}

func TestLoneAndConstantCurves(t *testing.T) {
	c, ok := drawChart(quantity{title: "t"}, []curve{{"a", "c0", []xy{{7, .25}}}})
	require.True(t, ok)
	require.NotNil(t, c.Lines[0].Dot)
	assert.Empty(t, c.Lines[0].Path)

	for _, y := range []float64{0, 1, -3, 1e9, 1e-30} {
		c, ok = drawChart(quantity{share: true, log: true}, []curve{{"a", "c0", []xy{{1, y}, {2, y}}}})
		require.True(t, ok)
		assert.GreaterOrEqual(t, len(c.YTicks), 2, y)
	}
	_, ok = drawChart(quantity{}, []curve{{"a", "c0", nil}})
	assert.False(t, ok)
}

func TestChartsStayInTheirFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := quantity{share: rapid.Bool().Draw(t, "share"), log: rapid.Bool().Draw(t, "log")}
		var lines []curve
		for range rapid.IntRange(0, 3).Draw(t, "lines") {
			ys := rapid.SliceOfN(rapid.Float64Range(-1e12, 1e12), 0, 50).Draw(t, "y")
			l := curve{name: "a"}
			for i, y := range ys {
				l.points = append(l.points, xy{float64(i), y})
			}
			lines = append(lines, l)
		}
		c, ok := drawChart(q, lines)
		if !ok {
			return
		}
		for _, k := range c.YTicks {
			assert.True(t, k.At >= c.Top && k.At <= c.Bottom, "tick at %g", k.At)
		}
		assert.Less(t, len(c.YTicks), 12)
		for _, l := range c.Lines {
			for _, p := range []string{l.Path, l.Faint} {
				for _, pair := range strings.FieldsFunc(p, func(r rune) bool { return r == 'M' || r == 'L' }) {
					xs, ys, _ := strings.Cut(pair, " ")
					x, errX := strconv.ParseFloat(xs, 64)
					y, errY := strconv.ParseFloat(ys, 64)
					if errX != nil || errY != nil || !(x >= c.Left && x <= c.Right && y >= c.Top && y <= c.Bottom) {
						t.Fatalf("point %q outside the frame", pair)
					}
				}
			}
		}
	})
}

func TestCurvesReadTheLog(t *testing.T) {
	line := func(step int64, v float64) Metrics {
		return Metrics{"rl-mask", step, map[string]float64{"reward/label": v}}
	}
	got := values(inOrder([]Metrics{line(2, .2), line(1, .1), line(3, math.NaN()), line(2, .9)}), named("reward/label"))
	assert.Equal(t, []xy{{1, .1}, {2, .9}}, got, "in order, the later of a repeated step, finite only")

	mean, ok := meanInner([]string{"a", "b", "c", "label"})(map[string]float64{"step/a/correct": .5, "step/c/correct": 1, "step/label/correct": 0})
	assert.True(t, ok)
	assert.Equal(t, .75, mean)
	_, ok = meanInner(nil)(nil)
	assert.False(t, ok)
}

func TestForestAxisIsSharedBySets(t *testing.T) {
	sets := forests(testReport())
	require.Len(t, sets, 2)
	for k := range sets[0].Charts {
		assert.Equal(t, sets[0].Charts[k].Ticks, sets[1].Charts[k].Ticks)
	}
	rows := sets[0].Charts[0].Rows
	require.Len(t, rows, 5)
	assert.Less(t, rows[3].Low, rows[2].High, "their intervals overlap")
	assert.Greater(t, rows[3].X, rows[2].X)
	assert.False(t, sets[0].Charts[1].Rows[0].Known, "a classifier has no steps")
}
