package jinja_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/chat/jinja"
)

// golden is what chat/testdata/golden.py wrote.
type golden struct {
	Templates     map[string]string
	Conversations map[string][]chat.Message
	Cases         []struct {
		Template, Conversation string
		Variables              map[string]any
		Generate               bool
		Text                   *string
		Error                  string
	}
}

func readGolden(t testing.TB) (g golden) {
	text, err := os.ReadFile("../testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &g))
	return g
}

// goldenOptions are what golden.py rendered with.
func goldenOptions(vars map[string]any) jinja.Options {
	all := map[string]any{"bos_token": "<|begin_of_text|>", "eos_token": "</s>"}
	maps.Copy(all, vars)
	return jinja.Options{Vars: all, Now: func() time.Time { return time.Date(2024, 7, 26, 9, 5, 3, 0, time.UTC) }}
}

// Published templates, and features of Jinja, give what transformers gives;
// where it raises an exception, there is an error with its message.
func TestGolden(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.Cases {
		name := fmt.Sprintf("%s %v %s %v", c.Template, c.Variables, c.Conversation, c.Generate)
		template, err := jinja.Parse(c.Template, g.Templates[c.Template], goldenOptions(c.Variables))
		require.NoError(t, err, name)
		got, err := template.Render(t.Context(), g.Conversations[c.Conversation], chat.Options{Generate: c.Generate})
		if c.Text == nil {
			require.ErrorContains(t, err, c.Error, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, *c.Text, got, name)
	}
}
