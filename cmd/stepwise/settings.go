package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// schema is what a program may be told: all options, and the list of those
// that always apply.
type schema struct {
	root    string
	options []option
}

func (s *schema) option(name string) *option {
	for i := range s.options {
		if s.options[i].name == name {
			return &s.options[i]
		}
	}
	panic("stepwise: no option is named " + name)
}

// values are settings as text, by the name of the option.
type values map[string]string

// settings are the values of the options that apply. An explicit flag comes
// before the preset, the preset before the default.
type settings struct {
	schema   *schema
	explicit values
	preset   values
	defaults values // of the options that apply
}

// parse reads flags. The error is flag.ErrHelp if help was asked for and has
// been written to out.
func (s *schema) parse(prog, about string, preset func(name string) (values, error), args []string, out io.Writer) (*settings, error) {
	v := &settings{schema: s, explicit: values{}, defaults: values{}}
	fs := flag.NewFlagSet(prog, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	presetName := fs.String("preset", "", "")
	for i := range s.options {
		fs.Var(&flagValue{option: &s.options[i], values: v.explicit}, s.options[i].name, "")
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			s.help(out, prog, about)
		}
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("argument %q: the input is read from standard input", fs.Arg(0))
	}
	if *presetName != "" {
		p, err := preset(*presetName)
		if err != nil {
			return nil, err
		}
		v.preset = p
	}
	v.apply(s.root)
	return v, v.check()
}

// flagValue is an option as package flag sees it.
type flagValue struct {
	option *option
	values values
}

func (f *flagValue) String() string { return "" }

func (f *flagValue) IsBoolFlag() bool { return f.option.kind == onOffKind }

func (f *flagValue) Set(value string) error {
	if err := f.option.check(value); err != nil {
		return err
	}
	f.values[f.option.name] = value
	return nil
}

// apply enters the options of a list and those that apply because of them.
func (v *settings) apply(list string) {
	for item := range strings.FieldsSeq(list) {
		name, def, given := strings.Cut(item, "=")
		if v.applies(name) {
			continue
		}
		o := v.schema.option(name)
		if !given {
			def = o.zero()
		}
		v.defaults[name] = def
		for _, c := range o.parents() {
			if c.name == v.text(name) {
				v.apply(c.options)
			}
		}
	}
}

// check returns an error if a flag was given that does not apply.
func (v *settings) check() error {
	for _, o := range v.schema.options {
		if _, given := v.explicit[o.name]; !given {
			continue
		}
		if !v.applies(o.name) {
			return fmt.Errorf("-%s does not apply here; it does with %s", o.name, strings.Join(v.schema.conditions(o.name), " or "))
		}
	}
	return nil
}

// applies reports whether an option applies.
func (v *settings) applies(name string) bool {
	_, ok := v.defaults[name]
	return ok
}

// text is the value of an option that applies.
func (v *settings) text(name string) string {
	def, ok := v.defaults[name]
	if !ok {
		panic("stepwise: option " + name + " does not apply")
	}
	if x, ok := v.explicit[name]; ok {
		return x
	}
	if x, ok := v.preset[name]; ok {
		return x
	}
	return def
}

func (v *settings) number(name string) float64 {
	x, err := strconv.ParseFloat(v.text(name), 64)
	if err != nil {
		panic(err) // flags and defaults have been checked
	}
	return x
}

func (v *settings) count(name string) int {
	n, err := strconv.Atoi(v.text(name))
	if err != nil {
		panic(err)
	}
	return n
}

func (v *settings) on(name string) bool { return v.text(name) == "true" }

// index is the number of a word among its choices.
func (v *settings) index(name string) int {
	for i, c := range v.schema.option(name).choices {
		if c.name == v.text(name) {
			return i
		}
	}
	panic("stepwise: option " + name + " has no choice " + v.text(name))
}

// limit is the range of an option.
type limit struct {
	name     string
	min, max float64
}

// checkRanges returns an error if an option that applies is out of its range.
func (v *settings) checkRanges(limits []limit) error {
	for _, l := range limits {
		if !v.applies(l.name) {
			continue
		}
		if x := v.number(l.name); !(x >= l.min && x <= l.max) {
			return fmt.Errorf("-%s is %v, want %s", l.name, x, l)
		}
	}
	return nil
}

func (l limit) String() string {
	switch {
	case l.min == -math.MaxFloat64:
		return "a finite number"
	case l.max == math.MaxFloat64:
		return "a finite number of at least " + formatNumber(l.min)
	}
	return "a number from " + formatNumber(l.min) + " to " + formatNumber(l.max)
}
