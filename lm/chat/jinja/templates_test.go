package jinja_test

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/chat/jinja"
)

// templates is what testdata/templates.py wrote.
type templates struct {
	Templates     map[string]string
	Conversations map[string][]chat.Message
	Tools         []json.RawMessage
	Documents     []json.RawMessage
	Settings      []map[string]any
	Cases         []struct {
		Template, Conversation string
		Tools                  bool
		Setting                int
		Text                   *string
		Ranges                 [][2]int
		Class                  string
		Line                   int
	}
}

// Every template writes what transformers writes with it, byte for byte, or
// fails with an error of the class that it raises, at the same line. The
// variable JINJA_CASES names a file with more of them.
func TestTemplates(t *testing.T) {
	paths := []string{"testdata/templates.json"}
	if more := os.Getenv("JINJA_CASES"); more != "" {
		paths = append(paths, more)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var s templates
		require.NoError(t, json.Unmarshal(text, &s))
		texts, failures, different, shown := 0, 0, 0, 0
		for _, c := range s.Cases {
			got, ranges, err := s.render(t, c.Template, c.Conversation, c.Tools, c.Setting)
			var e *jinja.Error
			var ok bool
			if c.Text != nil {
				texts++
				ok = err == nil && got == *c.Text
				if len(c.Ranges) > 0 || len(ranges) > 0 {
					ok = ok && len(ranges) == len(c.Ranges)
				}
				for i := range ranges {
					ok = ok && ranges[i] == c.Ranges[i]
				}
			} else {
				failures++
				ok = errors.As(err, &e) && e.Class == c.Class && (e.Line == c.Line || c.Line == 0)
			}
			if ok {
				continue
			}
			if different++; shown < 20 {
				shown++
				want := c.Class
				if c.Text != nil {
					want = *c.Text
				}
				t.Errorf("%s, %s, tools %v, setting %d:\n got %q %v %v\nwant %q %v line %d", c.Template, c.Conversation, c.Tools, c.Setting, got, ranges, err, want, c.Ranges, c.Line)
			}
		}
		t.Logf("%s: %d templates, %d texts, %d errors, %d different", path, len(s.Templates), texts, failures, different)
	}
}

// render returns the text and the ranges in characters.
func (s *templates) render(t *testing.T, template, conversation string, tools bool, setting int) (string, [][2]int, error) {
	o := chat.Options{Vars: map[string]any{}}
	for name, v := range s.Settings[setting] {
		if name == "add_generation_prompt" {
			o.Generate = v.(bool)
		} else {
			o.Vars[name] = v
		}
	}
	if tools {
		o.Tools = s.Tools
	}
	if setting == 4 {
		o.Documents = s.Documents
	}
	p, err := jinja.Parse(template, s.Templates[template], jinja.Options{Now: func() time.Time { return time.Date(2024, 7, 6, 9, 5, 3, 0, time.UTC) }})
	if err != nil {
		return "", nil, err
	}
	text, ranges, err := p.RenderRanges(t.Context(), s.Conversations[conversation], o)
	var chars [][2]int
	for _, r := range ranges {
		start := utf8.RuneCountInString(text[:r.Start])
		chars = append(chars, [2]int{start, start + utf8.RuneCountInString(text[r.Start:r.End])})
	}
	return text, chars, err
}
