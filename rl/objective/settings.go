package objective

import (
	"fmt"
	"strings"
)

// enum turns the values of a type of settings, 0 to len(names)-1, into texts and
// back. A value whose name is empty is invalid.
type enum struct {
	typ   string
	names []string
}

func (e enum) valid(v uint8) bool { return int(v) < len(e.names) && e.names[v] != "" }

// text returns the name of v, or for an invalid v something like "Masked(9)".
func (e enum) text(v uint8) string {
	if !e.valid(v) {
		return fmt.Sprintf("%s(%d)", e.typ, v)
	}
	return e.names[v]
}

func (e enum) marshal(v uint8) ([]byte, error) {
	if !e.valid(v) {
		return nil, fmt.Errorf("objective: %s is invalid, want %s", e.text(v), e.choices())
	}
	return []byte(e.names[v]), nil
}

func (e enum) unmarshal(text []byte, v *uint8) error {
	for i, name := range e.names {
		if name != "" && name == string(text) {
			*v = uint8(i)
			return nil
		}
	}
	return fmt.Errorf("objective: unknown %s %q, want %s", e.typ, text, e.choices())
}

// check returns an error unless the setting of this name has a valid value.
func (e enum) check(setting string, v uint8) error {
	if !e.valid(v) {
		return fmt.Errorf("objective: %s is %s, want %s", setting, e.text(v), e.choices())
	}
	return nil
}

// choices lists the names of all valid values.
func (e enum) choices() string {
	names := e.names
	for names[0] == "" {
		names = names[1:]
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// checkNonNegative checks a setting that is a finite number of at least 0.
func checkNonNegative(name string, x float64) error {
	if !(x >= 0) || !finite(x) {
		return fmt.Errorf("objective: %s is %v, want a finite number of at least 0", name, x)
	}
	return nil
}

// checkFinite checks a setting that may have either sign.
func checkFinite(name string, x float64) error {
	if !finite(x) {
		return fmt.Errorf("objective: %s is %v, want a finite number", name, x)
	}
	return nil
}

// checkWrapped checks the objective that a wrapper holds.
func checkWrapped(name string, o Objective) error {
	if o == nil {
		return fmt.Errorf("objective: %s.Objective is nil, want an objective to wrap", name)
	}
	return o.Validate()
}

// finite reports whether x is neither NaN nor infinite.
func finite(x float64) bool { return x-x == 0 }

// limited returns x held within ±limit; a limit of 0 is none.
func limited(x, limit float64) float64 {
	if limit > 0 {
		return min(max(x, -limit), limit)
	}
	return x
}
