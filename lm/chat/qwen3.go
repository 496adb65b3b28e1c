package chat

import (
	"context"
	"strings"
)

// Qwen3 is ChatML for the hybrid Qwen 3 models. An assistant's message may begin
// with its thoughts, <think>…</think>. Those of earlier turns, which a user's
// message follows, are left out. Those of the current turn are written in a fixed
// form; the last message gets empty ones if it has none.
type Qwen3 struct {
	// NoThinking begins a generated message with empty thoughts, so that the
	// model answers at once. It is enable_thinking=False in transformers.
	NoThinking bool
}

// Render implements Template.
func (c Qwen3) Render(_ context.Context, messages []Message, o Options) (string, error) {
	if err := check(messages, o); err != nil {
		return "", err
	}
	query := lastQuery(messages)
	var b strings.Builder
	for i, m := range messages {
		content := m.Content
		if m.Role == "assistant" {
			content = thoughts(m.Content, i > query, i == len(messages)-1)
		}
		chatML(&b, m.Role, content)
	}
	if o.Generate {
		b.WriteString("<|im_start|>assistant\n")
		if c.NoThinking {
			b.WriteString("<think>\n\n</think>\n\n")
		}
	}
	return b.String(), nil
}

// lastQuery returns the index of the last user's message that is not a tool's
// response, or of the last message if there is none.
func lastQuery(messages []Message) int {
	for i := len(messages) - 1; i >= 0; i-- {
		m := messages[i]
		response := strings.HasPrefix(m.Content, "<tool_response>") && strings.HasSuffix(m.Content, "</tool_response>")
		if m.Role == "user" && !response {
			return i
		}
	}
	return len(messages) - 1
}

// thoughts returns an assistant's message as the model is to read it.
func thoughts(content string, current, last bool) string {
	var reasoning string
	if before, _, found := strings.Cut(content, "</think>"); found {
		reasoning = strings.TrimLeft(afterLast(strings.TrimRight(before, "\n"), "<think>"), "\n")
		content = strings.TrimLeft(afterLast(content, "</think>"), "\n")
	}
	if !current || !last && reasoning == "" {
		return content
	}
	return "<think>\n" + strings.Trim(reasoning, "\n") + "\n</think>\n\n" + strings.TrimLeft(content, "\n")
}

// afterLast returns what follows the last mark in text, or all of it if it has no
// mark.
func afterLast(text, mark string) string {
	if i := strings.LastIndex(text, mark); i >= 0 {
		return text[i+len(mark):]
	}
	return text
}
