package jinja

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// maxRange is the most numbers that range counts, as in Jinja's sandbox.
const maxRange = 100_000

// environment is that of transformers, with a clock.
func environment(now func() time.Time) *exec.Environment {
	return &exec.Environment{
		Filters:           filterSet(),
		ControlStructures: statementSet(),
		Tests:             builtins.Tests,
		Methods:           methodSet(),
		Context: exec.NewContext(map[string]any{
			"raise_exception": function(raised),
			"strftime_now": function(func(a *arguments) (any, error) {
				return strftime(now(), a.text("format"))
			}),
			"range":     function(numbers),
			"namespace": function(namespace),
			"dict":      function(dict),
		}),
	}
}

// function makes a function of a template of one of ours.
func function(f func(a *arguments) (any, error)) func(va *exec.VarArgs) *exec.Value {
	return func(va *exec.VarArgs) *exec.Value {
		a := arguments{VarArgs: va}
		v, err := f(&a)
		if err == nil {
			err = a.end()
		}
		if err != nil {
			return exec.AsValue(err)
		}
		return exec.AsValue(v)
	}
}

// raised is the error that a template raises itself.
func raised(a *arguments) (any, error) {
	message := a.text("message")
	if err := a.end(); err != nil {
		return nil, err
	}
	return nil, fault("%s", message)
}

// numbers is Python's range.
func numbers(a *arguments) (any, error) {
	start, stop, step := 0, 0, 1
	if len(a.Args) == 1 {
		stop = a.count("stop", 0)
	} else {
		start, stop, step = a.count("start", 0), a.count("stop", 0), a.count("step", 1)
	}
	if step == 0 {
		return nil, fault("the step of a range is 0")
	}
	l := list{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(l) == maxRange {
			return nil, fault("a range of more than %d numbers", maxRange)
		}
		l = append(l, i)
	}
	return l, nil
}

// namespace holds variables that an inner block can set.
func namespace(a *arguments) (any, error) {
	ns := map[string]any{}
	for name, v := range a.KwArgs {
		if strings.HasPrefix(name, "_") {
			return nil, fault("a namespace cannot hold %s, for it begins with an underscore", name)
		}
		ns[name] = v.Interface()
	}
	clear(a.KwArgs)
	return ns, nil
}

// dict makes a dict of named arguments. The engine loses their order.
func dict(a *arguments) (any, error) {
	d := exec.NewDict()
	for _, name := range slices.Sorted(maps.Keys(a.KwArgs)) {
		d.Pairs = append(d.Pairs, &exec.Pair{Key: exec.AsValue(name), Value: a.KwArgs[name]})
	}
	clear(a.KwArgs)
	return d, nil
}

// strftime writes a time as Python's strftime does in the C locale.
func strftime(t time.Time, format string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		if i == len(format) {
			return "", fault("strftime_now: the format ends in %%")
		}
		layout, ok := directives[format[i]]
		switch {
		case ok:
			b.WriteString(t.Format(layout))
		case format[i] == 'j':
			fmt.Fprintf(&b, "%03d", t.YearDay())
		case format[i] == '%':
			b.WriteByte('%')
		default:
			return "", fault("strftime_now: %%%c is not supported", format[i])
		}
	}
	return b.String(), nil
}

// directives gives Go's layout for strftime's letters.
var directives = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'd': "02", 'm': "01", 'y': "06", 'Y': "2006",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'F': "2006-01-02", 'T': "15:04:05",
}
