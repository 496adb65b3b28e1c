package chat

import (
	"context"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
)

// QwenSystem is the system message that Qwen 2.5 sees where a conversation
// brings none.
const QwenSystem = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

// ChatML is the format of OpenAI's chat markup language, which Qwen 2 and 2.5,
// SmolLM and many others use: <|im_start|>role, a line end, the content,
// <|im_end|> and a line end.
type ChatML struct {
	// System is the system message of conversations that do not begin with
	// one; empty writes none.
	System string
}

// Render implements Template.
func (c ChatML) Render(_ context.Context, messages []prompt.Message, o Options) (string, error) {
	if err := check(messages); err != nil {
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
