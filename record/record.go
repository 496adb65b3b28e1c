package record

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/rl"
)

// Bounds on the metrics of one recorder. A run has some dozens of names; one
// that keeps inventing new ones, from what a policy wrote for example, is
// stopped by these.
const (
	MaxNames     = 4096 // distinct names
	MaxNameBytes = 256  // of one name, escaped
)

// EscapeName returns a metric's name as recorders write it. Printable
// characters, spaces included, stay as they are; a backslash becomes two; every
// other character and every byte that is not UTF-8 becomes the escape sequence
// of a Go string (\n, \x1b, \u202e). Different names stay different.
func EscapeName(name string) string {
	quoted := strconv.Quote(name)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// metric is one number of a training step.
type metric struct {
	name  string // escaped
	value float64
}

// guard checks what a recorder is given: steps that ascend, and names within
// the bounds.
type guard struct {
	last  int64             // the last training step; 0 = none yet
	names map[string]string // escaped, by what they were
}

// check returns the metrics of a training step in the order of their names.
// Nothing of the step is to be recorded if there is an error.
func (g *guard) check(step int64, metrics map[string]float64) ([]metric, error) {
	switch {
	case step < 1:
		return nil, fmt.Errorf("record: training step %d, but they are counted from 1", step)
	case step <= g.last:
		return nil, fmt.Errorf("record: training step %d after %d: want every step once, in ascending order", step, g.last)
	}
	list := make([]metric, 0, len(metrics))
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		escaped, err := g.name(name)
		if err != nil {
			return nil, fmt.Errorf("record: training step %d: metric %w", step, err)
		}
		list = append(list, metric{escaped, metrics[name]})
	}
	slices.SortFunc(list, func(a, b metric) int { return cmp.Compare(a.name, b.name) })
	return list, nil
}

// name escapes a name, or says which bound it breaks.
func (g *guard) name(name string) (string, error) {
	if escaped, ok := g.names[name]; ok {
		return escaped, nil
	}
	escaped := EscapeName(name)
	switch {
	case name == "":
		return "", errors.New(`"": want a name that is not empty`)
	case len(escaped) > MaxNameBytes:
		return "", fmt.Errorf("%.40q…: the name has %d bytes, want at most %d", name, len(escaped), MaxNameBytes)
	case len(g.names) == MaxNames:
		return "", fmt.Errorf("%q: there are %d names already, want no more in one run", name, MaxNames)
	}
	if g.names == nil {
		g.names = make(map[string]string)
	}
	g.names[name] = escaped
	return escaped, nil
}

// Tee returns a recorder that hands everything to all of the given ones, in
// this order. If one of them fails, the others still receive the step; the
// errors are joined. It does not close them. A nil recorder panics.
func Tee(recorders ...rl.Recorder) rl.Recorder {
	for i, r := range recorders {
		if r == nil {
			panic(fmt.Sprintf("record: Tee: recorder %d is nil", i))
		}
	}
	recorders = slices.Clone(recorders)
	return rl.RecorderFunc(func(step int64, metrics map[string]float64) error {
		var errs []error
		for _, r := range recorders {
			errs = append(errs, r.Record(step, metrics))
		}
		return errors.Join(errs...)
	})
}
