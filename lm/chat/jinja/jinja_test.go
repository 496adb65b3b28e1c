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
	for _, c := range []struct{ source, class, want string }{
		{"a\n\n{{ messages", jinja.ClassSyntax, `line 3: TemplateSyntaxError: unexpected end of template, expected 'end of print statement'.`},
		{"{% if x %}\nno end", jinja.ClassSyntax, `line 2: TemplateSyntaxError: Unexpected end of template. Jinja was looking for the following tags: 'elif' or 'else' or 'endif'. The innermost block that needs to be closed is 'if'.`},
		{"\n\n{{ raise_exception('no!') }}", jinja.ClassRaised, "line 3: no!"},
		{"{{ messages | nothing }}", "TemplateAssertionError", "line 1: TemplateAssertionError: No filter named 'nothing'."},
		{"{{ bos_token + 'x' }}", jinja.ClassUndefined, "line 1: UndefinedError: 'bos_token' is undefined"},
		{"{{ 'a'.nothing() }}", jinja.ClassUndefined, "'str object' has no attribute 'nothing'"},
		{"{{ messages.append(1) }}", "SecurityError", "access to attribute 'append' of 'list' object is unsafe."},
		{"{{ 1 % 0 }}", "ZeroDivisionError", "integer division or modulo by zero"},
		{"{{ namespace(_x=1) }}", "SecurityError", "cannot store underscore-prefixed attributes"},
		{"{{ range | tojson }}", "TypeError", "Object of type function is not JSON serializable"},
		{"{% for i in [1, 'a'] | map('abs') %}{% if loop %}{% endif %}{% endfor %}", "TypeError", "bad operand type for abs(): 'str'"},
		{"{{ dict([[1, 2] | map('nothing')]) }}", "TemplateRuntimeError", "No filter named 'nothing' found."},
		{strings.Repeat("x", 128<<10+1), jinja.ClassLimit, "131073 bytes, want at most 131072"},
	} {
		_, err := render(t, c.source, nil)
		require.ErrorContains(t, err, c.want, "%.80s", c.source)
		require.ErrorContains(t, err, `jinja: template "test": `)
		var as *jinja.Error
		require.ErrorAs(t, err, &as)
		require.Equal(t, "test", as.Template)
		require.Equal(t, c.class, as.Class)
	}
	_, err := jinja.Parse("test", "", jinja.Options{Vars: map[string]any{"x": struct{}{}}})
	require.ErrorContains(t, err, "variable x: struct {} is none of")
	template, err := jinja.Parse("test", "", jinja.Options{})
	require.NoError(t, err)
	_, err = template.Render(t.Context(), nil, chat.Options{})
	require.ErrorContains(t, err, "at least one message")
}

// A panic that is no failure of the template passes through Render, also where
// errors are caught.
func TestPanic(t *testing.T) {
	for _, source := range []string{"{{ strftime_now('%Y') }}", "{{ dict([[1, '%Y'] | map('int'), ['%Y'] | map('first'), strftime_now('%Y')]) }}"} {
		template, err := jinja.Parse("test", source, jinja.Options{Now: func() time.Time { panic("no clock") }})
		require.NoError(t, err)
		require.PanicsWithValue(t, "no clock", func() { _, _ = template.Render(t.Context(), hello, chat.Options{}) })
	}
}

