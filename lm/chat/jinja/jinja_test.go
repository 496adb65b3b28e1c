package jinja_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/chat/jinja"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var hello = []chat.Message{{Role: "user", Content: "Hello"}, {Role: "assistant", Content: "Hi"}}

func render(t testing.TB, source string, vars map[string]any) (string, error) {
	template, err := jinja.Parse("test", source, jinja.Options{Vars: vars})
	if err != nil {
		return "", err
	}
	return template.Render(t.Context(), hello, chat.Options{})
}

// Errors name the template, the line and what is wrong there.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"a\n\n{{ messages", `line 3: `},
		{"{% if x %}\nno end", `Unexpected EOF, expected tag elif or else or endif`},
		{"\n{% include 'a' %}", `line 2: ControlStructure 'include' not found`},
		{"{% import 'a' as b %}", `ControlStructure 'import' not found`},
		{"{% extends 'a' %}", `ControlStructure 'extends' not found`},
		{"{% block a %}{{ self.a() }}{% endblock %}", `ControlStructure 'block' not found`},
		{"{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}", "line 1: recursive loops are not supported"},
		{"\n\n{{ raise_exception('no!') }}", "line 3: no!"},
		{"{% for m in messages %}\n{% if loop.last %}\n{{ raise_exception('last') }}\n{% endif %}{% endfor %}", "line 3: last"},
		{"{% macro f() %}\n{{ raise_exception('deep') }}{% endmacro %}\n\n{{ f() }}", "line 2: deep"},
		{"\n{% set x = raise_exception('set') %}", "line 2: set"},
		{"{{ messages | nothing }}", "line 1: filter 'nothing' not found"},
		{"{{ 'a'.nothing() }}", "unknown method 'nothing'"},
		{"{{ messages.append(1) }}", "unknown method 'append'"},
		{"{{ messages[0].update({'role': 'x'}) }}", "unknown method 'update'"},
		{"{{ messages[0].role.x.y }}", "line 1: "},
		{"{% set messages[0].role = 'x' %}", "messages is no namespace, to which alone attributes can be assigned"},
		{"{% set messages[0].Pairs = messages[1].Pairs %}", "messages is no namespace"},
		{"{{ 1 % 0 }}", "the engine failed"},
		{"{{ 'a'.split('') }}", "the separator is empty"},
		{"{{ 'a'.split(1, 2, 3) }}", "3 arguments, want at most 2"},
		{"{{ 'a'.replace('b') }}", "argument new is missing"},
		{"{{ 'a'.strip(what='b') }}", "unknown argument what"},
		{"{{ range(0, 5, 0) }}", "the step of a range is 0"},
		{"{{ namespace(_x=1) }}", "begins with an underscore"},
		{"{{ strftime_now('%Q') }}", "%Q is not supported"},
		{"{{ messages | tojson(indent=1000000000) }}", "indent is 1000000000, want at most 64"},
		{"{{ range | tojson }}", "tojson: func cannot be written"},
		{strings.Repeat("x", 128<<10+1), "131073 bytes, want at most 131072"},
	} {
		_, err := render(t, c.source, nil)
		require.ErrorContains(t, err, c.want, "%.80s", c.source)
		require.ErrorContains(t, err, `jinja: template "test": `)
		var as *jinja.Error
		require.ErrorAs(t, err, &as)
		require.Equal(t, "test", as.Template)
	}
	_, err := jinja.Parse("test", "", jinja.Options{Vars: map[string]any{"x": struct{}{}}})
	require.ErrorContains(t, err, "variable x: struct {} is none of")
	template, err := jinja.Parse("test", "", jinja.Options{})
	require.NoError(t, err)
	_, err = template.Render(t.Context(), nil, chat.Options{})
	require.ErrorContains(t, err, "at least one message")
}

