package chat

import (
	"cmp"
	"context"
	"strings"
)

// Llama3 is the format of Llama 3 (not of 3.1 and later). <|begin_of_text|> comes
// first; a message is a header with the role, an empty line, the content without
// white space at its ends, and <|eot_id|>.
type Llama3 struct{}

// Render implements Template.
func (Llama3) Render(_ context.Context, messages []Message, o Options) (string, error) {
	if err := check(messages, o); err != nil {
		return "", err
	}
	return beginOfText + llama3(messages, o), nil
}

// Llama31 is the format of Llama 3.1, 3.2 and 3.3: that of Llama 3, always with a
// system message, which begins with two dates.
type Llama31 struct {
	// Date is the date that the model takes for today's, written like
	// "02 Jan 2006"; empty means 26 Jul 2024, the default of Llama 3.1.
	Date string
}

// Render implements Template.
func (c Llama31) Render(_ context.Context, messages []Message, o Options) (string, error) {
	if err := check(messages, o); err != nil {
		return "", err
	}
	date := cmp.Or(c.Date, "26 Jul 2024")
	system := "Cutting Knowledge Date: December 2023\nToday Date: " + date + "\n\n"
	if messages[0].Role == "system" {
		system += Trim(messages[0].Content)
		messages = messages[1:]
	}
	return beginOfText + llama3Message("system", system) + llama3(messages, o), nil
}

const beginOfText = "<|begin_of_text|>"

func llama3(messages []Message, o Options) string {
	var b strings.Builder
	for _, m := range messages {
		b.WriteString(llama3Message(m.Role, Trim(m.Content)))
	}
	if o.Generate {
		b.WriteString(llama3Header("assistant"))
	}
	return b.String()
}

func llama3Message(role, content string) string { return llama3Header(role) + content + "<|eot_id|>" }

func llama3Header(role string) string { return "<|start_header_id|>" + role + "<|end_header_id|>\n\n" }
