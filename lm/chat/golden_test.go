package chat_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/prompt"
)

// golden is what testdata/golden.py wrote.
type golden struct {
	Conversations map[string][]prompt.Message
	Cases         []struct {
		Template, Conversation string
		Variables              map[string]any
		Generate               bool
		Text                   *string
	}
}

func readGolden(t *testing.T) (g golden) {
	text, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &g))
	return g
}

// The built-in templates write what transformers writes with the published
// ones, byte for byte.
func TestGolden(t *testing.T) {
	templates := map[string]chat.Template{
		"chatml map[]":                          chat.ChatML{},
		"qwen2_5 map[]":                         chat.ChatML{System: chat.QwenSystem},
		"qwen3 map[]":                           chat.Qwen3{},
		"qwen3 map[enable_thinking:false]":      chat.Qwen3{NoThinking: true},
		"llama3 map[]":                          chat.Llama3{},
		"llama3_1 map[]":                        chat.Llama31{},
		"llama3_1 map[date_string:01 Jan 2030]": chat.Llama31{Date: "01 Jan 2030"},
	}
	g, n := readGolden(t), map[string]int{}
	for _, c := range g.Cases {
		name := fmt.Sprint(c.Template, " ", c.Variables)
		template, ok := templates[name]
		if !ok {
			continue
		}
		got, err := template.Render(t.Context(), g.Conversations[c.Conversation], chat.Options{Generate: c.Generate})
		require.NoError(t, err)
		require.Equal(t, *c.Text, got, "%s: %s", name, c.Conversation)
		n[name]++
	}
	for name := range templates {
		require.Equal(t, 2*len(g.Conversations), n[name], name)
	}
}
