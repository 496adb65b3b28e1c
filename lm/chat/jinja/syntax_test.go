package jinja_test

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/chat/jinja"
)

// syntax is what testdata/syntax.py wrote.
type syntax struct {
	Messages  []chat.Message
	Variables map[string]json.RawMessage
	Cases     []struct {
		Source, Class string
		Line          int
		Text          *string
	}
}

func readSyntax(t testing.TB, path string) (s syntax) {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &s))
	return s
}

func (s *syntax) options() jinja.Options {
	vars := map[string]any{}
	for name, v := range s.Variables {
		vars[name] = v
	}
	return jinja.Options{Vars: vars, Now: func() time.Time { return time.Date(2024, 7, 6, 9, 5, 3, 0, time.UTC) }}
}

// Every small template gives the text that jinja2 gives, or an error of the
// class that it raises, at the same line. The variable JINJA_SYNTAX names a
// file with more of them.
func TestSyntax(t *testing.T) {
	testSyntax(t, "testdata/syntax.json")
	if more := os.Getenv("JINJA_SYNTAX"); more != "" {
		testSyntax(t, more)
	}
}

func testSyntax(t *testing.T, path string) {
	s := readSyntax(t, path)
	for _, c := range s.Cases {
		got, err := "", error(nil)
		template, err := jinja.Parse("syntax", c.Source, s.options())
		if err == nil {
			got, err = template.Render(t.Context(), s.Messages, chat.Options{})
		}
		if c.Text != nil {
			if err != nil {
				t.Errorf("%q\n%v\nwant %q", c.Source, err, *c.Text)
			} else if got != *c.Text {
				t.Errorf("%q\n got %q\nwant %q", c.Source, got, *c.Text)
			}
			continue
		}
		var e *jinja.Error
		switch {
		case err == nil:
			t.Errorf("%q\n got %q\nwant %s at line %d", c.Source, got, c.Class, c.Line)
		case !errors.As(err, &e) || e.Class != c.Class || e.Line != c.Line && c.Line != 0:
			t.Errorf("%q\n got %v\nwant %s at line %d", c.Source, err, c.Class, c.Line)
		}
	}
}
