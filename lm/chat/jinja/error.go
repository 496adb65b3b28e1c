package jinja

import "fmt"

// Error is what is wrong with a template, or what went wrong while it ran.
type Error struct {
	// Template is its name.
	Template string
	// Line counts from 1; 0 means that no line is to blame.
	Line int
	// Class is the class of the exception that Jinja or Python raises in this
	// case: TemplateSyntaxError for a template that cannot be read,
	// TemplateAssertionError for one that names a filter, test or global that does
	// not exist, UndefinedError for use of an undefined value, TemplateError for
	// raise_exception, or TypeError, ValueError and the like. A bound of this
	// package that has no counterpart there is a LimitError.
	Class string
	// Message says what is wrong.
	Message string
}

// The classes that callers may want to tell from the rest.
const (
	// ClassSyntax is of a template that cannot be read.
	ClassSyntax = "TemplateSyntaxError"
	// ClassRaised is of what a template raises itself with raise_exception.
	ClassRaised = "TemplateError"
	// ClassUndefined is of an undefined value that is used.
	ClassUndefined = "UndefinedError"
	// ClassLimit is of a template that is too large, takes too much, or needs
	// what this package lacks.
	ClassLimit = "LimitError"
)

// Error implements error.
func (e *Error) Error() string {
	what := e.Message
	if e.Class != ClassRaised {
		what = e.Class + ": " + what
	}
	if e.Line == 0 {
		return fmt.Sprintf("jinja: template %q: %s", e.Template, what)
	}
	return fmt.Sprintf("jinja: template %q: line %d: %s", e.Template, e.Line, what)
}

// failure is what parsing and running panic with: an *Error, or the error of a
// context. A failure ends in rescue or in catch, which let other panics pass.
type failure struct{ err error }

// raise makes a failure of a class; the run that it ends adds name and line.
func raise(class, format string, args ...any) failure { return raiseAt(0, class, format, args...) }

// raiseAt is raise at a line.
func raiseAt(line int, class, format string, args ...any) failure {
	return failure{&Error{Line: line, Class: class, Message: fmt.Sprintf(format, args...)}}
}

func typeError(format string, args ...any) failure  { return raise("TypeError", format, args...) }
func valueError(format string, args ...any) failure { return raise("ValueError", format, args...) }

func limitError(format string, args ...any) failure { return raise(ClassLimit, format, args...) }

// rescue is deferred by functions that return a failure as an error. It adds the
// template's name, and the line if the failure has none.
func (t *Template) rescue(err *error, line *int) {
	switch p := recover().(type) {
	case nil:
	case failure:
		*err = p.err
		if e, ok := p.err.(*Error); ok {
			e.Template = t.name
			if e.Line == 0 {
				e.Line = *line
			}
		}
	default:
		panic(p)
	}
}

// catch runs f and returns its failure if that is an Error of a class; "" means
// any class. Other failures pass.
func catch(class string, f func()) (caught *Error) {
	defer func() {
		if p := recover(); p != nil {
			fail, _ := p.(failure)
			var ok bool
			if caught, ok = fail.err.(*Error); !ok || class != "" && caught.Class != class {
				panic(p)
			}
		}
	}()
	f()
	return nil
}
