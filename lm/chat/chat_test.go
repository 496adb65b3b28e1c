package chat_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/prompt"
)

func TestMessages(t *testing.T) {
	for _, template := range []chat.Template{chat.ChatML{}, chat.Qwen3{}, chat.Llama3{}, chat.Llama31{}} {
		_, err := template.Render(t.Context(), nil, chat.Options{})
		require.EqualError(t, err, "chat: a conversation needs at least one message")
		_, err = template.Render(t.Context(), []chat.Message{{Role: "user"}, {Role: "tool"}}, chat.Options{})
		require.EqualError(t, err, `chat: message 1 has the role "tool", want "system", "user" or "assistant"`)
	}
}

// Messages that are more than a role and a text keep their JSON; the built-in
// templates refuse them, and what else they do not know.
func TestMessageJSON(t *testing.T) {
	const text = `[{"role":"user","content":"q"},{"content":null,"role":"assistant","tool_calls":[1]},{"role":"tool","content":[{"type":"text"}]},{"role":"user","content":"x","name":"me"}]`
	var messages []chat.Message
	require.NoError(t, json.Unmarshal([]byte(text), &messages))
	require.Equal(t, chat.Message{Role: "user", Content: "q"}, messages[0])
	require.Equal(t, chat.Message{Role: "assistant", JSON: json.RawMessage(`{"content":null,"role":"assistant","tool_calls":[1]}`)}, messages[1])
	require.Equal(t, "x", messages[3].Content)
	require.NotNil(t, messages[3].JSON)
	back, err := json.Marshal(messages)
	require.NoError(t, err)
	require.Equal(t, text, string(back))
	require.Error(t, json.Unmarshal([]byte(`[{"content": "x"}]`), &messages))
	require.Error(t, json.Unmarshal([]byte(`["x"]`), &messages))
	require.ErrorContains(t, json.Unmarshal([]byte(`[{"role": null, "content": "x"}]`), &messages), "lacks its role, want a string")
	require.Equal(t, []chat.Message{{Role: "user", Content: "q"}}, chat.FromPrompt([]prompt.Message{{Role: "user", Content: "q"}}))

	_, err = chat.ChatML{}.Render(t.Context(), []chat.Message{{Role: "user"}, {Role: "user", JSON: json.RawMessage("{}")}}, chat.Options{})
	require.ErrorContains(t, err, "message 1 is more than a role and a text")
	for _, o := range []chat.Options{{Tools: []json.RawMessage{nil}}, {Documents: []json.RawMessage{nil}}, {Vars: map[string]any{"x": 1}}} {
		_, err = chat.Qwen3{}.Render(t.Context(), []chat.Message{{Role: "user"}}, o)
		require.ErrorContains(t, err, "know no tools, documents and variables")
	}
}

// folder makes a directory of files.
func folder(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
	}
	return dir
}

