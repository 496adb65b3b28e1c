package jinja

import (
	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// maxNumber bounds the numbers that filters take, widths for instance.
const maxNumber = 1 << 16

// engineFilters are the engine's filters that do what Jinja's do.
var engineFilters = []string{
	"abs", "capitalize", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby", "indent", "int",
	"join", "last", "length", "count", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round",
	"safe", "select", "selectattr", "sort", "string", "sum", "title", "unique", "upper", "wordcount",
}

// filterSet holds the engine's filters, with bounds, and those of our own.
func filterSet() *exec.FilterSet {
	set := map[string]exec.FilterFunction{
		"tojson": own(toJSON),
		"trim": own(func(v *exec.Value, a *arguments) (any, error) {
			return strip(v.String(), a, true, true), nil
		}),
		"list": own(func(v *exec.Value, _ *arguments) (any, error) { return elements(v), nil }),
		"items": own(func(v *exec.Value, a *arguments) (any, error) {
			if v.IsNil() {
				return list{}, nil
			}
			if !v.IsDict() {
				return nil, fault("items of what is no mapping")
			}
			return dictMethods["items"](pairs(v), a), nil
		}),
	}
	for _, name := range engineFilters {
		filter, ok := builtins.Filters.Get(name)
		if !ok {
			panic("jinja: the engine has no filter " + name)
		}
		set[name] = func(e *exec.Evaluator, v *exec.Value, va *exec.VarArgs) *exec.Value {
			for _, arg := range va.Args {
				if err := small(arg); err != nil {
					return exec.AsValue(err)
				}
			}
			for _, arg := range va.KwArgs {
				if err := small(arg); err != nil {
					return exec.AsValue(err)
				}
			}
			return listed(filter(e, v, va))
		}
	}
	return exec.NewFilterSet(set)
}

func small(v *exec.Value) error {
	if v.IsNumber() && (v.Float() > maxNumber || v.Float() < -maxNumber) {
		return fault("a filter's argument is %s, want at most %d", v.String(), maxNumber)
	}
	return nil
}

// elements returns what a list, a string or a dict consists of.
func elements(v *exec.Value) list {
	if !v.IsString() {
		return items(v)
	}
	l := list{}
	for _, r := range v.String() {
		l = append(l, string(r))
	}
	return l
}

// own makes a filter of a function.
func own(f func(v *exec.Value, a *arguments) (any, error)) exec.FilterFunction {
	return func(_ *exec.Evaluator, v *exec.Value, va *exec.VarArgs) *exec.Value {
		if v.IsError() {
			return v
		}
		a := arguments{VarArgs: va}
		out, err := f(v, &a)
		if err == nil {
			err = a.end()
		}
		if err != nil {
			return exec.AsValue(err)
		}
		return exec.AsValue(out)
	}
}
