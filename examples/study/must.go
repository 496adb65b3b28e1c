package main

import "fmt"

// failure is what must, check and fail panic with, and catch makes an error again: of most
// errors there is nothing to do but to end the run, or the program.
type failure struct{ error }

// must returns v, or fails.
func must[T any](v T, err error) T {
	if err != nil {
		panic(failure{err})
	}
	return v
}

// check fails if there is an error.
func check(err error) { must(0, err) }

func fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// catch, deferred, sets err if one of them has ended the function.
func catch(err *error) {
	if x := recover(); x != nil {
		f, ok := x.(failure)
		if !ok {
			panic(x)
		}
		*err = f.error
	}
}
