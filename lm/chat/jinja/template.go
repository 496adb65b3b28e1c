package jinja

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/prompt"
)

// maxSource is the longest template in bytes; the longest published ones have
// a sixth of it.
const maxSource = 128 << 10

// Template is a compiled chat template. Several goroutines may use it at once.
type Template struct {
	name string
	vars map[string]any
	exec *exec.Template
}

var _ chat.Template = (*Template)(nil)

// Options say what a template sees besides the messages.
type Options struct {
	// Vars are variables: special tokens such as bos_token, and what the
	// template asks for, such as enable_thinking. Their values are strings,
	// numbers, booleans, and slices []any and maps map[string]any of those.
	Vars map[string]any
	// Now is the clock of strftime_now; nil means time.Now.
	Now func() time.Time
}

// Parse compiles a template; name is what errors call it. An error is an
// *Error.
func Parse(name, source string, o Options) (t *Template, err error) {
	t = &Template{name: name, vars: map[string]any{}}
	defer t.rescue(&err)
	if len(source) > maxSource {
		return nil, t.fail(fault("%d bytes, want at most %d", len(source), maxSource))
	}
	for k, v := range o.Vars {
		if t.vars[k], err = value(v); err != nil {
			return nil, t.fail(fault("variable %s: %v", k, err))
		}
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	if source, err = prepare(source); err != nil {
		return nil, t.fail(err)
	}
	settings := config.New()
	settings.TrimBlocks, settings.LeftStripBlocks = true, true
	if t.exec, err = exec.NewTemplate(name, settings, only(source), environment(now)); err != nil {
		return nil, t.fail(err)
	}
	return t, nil
}

// FromConfig compiles the template of that name in a model's configuration;
// the configuration's special tokens join o.Vars, which come first.
func FromConfig(c *chat.Config, name string, o Options) (*Template, error) {
	source, ok := c.Templates[name]
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

// Render implements chat.Template: the variables messages and
// add_generation_prompt are set, tools and documents are none. Roles are what
// the template makes of them. An error is an *Error, or ctx's.
func (t *Template) Render(ctx context.Context, messages []prompt.Message, o chat.Options) (text string, err error) {
	defer t.rescue(&err)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if len(messages) == 0 {
		return "", t.fail(fault("a conversation needs at least one message"))
	}
	items := make(list, len(messages))
	for i, m := range messages {
		items[i] = &exec.Dict{Pairs: []*exec.Pair{
			{Key: exec.AsValue("role"), Value: exec.AsValue(m.Role)},
			{Key: exec.AsValue("content"), Value: exec.AsValue(m.Content)},
		}}
	}
	r := &run{ctx: ctx}
	vars := maps.Clone(t.vars)
	vars["messages"], vars["add_generation_prompt"], vars["tools"], vars["documents"] = items, o.Generate, nil, nil
	vars[runKey] = r
	var out strings.Builder
	if err := t.exec.Execute(r.limit(&out), exec.NewContext(vars)); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", t.fail(err)
	}
	return out.String(), nil
}

// only is a loader that holds the template itself and nothing else.
type only string

func (s only) Read(string) (io.Reader, error)         { return strings.NewReader(string(s)), nil }
func (s only) Resolve(name string) (string, error)    { return name, nil }
func (s only) Inherit(string) (loaders.Loader, error) { return s, nil }
