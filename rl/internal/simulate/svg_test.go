package simulate_test

import (
	"fmt"
	"strings"
)

type point struct{ x, y float64 }

// curve is the share of busy slots, y from 0 to 1, against staleness.
type curve struct {
	name   string
	dashed bool
	points []point
}

// svg draws the curves.
func svg(curves []curve) string {
	const left, top, width, height, side = 60, 20, 480, 300, 290
	most := 1.0
	for _, c := range curves {
		for _, p := range c.points {
			most = max(most, p.x)
		}
	}
	x := func(v float64) float64 { return left + width*v/most }
	y := func(v float64) float64 { return top + height*(1-v) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", left+width+side, top+height+50)
	fmt.Fprintln(&b, `<rect width="100%" height="100%" fill="white"/>`)
	for i := range 6 {
		v := float64(i) / 5
		fmt.Fprintf(&b, `<path d="M%d %.1fh%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f%%</text>`+"\n", left, y(v), width, left-8, y(v)+4, 100*v)
	}
	for i := range int(most) + 1 {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x(float64(i)), top+height+18, i)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">bound on staleness, in training steps</text>`+"\n", left+width/2, top+height+40)
	fmt.Fprintf(&b, `<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">slots busy</text>`+"\n", top+height/2)
	colours := []string{"#1f77b4", "#d95f02", "#2ca02c", "#9467bd", "#8c564b"}
	for i, c := range curves {
		colour, dash := colours[i/2%len(colours)], ""
		if c.dashed {
			dash = ` stroke-dasharray="5 4"`
		}
		var path strings.Builder
		for k, p := range c.points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(k, 1)], x(p.x), y(p.y))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(p.x), y(p.y), colour)
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s"%s/>`+"\n", path.String(), colour, dash)
		at := top + 20*i + 10
		fmt.Fprintf(&b, `<path d="M%d %dh24" stroke="%s"%s/><text x="%d" y="%d">%s</text>`+"\n", left+width+16, at, colour, dash, left+width+46, at+4, c.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
