// Package parity speaks the JSON lines with which programs in other languages
// use the algorithm core: groups of judged completions in and advantages per
// token out ([Advantages]), log-probs in and a loss with its gradient out
// ([Loss]).
//
// docs/parity-format.md describes the format for those who write it. The
// readers take nothing on trust: a line that is not exactly what the format
// says is a [LineError] with the line's number and the field's path, and there
// is no input on which they panic. They read token by token, because
// json.Unmarshal names the field of few errors, and does not see a field that is
// missing or given twice.
package parity

import "fmt"

// Version is the version of the format that this package reads and writes.
const Version = 1

// LineError says what is wrong with a line of input.
type LineError struct {
	// Line counts from 1, blank lines included.
	Line int
	// Field is the path of the offending field, such as
	// completions[1].steps[0].verdict; empty if it is the line as a whole.
	Field string
	Err   error
}

// Error returns line, field and reason.
func (e *LineError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("line %d: %v", e.Line, e.Err)
	}
	return fmt.Sprintf("line %d: %s: %v", e.Line, e.Field, e.Err)
}

// Unwrap returns the reason.
func (e *LineError) Unwrap() error { return e.Err }

func lineErrorf(line int, field, format string, args ...any) error {
	return &LineError{Line: line, Field: field, Err: fmt.Errorf(format, args...)}
}
