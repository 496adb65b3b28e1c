package jinja

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/parser"
)

// Error is what is wrong with a template, or what it raised.
type Error struct {
	// Template is its name.
	Template string
	// Line counts from 1; 0 means unknown.
	Line int
	// Err is the cause: for raise_exception, its message.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("jinja: template %q: %v", e.Template, e.Err)
	}
	return fmt.Sprintf("jinja: template %q: line %d: %v", e.Template, e.Line, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// The engine wraps errors in descriptions of what it was doing, and now and
// then keeps of an error its text alone. So what we want back, causes and
// lines, is marked in the text by a byte that no message holds.
const mark = "\x00"

// fault is an error of ours.
func fault(format string, args ...any) error {
	return errors.New(mark + strings.ReplaceAll(fmt.Sprintf(format, args...), mark, ""))
}

// lineError is an error in the statement of a line.
type lineError struct {
	line int
	error
}

func (e lineError) Error() string {
	return fmt.Sprintf("%sat line %d: %s%s", mark, e.line, mark, e.error.Error())
}

func (e lineError) Unwrap() error { return e.error }

// lineIn matches the lines that the engine and lineError name.
var lineIn = regexp.MustCompile(`(?:Unable to render expression |` + mark + `)at line (\d+): `)

// fail makes an Error of an error of the engine: the cause, and the last line
// that is named, which is the innermost.
func (t *Template) fail(err error) error {
	var syntax *parser.SyntaxError
	if errors.As(err, &syntax) {
		return &Error{t.name, syntax.Line, errors.New(syntax.Message)}
	}
	line := 0
	if all := lineIn.FindAllStringSubmatch(err.Error(), -1); all != nil {
		line, _ = strconv.Atoi(all[len(all)-1][1])
	}
	cause := root(err).Error()
	return &Error{t.name, line, errors.New(cause[strings.LastIndex(cause, mark)+1:])}
}

// root returns the innermost error; the engine wraps some in values.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if v, ok := err.(*exec.Value); ok {
			inner, _ = v.Interface().(error)
		}
		if inner == nil {
			return err
		}
		err = inner
	}
}

// rescue turns a panic of the engine into an error.
func (t *Template) rescue(err *error) {
	if p := recover(); p != nil {
		*err = t.fail(fault("the engine failed: %v", p))
	}
}
