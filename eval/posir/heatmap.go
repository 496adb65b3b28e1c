package posir

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
)

// WriteHeatMap draws the mean nDCG@10 by length and position as SVG: a row per length
// bucket and one for all lengths, a column per bin. Light is 0 and dark is 1; a bin
// without queries is a dashed frame. A viewer shows mean and number of queries of
// each cell.
func WriteHeatMap(w io.Writer, a *Analysis, title string) error {
	const left, top, width, height = 62, 44, 30, 26
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12" fill="#222" style="background:#fff">`+"\n",
		left+Bins*width+80, top+(Buckets+1)*height+48)
	text := func(x, y float64, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="%s">`, x, y, anchor)
		_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
		b.WriteString("</text>\n")
	}
	text(left, 18, "start", title)
	text(left, 36, "start", "mean nDCG@10 by position of the evidence")
	text(left+Bins*width+10, 36, "start", "PSI")
	for row := range Buckets + 1 {
		name, c := "all", &a.All
		if row < Buckets {
			name, c = BucketNames[row], &a.ByLength[row]
		}
		y := top + row*height
		text(left-8, float64(y)+17, "end", name)
		text(left+Bins*width+10, float64(y)+17, "start", number(c.PSI(), 3))
		for bin := range Bins {
			paint, value := `fill="none" stroke-dasharray="2"`, "no queries"
			if c.Count[bin] > 0 {
				paint, value = fmt.Sprintf(`fill="%s"`, shade(c.Mean[bin])), fmt.Sprintf("%.3f of %d queries", c.Mean[bin], c.Count[bin])
			}
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" %s stroke="#ccc"><title>%s, %.2f to %.2f: %s</title></rect>`+"\n",
				left+bin*width, y, width-1, height-1, paint, name, binEdges[bin], binEdges[bin+1], value)
		}
	}
	bottom := float64(top + (Buckets+1)*height)
	for _, at := range []float64{0, .25, .5, .75, 1} {
		text(left+at*Bins*width, bottom+18, "middle", fmt.Sprint(at))
	}
	text(left, bottom+38, "start", "beginning of the document")
	text(left+Bins*width, bottom+38, "end", "end")
	b.WriteString("</svg>\n")
	_, err := w.Write(b.Bytes())
	return err
}

// shade returns a colour between near-white and dark blue for a value from 0 to 1.
func shade(v float64) string {
	v = min(max(v, 0), 1)
	mix := func(from, to float64) int { return int(math.Round(from + (to-from)*v)) }
	return fmt.Sprintf("#%02x%02x%02x", mix(247, 8), mix(251, 48), mix(255, 107))
}

// number writes a value, or a dash if it is undefined.
func number(v float64, digits int) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.*f", digits, v)
}
