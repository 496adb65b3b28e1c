package main

import (
	"fmt"
	"math"
	"strings"
)

// curve is a quantity by round.
type curve struct {
	name string
	y    []float64
}

// rate fits y = c·ρᵏ by least squares to log y, where y is from 1e-9 to 1e-2.
func (c curve) rate() string {
	var n, sk, sy, skk, sky float64
	for i, v := range c.y {
		if k, y := float64(i), math.Log(v); v > 1e-9 && v < 1e-2 {
			n, sk, sy, skk, sky = n+1, sk+k, sy+y, skk+k*k, sky+k*y
		}
	}
	if n == 0 {
		return "stalls"
	}
	return fmt.Sprintf("factor %.4f a round", math.Exp((n*sky-sk*sy)/(n*skk-sk*sk)))
}

// plot draws curves as SVG, on a logarithmic scale from 1e-16 to 10.
func plot(curves []curve) []byte {
	var b strings.Builder
	y := func(v float64) float64 { return 20 + 20*(1-math.Log10(min(max(v, 1e-16), 10))) }
	fmt.Fprint(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 420" font-family="sans-serif" font-size="12">`+"\n"+`<rect width="640" height="420" fill="white"/>`+"\n")
	for e := 0; e >= -16; e -= 4 {
		at := y(math.Pow(10, float64(e)))
		fmt.Fprintf(&b, `<path d="M60 %.0fH620" stroke="#ddd"/><text x="54" y="%.0f" text-anchor="end">1e%d</text>`+"\n", at, at+4, e)
	}
	for i, c := range curves {
		color := []string{"#c33", "#06c", "#084", "#a6a"}[i%4]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%d 4" points="`, color, 40/(1+i*i))
		for k := 0; k < len(c.y); k += 10 {
			fmt.Fprintf(&b, "%.1f,%.1f ", 60+560*float64(k)/float64(len(c.y)-1), y(c.y[k]))
		}
		fmt.Fprintf(&b, `"/>`+"\n"+`<text x="80" y="%d" fill="%s">%s: %s</text>`+"\n", 260+16*i, color, c.name, c.rate())
	}
	fmt.Fprintf(&b, `<text x="340" y="394" text-anchor="middle">largest distance of a node from the optimum of all data, over %d rounds</text></svg>`+"\n", len(curves[0].y)-1)
	return []byte(b.String())
}
