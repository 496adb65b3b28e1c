package jinja_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/chat/jinja"
)

// A template as a model's folder brings it; what it raises is an error.
func Example() {
	config := &chat.Config{
		Tokens: map[string]string{"bos_token": "<s>", "eos_token": "</s>"},
		Templates: map[string]string{"default": `{{ bos_token }}
{%- for m in messages %}
    {%- if m.role == 'system' %}
        {{- raise_exception('no system message, please') }}
    {%- endif %}
    {{- '[INST] ' + m.content + ' [/INST]' if m.role == 'user' else m.content + eos_token }}
{%- endfor %}`},
	}
	template, err := jinja.FromConfig(config, "default", jinja.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, first := range []string{"user", "system"} {
		text, err := template.Render(context.Background(), []chat.Message{
			{Role: first, Content: "Hello"},
			{Role: "assistant", Content: "Hi!"},
		}, chat.Options{})
		fmt.Println(text, err)
	}
	// Output:
	// <s>[INST] Hello [/INST]Hi!</s> <nil>
	//  jinja: template "default": line 4: no system message, please
}

// A conversation with a tool, read from JSON, and the part of the text that the
// assistant said.
func ExampleTemplate_RenderRanges() {
	template, err := jinja.Parse("tools", `
{%- for tool in tools %}[{{ tool.name }}]{% endfor %}
{%- for m in messages %}
    {%- if m.role == 'assistant' %}
        {%- generation %}
            {%- for call in m.tool_calls %}{{ call.function.name }}({{ call.function.arguments | tojson }}){% endfor %}
        {%- endgeneration %}
    {%- else %}{{ m.role }}: {{ m.content }};
    {%- endif %}
{%- endfor %}`, jinja.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var messages []chat.Message
	if err := json.Unmarshal([]byte(`[
		{"role": "user", "content": "Time?"},
		{"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "now", "arguments": {"zone": "UTC"}}}]},
		{"role": "tool", "name": "now", "content": "12:00"}
	]`), &messages); err != nil {
		fmt.Println(err)
		return
	}
	text, ranges, err := template.RenderRanges(context.Background(), messages, chat.Options{
		Tools: []json.RawMessage{json.RawMessage(`{"name": "now"}`)},
	})
	fmt.Println(text, err)
	for _, r := range ranges {
		fmt.Println(text[r.Start:r.End])
	}
	// Output:
	// [now]user: Time?;now({"zone": "UTC"})tool: 12:00; <nil>
	// now({"zone": "UTC"})
}

// Errors tell what went wrong by class and line.
func ExampleError() {
	template, err := jinja.Parse("default", "{{ messages[0].content }}\n{{ bos_token + 'x' }}", jinja.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = template.Render(context.Background(), []chat.Message{{Role: "user", Content: "Hello"}}, chat.Options{})
	var e *jinja.Error
	if errors.As(err, &e) && e.Class == jinja.ClassUndefined {
		fmt.Printf("line %d: %s\n", e.Line, e.Message)
	}
	// Output:
	// line 2: 'bos_token' is undefined
}
