package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// An option is a setting with a flag of its own. Some apply only where another
// option has a certain value: a tree, whose root is the list of the options
// that always apply.
//
// A list of options is written "name name=default …"; without a default it is
// 0, false, the first choice or nothing.
type option struct {
	name string
	kind kind
	help string
	// choices are what an option of kind wordKind may be.
	choices []choice
	// on lists the options that apply if one of kind onOffKind is set.
	on string
}

// choice is a value of an option and the list of the options that apply with
// it.
type choice struct{ name, help, options string }

type kind uint8

const (
	numberKind kind = iota // a float64, not NaN
	countKind              // an integer of at least 0
	onOffKind
	wordKind    // one of the choices
	weightsKind // name=number,…
)

var kindNames = [...]string{numberKind: "number", countKind: "count", onOffKind: "", wordKind: "choice", weightsKind: "name=number,…"}

// check returns an error unless the option may have the value.
func (o *option) check(value string) error {
	switch o.kind {
	case numberKind:
		if x, err := strconv.ParseFloat(value, 64); err != nil || math.IsNaN(x) {
			return errors.New("want a number")
		}
	case countKind:
		if n, err := strconv.Atoi(value); err != nil || n < 0 {
			return errors.New("want an integer of at least 0")
		}
	case onOffKind:
		if value != "true" && value != "false" {
			return errors.New("want true or false")
		}
	case wordKind:
		if o.choice(value) == nil {
			return fmt.Errorf("want one of %s", strings.Join(o.names(), ", "))
		}
	case weightsKind:
		_, err := parseWeights(value)
		return err
	}
	return nil
}

// zero is the default where a list of options names none.
func (o *option) zero() string {
	switch o.kind {
	case onOffKind:
		return "false"
	case wordKind:
		return o.choices[0].name
	case weightsKind:
		return ""
	}
	return "0"
}

func (o *option) choice(name string) *choice {
	i := slices.IndexFunc(o.choices, func(c choice) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return &o.choices[i]
}

func (o *option) names() []string {
	var names []string
	for _, c := range o.choices {
		names = append(names, c.name)
	}
	return names
}

// parents are the values of the option that make others apply, and which.
func (o *option) parents() []choice {
	if o.kind == onOffKind && o.on != "" {
		return []choice{{name: "true", options: o.on}}
	}
	return o.choices
}

// parseWeights reads name=number,… .
func parseWeights(text string) (map[string]float64, error) {
	all := map[string]float64{}
	if text == "" {
		return all, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(item, "=")
		x, err := strconv.ParseFloat(value, 64)
		if _, twice := all[name]; !ok || err != nil || twice || name == "" || math.IsInf(x, 0) || math.IsNaN(x) {
			return nil, errors.New("want name=number,… with each name once and finite numbers")
		}
		all[name] = x
	}
	return all, nil
}

func formatNumber(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
