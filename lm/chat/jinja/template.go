package jinja

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/prompt"
)

// Template is a compiled chat template. Several goroutines may use it at once.
type Template struct {
	name  string
	vars  map[string]value
	now   func() time.Time
	body  []stmt
	scope *scope
}

var _ chat.Template = (*Template)(nil)

// Options say what a template sees besides the conversation.
type Options struct {
	// Vars are variables: special tokens such as bos_token, and what the
	// template asks for, such as enable_thinking. Their values are nil,
	// strings, numbers, booleans, slices []any and maps map[string]any of
	// those, and json.RawMessage, which alone keeps the order of keys. What a
	// template reads and is not given is undefined: it prints as nothing, and
	// most other uses of it are errors.
	Vars map[string]any
	// Now is the clock of strftime_now; nil means time.Now.
	Now func() time.Time
}

// Parse compiles a template; name is what errors call it. An error is an
// *Error.
func Parse(name, source string, o Options) (*Template, error) {
	t := &Template{name: name, now: o.Now}
	if t.now == nil {
		t.now = time.Now
	}
	if err := t.compile(source, o.Vars); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Template) compile(source string, vars map[string]any) (err error) {
	defer t.rescue(&err, new(int))
	if len(source) > maxSource {
		panic(limitError("%d bytes, want at most %d", len(source), maxSource))
	}
	t.vars = variables(vars)
	body, p := parse(strings.ToValidUTF8(source, "\uFFFD"))
	t.body, t.scope = body, resolve(body, p)
	return nil
}

// FromConfig compiles the template of that name in a model's configuration;
// the configuration's special tokens join o.Vars, which come first.
// transformers takes the template "tool_use", if there is one, for a
// conversation with tools, and else "default".
func FromConfig(c *chat.Config, name string, o Options) (*Template, error) {
	source, ok := c.Templates[name]
	if !ok && len(c.Templates) == 0 {
		return nil, errors.New("jinja: the model's folder has no chat template; see chat.ReadConfig for where one may be")
	}
	if !ok {
		return nil, fmt.Errorf("jinja: the model has no chat template %q, but %q", name, slices.Sorted(maps.Keys(c.Templates)))
	}
	vars := map[string]any{}
	for k, v := range c.Tokens {
		vars[k] = v
	}
	maps.Copy(vars, o.Vars)
	o.Vars = vars
	return Parse(name, source, o)
}

// Render implements chat.Template. The template sees messages, tools and
// documents, which are none if there are none, add_generation_prompt, and the
// variables of o and of its own Options, in this order where names are the
// same. Roles are what the template makes of them. An error is an *Error, or
// ctx's.
func (t *Template) Render(ctx context.Context, messages []chat.Message, o chat.Options) (string, error) {
	text, _, err := t.RenderRanges(ctx, messages, o)
	return text, err
}

// RenderRanges is Render that also returns the ranges of bytes that the
// template encloses in {% generation %}: what an assistant is to say, on which
// training may be concentrated. As in transformers, ranges are right for what
// is written at the top level of a template, loops included, and not for what
// a macro writes or a variable holds.
func (t *Template) RenderRanges(ctx context.Context, messages []chat.Message, o chat.Options) (text string, ranges []prompt.Range, err error) {
	if err := ctx.Err(); err != nil {
		return "", nil, err
	}
	var out strings.Builder
	r := &run{ctx: ctx, template: t, out: &out, root: &out}
	defer t.rescue(&err, &r.line)
	if len(messages) == 0 {
		panic(valueError("a conversation needs at least one message"))
	}
	r.globals = t.globals(messages, o)
	r.line = 1
	r.exec(t.body, r.enter(t.scope, nil))
	return out.String(), r.spans, nil
}
