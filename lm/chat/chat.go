package chat

import (
	"context"
	"encoding/json"
	"strings"
	"unicode"
)

// Template writes a conversation as text.
type Template interface {
	// Render returns the text of messages, of which there must be at least one.
	// The built-in templates know the roles "system", "user" and "assistant". An
	// error names the message at fault or, in a Jinja template, the line. A Jinja
	// template is a program from outside: it stops when ctx is done.
	Render(ctx context.Context, messages []Message, o Options) (string, error)
}

// Options says what a conversation is written with and how it ends.
type Options struct {
	// Generate ends the text with the opening of an assistant's message, for the
	// model to continue. transformers calls it add_generation_prompt.
	Generate bool
	// Tools are the functions that the model may call, as JSON schemas, and
	// Documents what it may cite, as JSON objects with title and text. Vars are
	// variables such as enable_thinking, with values as jinja.Options takes them.
	// Only Jinja templates know them.
	Tools, Documents []json.RawMessage
	Vars             map[string]any
}

// Trim removes white space from both ends as Python's str.strip and Jinja's trim
// do: Unicode's white space and the separators U+001C to U+001F.
func Trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f })
}

// QwenSystem is the system message of Qwen 2.5 for conversations that have none.
const QwenSystem = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

// ChatML is OpenAI's chat markup language, which Qwen 2 and 2.5, SmolLM and many
// others use: <|im_start|>role, a newline, the content, <|im_end|> and a newline.
type ChatML struct {
	// System is the system message of conversations that do not begin with one;
	// if it is empty, they get none.
	System string
}

// Render implements Template.
func (c ChatML) Render(_ context.Context, messages []Message, o Options) (string, error) {
	if err := check(messages, o); err != nil {
		return "", err
	}
	var b strings.Builder
	if c.System != "" && messages[0].Role != "system" {
		chatML(&b, "system", c.System)
	}
	for _, m := range messages {
		chatML(&b, m.Role, m.Content)
	}
	if o.Generate {
		b.WriteString("<|im_start|>assistant\n")
	}
	return b.String(), nil
}

func chatML(b *strings.Builder, role, content string) {
	for _, s := range []string{"<|im_start|>", role, "\n", content, "<|im_end|>\n"} {
		b.WriteString(s)
	}
}
