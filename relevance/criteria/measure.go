package criteria

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// unit is a unit of measurement: its dimension, and how many of the dimension's
// base units it is.
type unit struct {
	dimension string
	factor    float64
}

// units are the units by their names in small letters, singular and plural.
var units = func() map[string]unit {
	table := map[string]map[string]float64{
		"length":    {"mm": .001, "cm": .01, "m": 1, "km": 1000, "inch": .0254, "inche": .0254, "in": .0254, "ft": .3048, "foot": .3048, "feet": .3048, "yd": .9144, "meter": 1, "metre": 1},
		"mass":      {"mg": 1e-6, "g": .001, "kg": 1, "gram": .001, "lb": .45359237, "lbs": .45359237, "pound": .45359237, "oz": .028349523125},
		"data":      {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12},
		"frequency": {"hz": 1, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
		"power":     {"w": 1, "kw": 1000, "watt": 1, "mw": .001},
		"voltage":   {"v": 1, "volt": 1, "mv": .001, "kv": 1000},
		"charge":    {"mah": .001, "ah": 1},
		"volume":    {"ml": .001, "cl": .01, "l": 1, "liter": 1, "litre": 1},
		"time":      {"ms": .001, "s": 1, "sec": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600},
		"pixels":    {"mp": 1e6, "megapixel": 1e6},
		"rate":      {"kbps": 1e3, "mbps": 1e6, "gbps": 1e9},
		"pages":     {"ppm": 1},
		"points":    {"dpi": 1},
	}
	all := make(map[string]unit)
	for dimension, factors := range table {
		for name, factor := range factors {
			all[name] = unit{dimension, factor}
		}
	}
	return all
}()

// quantity is a number with its unit in base units, of which the unit is factor;
// dimension is "" for a bare number.
type quantity struct {
	value     float64
	dimension string
	factor    float64
	at, end   int // words
}

// quantities reads the numbers of a text: "16 GB", "2.5inch", "45".
func (t *Text) quantities() []quantity {
	var out []quantity
	for i := 0; i < len(t.Words); i++ {
		digits := strings.IndexFunc(t.Words[i], func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		number, rest := t.Words[i], ""
		if digits >= 0 {
			number, rest = t.Words[i][:digits], t.Words[i][digits:]
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			continue
		}
		q := quantity{value: v, at: i, end: i + 1}
		name := rest
		if rest == "" && i+1 < len(t.Words) {
			name = t.Words[i+1]
		}
		u, ok := units[name]
		if !ok {
			u, ok = units[Stem(name)]
		}
		switch {
		case ok:
			q.value, q.dimension, q.factor = v*u.factor, u.dimension, u.factor
			if rest == "" {
				q.end++
			}
		case rest != "":
			continue // a model number
		}
		out = append(out, q)
	}
	return out
}

// Attribute asks whether the document has the quantities that the query names,
// with units converted: 16 GB is 16000 MB, and 1 m is 100 cm.
type Attribute struct {
	// Tolerance is how far a value may be off, as a share; 0 means 2%.
	Tolerance float64 `json:"tolerance"`
}

// Name implements [Criterion].
func (c *Attribute) Name() string { return "attribute" }

// Sentence implements [Criterion].
func (c *Attribute) Sentence() string {
	return "match: the document has every quantity of the query, in this or another unit; mismatch: it has another value in that dimension; unknown: it has none; none: the query names no quantity with a unit."
}

// Answers implements [Criterion].
func (c *Attribute) Answers() []string { return []string{"match", "mismatch", "unknown", None} }

// Validate returns an error if the tolerance is not in [0, 1).
func (c *Attribute) Validate() error {
	if !(c.Tolerance >= 0 && c.Tolerance < 1) {
		return fmt.Errorf("tolerance is %v, want at least 0 and less than 1", c.Tolerance)
	}
	return nil
}

// Judge implements [Criterion].
func (c *Attribute) Judge(q *Query, d *Document) Finding {
	tolerance := cmp.Or(c.Tolerance, .02)
	f := Finding{None, 1, "none asked", "the query names no quantity"}
	if _, _, _, isRange := q.limits(); isRange {
		return f
	}
	asked := slices.DeleteFunc(q.quantities(), func(n quantity) bool { return n.dimension == "" })
	if len(asked) == 0 {
		return f
	}
	have := d.Text(FieldAny).quantities()
	for _, want := range asked {
		text := strings.Join(q.Words[want.at:want.end], " ")
		answer := "unknown"
		for _, h := range have {
			if h.dimension != want.dimension {
				continue
			}
			if math.Abs(h.value-want.value) <= tolerance*want.value {
				answer = "match"
				break
			}
			answer = "mismatch"
		}
		switch {
		case answer == "mismatch":
			return Finding{answer, 0, "not " + text, "the document has another value than " + text}
		case answer == "unknown":
			f = Finding{answer, .5, text + " unknown", "the document does not say whether it has " + text}
		case f.Answer == None:
			f = Finding{answer, 1, text, "the document has " + text}
		}
	}
	return f
}

// Range asks whether a number of the document lies within the limits that the
// query sets: "under 500", "at least 2 m", "no more than 5 kg", "10-15 inch", "between 20
// and 30 kg".
type Range struct {
	// Of is the field that a limit without a unit is about, usually the price.
	Of string `json:"of"`
}

// Name implements [Criterion].
func (c *Range) Name() string { return "range" }

// Sentence implements [Criterion].
func (c *Range) Sentence() string {
	return "inside: the document's value lies within the limits that the query sets; outside: it does not; unknown: the document has no such value; none: the query sets no limits."
}

// Answers implements [Criterion].
func (c *Range) Answers() []string { return []string{"inside", "outside", "unknown", None} }

// Validate returns an error if no field is named.
func (c *Range) Validate() error {
	if c.Of == "" {
		return errors.New("of is empty, want the name of a field")
	}
	return nil
}

// Judge implements [Criterion].
func (c *Range) Judge(q *Query, d *Document) Finding {
	low, high, dimension, ok := q.limits()
	if !ok {
		return Finding{None, 1, "none set", "the query sets no limits"}
	}
	var values []float64
	if v, ok := d.number(c.Of); ok && dimension == "" {
		values = append(values, v)
	}
	if dimension != "" {
		for _, h := range d.Text(FieldAny).quantities() {
			if h.dimension == dimension {
				values = append(values, h.value)
			}
		}
	}
	if len(values) == 0 {
		return Finding{"unknown", .5, "unknown", "the document has no such value"}
	}
	if slices.ContainsFunc(values, func(v float64) bool { return low <= v && v <= high }) {
		return Finding{"inside", 1, "inside", "a value lies within the limits"}
	}
	return Finding{"outside", 0, "outside", "no value lies within the limits"}
}

// bounds are words that make the number after them a limit: -1 an upper one, +1 a
// lower one.
var bounds = map[string]int{
	"under": -1, "below": -1, "max": -1, "maximum": -1, "most": -1, "less": -1, "cheaper": -1, "upto": -1,
	"over": 1, "above": 1, "min": 1, "minimum": 1, "least": 1, "more": 1, "from": 1,
}

// limits reads the limits that the query sets.
func (q *Query) limits() (low, high float64, dimension string, ok bool) {
	low, high = math.Inf(-1), math.Inf(1)
	numbers := q.quantities()
	for i, n := range numbers {
		// "10-15 inch", "between 10 and 15 inch", "10 to 15 inch": the unit may stand
		// with the second number only.
		if i+1 < len(numbers) {
			next := numbers[i+1]
			between := strings.Join(q.Words[n.end:next.at], " ")
			spelled := between == "to" || between == "and" && n.at > 0 && q.Words[n.at-1] == "between"
			if spelled || between == "" && strings.Contains(q.Raw, q.Words[n.at]+"-"+q.Words[next.at]) {
				if n.dimension == "" && next.dimension != "" {
					n.value *= next.factor
				}
				return n.value, next.value, next.dimension, true
			}
		}
		side := 0
		for k := max(n.at-2, 0); k < n.at; k++ {
			w := q.Words[k]
			if b := bounds[w]; b != 0 {
				side = b
			}
			switch {
			case w == "up" && k+1 < n.at && q.Words[k+1] == "to":
				side = -1
			case (w == "more" || w == "less") && q.negates(k-1):
				side = -side // "no more than 5 kg"
			}
		}
		switch {
		case side < 0:
			return low, n.value, n.dimension, true
		case side > 0:
			return n.value, high, n.dimension, true
		}
	}
	return low, high, "", false
}
