package jinja_test

import (
	"context"
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