func TestReadConfig(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  chat.Config
	}{
		{"nothing", nil, chat.Config{}},
		{"one template", map[string]string{
			"tokenizer_config.json": `{"bos_token": null, "eos_token": {"content": "</s>", "special": true}, "pad_token": "<pad>",
				"add_bos_token": true, "chat_template": "T", "more": [1]}`,
		}, chat.Config{
			Tokens:    map[string]string{"eos_token": "</s>", "pad_token": "<pad>"},
			Templates: map[string]string{"default": "T"},
		}},
		{"named templates", map[string]string{
			"tokenizer_config.json": `{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "U"}]}`,
		}, chat.Config{Templates: map[string]string{"default": "D", "tool_use": "U"}}},
		{"files alone", map[string]string{
			"tokenizer_config.json":                    `{"chat_template": [{"name": "default", "template": "D"}, {"name": "rag", "template": "R"}]}`,
			"chat_template.jinja":                      "F\n",
			"additional_chat_templates/tool_use.jinja": "U",
			"additional_chat_templates/notes.txt":      "no template",
		}, chat.Config{Templates: map[string]string{"default": "F\n", "tool_use": "U"}}},
		{"a file in place of a list", map[string]string{
			"tokenizer_config.json": `{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "U"}]}`,
			"chat_template.jinja":   "F",
		}, chat.Config{Templates: map[string]string{"default": "F"}}},
		{"a map of special tokens", map[string]string{
			"tokenizer_config.json":   `{"bos_token": "<a>", "eos_token": "</a>", "image_token": "<img>", "add_bos_token": true}`,
			"special_tokens_map.json": `{"bos_token": {"content": "<b>"}, "pad_token": "<p>", "extra_special_tokens": {"audio_token": "<au>"}, "additional_special_tokens": ["x"]}`,
		}, chat.Config{Tokens: map[string]string{"bos_token": "<b>", "eos_token": "</a>", "pad_token": "<p>", "image_token": "<img>", "audio_token": "<au>"}}},
		{"a map that is a remnant", map[string]string{
			"tokenizer_config.json":   `{"bos_token": "<a>", "added_tokens_decoder": {}}`,
			"special_tokens_map.json": `{"bos_token": "<b>"}`,
		}, chat.Config{Tokens: map[string]string{"bos_token": "<a>"}}},
		{"only a map", map[string]string{"special_tokens_map.json": `{"bos_token": "<b>"}`}, chat.Config{Tokens: map[string]string{"bos_token": "<b>"}}},
		{"a processor's template", map[string]string{
			"tokenizer_config.json": `{"chat_template": "T"}`,
			"chat_template.json":    `{"chat_template": "P"}`,
		}, chat.Config{Templates: map[string]string{"default": "P"}}},
		{"a processor's template and a newer one", map[string]string{
			"chat_template.json":  `{"chat_template": "P"}`,
			"chat_template.jinja": "F",
		}, chat.Config{Templates: map[string]string{"default": "F"}}},
		{"a null template", map[string]string{"tokenizer_config.json": `{"chat_template": null}`}, chat.Config{}},
	} {
		got, err := chat.ReadConfig(folder(t, c.files))
		require.NoError(t, err, c.name)
		for _, m := range []*map[string]string{&c.want.Tokens, &c.want.Templates} {
			if *m == nil {
				*m = map[string]string{}
			}
		}
		require.Equal(t, &c.want, got, c.name)
	}
}

func TestReadConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                        "unexpected end of JSON input",
		`[]`:                       "cannot unmarshal array",
		`{"bos_token": 3}`:         "bos_token is 3, want a string or an object with content",
		`{"eos_token": {"id": 3}}`: `eos_token is {"id": 3}, want a string or an object with content`,
		`{"chat_template": 1}`:     "chat_template is 1, want a string or a list of objects with name and template",
		`{"chat_template": [{}]}`:  "chat_template[0] lacks name or template",
		`{"chat_template": [{"name": "a", "template": ""}, {"name": "a", "template": ""}]}`: `chat_template[1] is a second one named "a"`,
	} {
		dir := folder(t, map[string]string{"tokenizer_config.json": text})
		_, err := chat.ReadConfig(dir)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, filepath.Join(dir, "tokenizer_config.json"))
	}
	for _, name := range []string{"special_tokens_map.json", "chat_template.json"} {
		_, err := chat.ReadConfig(folder(t, map[string]string{name: `{"bos_token": 3, "chat_template": 3}`}))
		require.ErrorContains(t, err, name)
	}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tokenizer_config.json"), 0o777))
	_, err := chat.ReadConfig(dir)
	require.ErrorContains(t, err, "tokenizer_config.json: a directory, want a regular file")
	dir = t.TempDir()
	link := filepath.Join(dir, "chat_template.jinja")
	require.NoError(t, os.Symlink(link, link))
	_, err = chat.ReadConfig(dir)
	require.ErrorContains(t, err, link)
}

// No tokenizer_config.json makes the reader panic.
func FuzzReadConfig(f *testing.F) {
	f.Add(`{"bos_token": {"content": "x"}, "chat_template": [{"name": "a", "template": "b"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = chat.ReadConfig(folder(t, map[string]string{"tokenizer_config.json": text}))
	})
}

// golden is what testdata/golden.py wrote.
type golden struct {
	Conversations map[string][]chat.Message
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