// What would run or grow without end stops with an error, soon.
func TestBounds(t *testing.T) {
	const double = "{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}"
	const deep = "{% set ns = namespace(s=[]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}"
	nested := "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"
	for _, c := range []struct{ source, want string }{
		{nested, "it takes more than 20000000 steps"},
		{"{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}", "it takes more than 20000000 steps"},
		{"{{ range(100001) }}", "Range too big"},
		{"{{ range(10**12) }}", "Range too big"},
		{"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls go deeper than 150"},
		{"{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}", "calls go deeper than 150"},
		{"{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}", "calls go deeper than 150"},
		{"{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", "calls go deeper than 150"},
		{"{% set ns = namespace(s='xxxxxxxxxx') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "a string of more than 16777216 bytes"},
		{"{% set ns = namespace(s=[1]) %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "a list of more than 1048576 items"},
		{"{% set s = 'x' * 10000000 %}{% set l = [s + 'a', s + 'b', s + 'c'] %}{% for a in range(99) %}{% set x = s ~ a %}{% endfor %}", "its values take more than 536870912 bytes"},
		{"{% set s = 'x' * 10000000 %}{% for a in range(99) %}{{ s }}{% endfor %}", "more than 67108864 bytes written"},
		{"{% set s = 'x' * 10000000 %}{% macro f() %}{% for a in range(99) %}{{ s }}{% endfor %}{% endmacro %}{{ f() }}", "more than 67108864 bytes written"},
		{"{{ 'x' * 10**9 }}", "a string of more than 16777216 bytes"},
		{"{{ [1] * 10**9 }}", "a list of more than 1048576 items"},
		{"{{ 10**(10**10) }}", "an int of more than 65536 bits"},
		{"{{ 2**(4000**2) }}", "an int of more than 65536 bits"},
		{"{{ 10**4300 }}", "Exceeds the limit (4300 digits)"},
		{"{{ 'a\nb' | indent(1000000000) }}", "a string of more than 16777216 bytes"},
		{"{{ 'a'.center(10**12) }}", "a string of more than 16777216 bytes"},
		{"{{ '%1000000000d' % 1 }}", "a width of more than 16777216"},
		{"{{ '%*d' % (10**12, 1) }}", "a width of more than 16777216"},
		{"{{ '{:1000000000}'.format(1) }}", "a width of more than 16777216"},
		{"{{ '{:.1000000000f}'.format(1) }}", "a width of more than 16777216"},
		{"{{ ('x' * 1000000).replace('', 'y' * 1000) }}", "a string of more than 16777216 bytes"},
		{"{{ [1, 2] | batch(10**9, 'x') | list }}", "a list of more than 1048576 items"},
		{"{{ [1, 2] | slice(10**12) | list }}", "a list of more than 1048576 items"},
		{"{{ messages | tojson(indent=1000000000) }}", "an indent of more than 1000"},
		{"{{ [] * 10**18 }}{{ '' * 10**18 }}{{ () * 2**62 }}", ""},
		{"{{ [] * 2**70 }}", "OverflowError"},
		{"{{ '{:016000000,d}'.format(1) | length }}", ""},
		{"{{ [{}] | map(attribute='a.' * 1000000) | list }}", ""},
		{"{% macro f() %}{{ kwargs | length }}{% endmacro %}{{ f(**dict(range(100000) | map('string') | batch(2))) }}", "it takes more than 20000000 steps"},
		{"{{ range(-2**63, 2**63 - 1) }}", "Range too big"},
		{"{{ (1, 2)[::2**63 - 1] }}{{ 'abc'[-2**70:2**70:2**70] }}{{ 5 | round(-2**63) }}{{ 5.5 | round(-2**63) }}", ""},
		{"{% set a = 'x' * 10000000 %}{% set b = 'x' * 10000000 %}{% for i in range(99999) %}{{ '' if a == b }}{% endfor %}", "it takes more than 20000000 steps"},
		{"{% set a = 'x' * 10000000 %}{% set d = {a: 1} %}{% for i in range(99999) %}{{ '' if d[a] }}{% endfor %}", "it takes more than 20000000 steps"},
		{"{% set a = 'x' * 10000000 %}{% for i in range(99999) %}{{ '' if a in {'y': 1} }}{% endfor %}", "it takes more than 20000000 steps"},
		{"{% set a = 'x' * 10000000 %}{% for i in range(99999) %}{{ '' if a | length }}{% endfor %}", "it takes more than 20000000 steps"},
		{"{% set a = 'x' * 10000000 %}{% for i in range(99999) %}{{ '' if a is string }}{% endfor %}", "it takes more than 20000000 steps"},
		{double + "{{ ns.s }}", "a string of more than 16777216 bytes"},
		{double + "{{ ns.s | tojson }}", "a string of more than 16777216 bytes"},
		{double + "{{ ns.s == [ns.s[0], ns.s[1]] }}", ""},
		{double + "{% set a = ns.s %}" + double + "{{ ns.s == a }}", "it takes more than 20000000 steps"},
		{double + "{% set a = ns.s %}" + double + "{{ ns.s < a }}", "it takes more than 20000000 steps"},
		{strings.ReplaceAll(double, "[ns.s, ns.s]", "(ns.s, ns.s)") + "{{ {(ns.s, 1): 1} }}", "unhashable type"},
		{strings.ReplaceAll(strings.ReplaceAll(double, "[ns.s, ns.s]", "(ns.s, ns.s)"), "[1]", "1") + "{{ {ns.s: 1} }}", "a key of more than 16777216 bytes"},
		{deep + "{{ ns.s }}", "RecursionError: values nest deeper than 500"},
		{deep + "{{ ns.s | tojson }}", "RecursionError: values nest deeper than 500"},
		{deep + "{% set a = ns.s %}" + deep + "{{ ns.s == a }}", "RecursionError: values nest deeper than 500"},
		{strings.ReplaceAll(deep, "[ns.s]", "(ns.s,)") + "{{ {ns.s: 1} }}", "RecursionError: values nest deeper than 500"},
		{"{% set ns = namespace(g=[1]) %}{% for i in range(99999) %}{% set ns.g = ns.g | map('string') %}{% endfor %}{{ ns.g | list }}", "RecursionError: "},
	} {
		_, err := render(t, c.source, nil)
		if c.want == "" {
			require.NoError(t, err, c.source)
		} else {
			require.ErrorContains(t, err, c.want, c.source)
		}
	}

	for source, want := range map[string]string{
		"{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}{{ ns == ns.a }}{{ ns ~ '' }}": "<Namespace {'a': <Namespace {...}>}>True<Namespace {'a': <Namespace {...}>}>",
		"{% set ns = namespace() %}{% set ns.a = [ns] %}{{ [ns] }}":                          "[<Namespace {'a': [<Namespace {...}>]}>]",
	} {
		got, err := render(t, source, nil)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// What Jinja has and this package lacks is an error, and never nothing.
func TestLeftOut(t *testing.T) {
	for _, c := range []struct{ source, class, want string }{
		{"\n{% block a %}{% endblock %}", jinja.ClassSyntax, "line 2: TemplateSyntaxError: Encountered unknown tag 'block'."},
		{"{% if x %}{% include 'a' %}{% endif %}", jinja.ClassSyntax, "Encountered unknown tag 'include'."},
		{"{{ 'a' | urlize }}", "TemplateAssertionError", "No filter named 'urlize'."},
		{"{% if 1 %}{{ 'a' | urlize }}{% endif %}", "TemplateRuntimeError", "No filter named 'urlize' found."},
		{"\n{% if x %}{{ cycler('a') }}{% endif %}", "TemplateAssertionError", "line 2: TemplateAssertionError: The global 'cycler' is not supported."},
		{"{% for i in [1] %}{{ joiner is defined }}{% endfor %}", "TemplateAssertionError", "The global 'joiner' is not supported."},
		{"{% macro f(x=self) %}{% endmacro %}", "TemplateAssertionError", "The global 'self' is not supported."},
		{"{{ 'a'.swapcase is defined }}", jinja.ClassLimit, "str.swapcase is not supported"},
		{"{{ ('a' | safe).striptags() }}", jinja.ClassLimit, "Markup.striptags is not supported"},
		{"{{ 5 | attr('real') }}", jinja.ClassLimit, "int.real is not supported"},
		{"{{ dict['fromkeys'] }}", jinja.ClassLimit, "function.fromkeys is not supported"},
		{"{{ {}.keys().mapping }}", jinja.ClassLimit, "dict_keys.mapping is not supported"},
		{"{% macro f() %}{% endmacro %}{{ [f] | map(attribute='name') | list }}", jinja.ClassLimit, "Macro.name is not supported"},
	} {
		_, err := render(t, c.source, nil)
		var as *jinja.Error
		require.ErrorAs(t, err, &as, c.source)
		require.Equal(t, c.class, as.Class, c.source)
		require.ErrorContains(t, err, c.want)
	}
	got, err := render(t, "{% set self = 1 %}{{ self }}{% for joiner in [2] %}{{ joiner }}{% endfor %}{% macro cycler(lipsum) %}{{ lipsum }}{% endmacro %}{{ cycler(3) }}{{ {'real': 4}.real }}", nil)
	require.NoError(t, err)
	require.Equal(t, "1234", got)
}

// A rendering ends with its context, whatever it does.
func TestCancel(t *testing.T) {
	for _, source := range []string{
		"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
		"{% set s = 'ab' * 8000000 %}{% for a in range(100000) %}{{ s.count('b' ~ a) }}{% endfor %}",
		"{% set l = range(100000) | list %}{% for a in range(100000) %}{{ -1 in l }}{% endfor %}",
		"{% set l = range(100000) | list %}{% for a in range(100000) %}{% set x = l | sort(reverse=true) %}{% endfor %}",
		"{% set n = 2 ** 60000 %}{% for a in range(100000) %}{% set x = n % (n - 1) %}{% endfor %}",
		"{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
	} {
		template, err := jinja.Parse("test", source, jinja.Options{})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err = template.Render(ctx, hello, chat.Options{})
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded, source)
		_, err = template.Render(ctx, hello, chat.Options{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

// Source that nests as deep as it may is an error or renders; it does not
// exhaust the stack.
func TestDeepSource(t *testing.T) {
	const n = 128 << 10
	for _, part := range [][3]string{
		{"{{ 1", "|map", " }}"}, {"{{ a", "~a", " }}"}, {"{{ a", " if a else b", " }}"}, {"{{ a", "==a", " }}"}, {"{{ a", " is b", " }}"}, {"{{ a", "**a", " }}"}, {"{{ a", " or a", " }}"},
		{"{%if a%}", "{%elif a%}", "{%endif%}"}, {"{{ '", "a' '", "' }}"}, {"{%set ", "(", "%}"}, {"{%set ", "a,", "%}"}, {"{%macro f(", "a,", ")%}"}, {"{%filter ", "a|", "b%}"},
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
	for _, c := range readSyntax(f, "testdata/syntax.json").Cases {
		f.Add(c.Source, "x")
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
