package rows

import (
	"slices"
	"strings"
	"unicode"
)

// Line makes one line of a text: white space of any kind becomes single spaces, and
// other control characters go. So no text begins a line of the prompt.
func Line(s string) string {
	clean := true
	for i, r := range s {
		if unicode.IsControl(r) || unicode.IsSpace(r) && (r != ' ' || i == 0 || i == len(s)-1 || s[i+1] == ' ') {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// OneLine makes each text of a pair one line.
func OneLine(e Example) Example {
	e.Query, e.Document.Title, e.Document.Body = Line(e.Query), Line(e.Document.Title), Line(e.Document.Body)
	e.Document.Fields = slices.Clone(e.Document.Fields)
	for i, f := range e.Document.Fields {
		e.Document.Fields[i] = Field{Name: Line(f.Name), Value: Line(f.Value)}
	}
	return e
}
