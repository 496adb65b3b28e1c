package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/prompt"
)

// Message is one message of a conversation. For most, Role and Content are all.
type Message struct {
	// Role is "system", "user" or "assistant", for Jinja templates also "tool"
	// and whatever else they know.
	Role string
	// Content is the text.
	Content string
	// JSON, unless it is nil, is the whole message as a JSON object, for one that
	// is more than a role and a text: tool calls, thoughts, a name, a content that
	// is null or a list of parts. Jinja templates then read it alone. The built-in
	// templates refuse such messages.
	JSON json.RawMessage
}

// FromPrompt makes messages of those of a prompt.
func FromPrompt(messages []prompt.Message) []Message {
	out := make([]Message, len(messages))
	for i, m := range messages {
		out[i] = Message{Role: m.Role, Content: m.Content}
	}
	return out
}

// UnmarshalJSON reads a message as transformers and OpenAI write it: an object
// with a role. JSON is set only where role and text are not all that is there.
func (m *Message) UnmarshalJSON(text []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return fmt.Errorf("chat: a message is no JSON object: %w", err)
	}
	*m = Message{}
	if !bytes.HasPrefix(fields["role"], []byte(`"`)) || json.Unmarshal(fields["role"], &m.Role) != nil {
		return errors.New("chat: a message lacks its role, want a string")
	}
	isText := bytes.HasPrefix(fields["content"], []byte(`"`)) && json.Unmarshal(fields["content"], &m.Content) == nil
	if !isText || len(fields) > 2 {
		m.JSON = bytes.Clone(text)
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (m Message) MarshalJSON() ([]byte, error) {
	if m.JSON != nil {
		return m.JSON, nil
	}
	return json.Marshal(struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}{m.Role, m.Content})
}

// check returns an error unless a built-in template can write the conversation:
// there are messages, all of known roles, and nothing but texts.
func check(messages []Message, o Options) error {
	if len(messages) == 0 {
		return errors.New("chat: a conversation needs at least one message")
	}
	if o.Tools != nil || o.Documents != nil || o.Vars != nil {
		return errors.New("chat: the built-in templates know no tools, documents and variables; use the model's Jinja template")
	}
	for i, m := range messages {
		switch m.Role {
		case "system", "user", "assistant":
		default:
			return fmt.Errorf(`chat: message %d has the role %q, want "system", "user" or "assistant"`, i, m.Role)
		}
		if m.JSON != nil {
			return fmt.Errorf("chat: message %d is more than a role and a text, which the built-in templates do not know; use the model's Jinja template", i)
		}
	}
	return nil
}