// What would run or grow without end stops with an error.
func TestBounds(t *testing.T) {
	nested := "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"
	for _, c := range []struct{ source, want string }{
		{nested, "more than 250000 statements run"},
		{"{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}", "more than 250000 statements run"},
		{"{{ range(100001) }}", "a range of more than 100000 numbers"},
		{"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "macro calls go deeper than 100"},
		{"{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}", "macro calls go deeper than 100"},
		{"{% set ns = namespace(s='xxxxxxxxxx') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "a string of more than 16777216 bytes in ns"},
		{"{% set s = 'x' * 10000000 %}{% for a in range(99) %}{{ s }}{% endfor %}", "more than 67108864 bytes written"},
		{"{% set s = 'x' * 10000000 %}{% macro f() %}{% for a in range(99) %}{{ s }}{% endfor %}{% endmacro %}{{ f() }}", "more than 67108864 bytes written"},
		{"{{ 'a\nb' | indent(1000000000) }}", "a filter's argument is 1000000000, want at most 65536"},
	} {
		_, err := render(t, c.source, nil)
		require.ErrorContains(t, err, c.want, c.source)
	}

	template, err := jinja.Parse("test", nested, jinja.Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = template.Render(ctx, hello, chat.Options{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = template.Render(ctx, hello, chat.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

// Source that nests as deep as it may is an error or renders; it does not
// exhaust the stack.
func TestDeepSource(t *testing.T) {
	const n = 128 << 10
	for _, part := range [][3]string{
		{"{{ ", "(", " }}"}, {"{{ ", "[", " }}"}, {"{{ ", "{", " }}"}, {"{{ ", "-", "1 }}"}, {"{{ ", "not ", "1 }}"},
		{"{{ 1", "+1", " }}"}, {"{{ 1", "|int", " }}"}, {"{{ a", "[a", " }}"}, {"{{ a", ".a", " }}"}, {"{{ a", "()", " }}"}, {"{{ ", "a(", " }}"},
		{"", "{%if 1%}", ""}, {"", "{%for a in b%}", ""}, {"", "{%", ""}, {"", "{#", ""}, {"", "{{", ""}, {"{{ '", "\\", "' }}"},
	} {
		source := part[0] + strings.Repeat(part[1], (n-16)/len(part[1])) + part[2]
		_, err := render(t, source, nil)
		var as *jinja.Error
		require.True(t, err == nil || errors.As(err, &as), "%.20s", source)
	}
}

// Variables of every kind, and special tokens of a configuration.
func TestVariables(t *testing.T) {
	got, err := render(t, "{{ s }}{{ n + 1 }}{{ f }}{{ b }}{{ l[-1].k }}{{ l | tojson }}{{ x is none }}", map[string]any{
		"s": "é", "n": 1, "f": 2.5, "b": true, "x": nil, "l": []any{"a", map[string]any{"k": "v", "j": []any{nil}}},
	})
	require.NoError(t, err)
	require.Equal(t, `é22.5Truev["a", {"j": [null], "k": "v"}]True`, got)

	c := &chat.Config{
		Tokens:    map[string]string{"bos_token": "<s>", "eos_token": "</s>"},
		Templates: map[string]string{"default": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"},
	}
	template, err := jinja.FromConfig(c, "default", jinja.Options{Vars: map[string]any{"eos_token": "<end>"}})
	require.NoError(t, err)
	got, err = template.Render(t.Context(), hello, chat.Options{})
	require.NoError(t, err)
	require.Equal(t, "<s>Hello<end>", got)
	_, err = jinja.FromConfig(c, "rag", jinja.Options{})
	require.EqualError(t, err, `jinja: the model has no chat template "rag", but ["default"]`)
}

// Renderings share nothing.
func TestConcurrency(t *testing.T) {
	template, err := jinja.Parse("test", "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", jinja.Options{})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			messages := make([]chat.Message, n+1)
			for range 50 {
				got, err := template.Render(context.Background(), messages, chat.Options{})
				if err != nil || got != string(rune('1'+n)) {
					t.Errorf("%d messages: %q, %v", n+1, got, err)
				}
			}
		})
	}
	wg.Wait()
}

// No source makes Parse or Render panic or run on.
func FuzzTemplate(f *testing.F) {
	for _, source := range readGolden(f).Templates {
		f.Add(source, "Hello")
	}
	f.Add("{{ messages[0].content.split('a')[-1] | trim }}", "ab")
	f.Fuzz(func(t *testing.T, source, content string) {
		template, err := jinja.Parse("fuzz", source, jinja.Options{})
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = template.Render(ctx, []chat.Message{{Role: "user", Content: content}}, chat.Options{Generate: true})
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	})
}
