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
