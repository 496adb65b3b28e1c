package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/prompt"
)

// Encode returns a task.Definition's Encode for a chat model: the prompt's messages,
// written by the template, up to the opening of the assistant's message, as
// EncodeMessages encodes them.
func Encode[E any](t Template, tok *tokenizer.Tokenizer, o Options) func(*prompt.Template[E], E) ([]int32, error) {
	o.Generate = true
	return func(p *prompt.Template[E], example E) ([]int32, error) {
		return EncodeMessages(context.Background(), t, tok, FromPrompt(p.Messages(example)), o)
	}
}

// EncodeMessages returns the tokens of a conversation. They are those of the rendered
// text as a whole, so that nothing changes where the template's own text and a
// content meet, with one exception: markup that a message or document spells, such
// as <|im_end|>, is ordinary text (tokenizer.Tokenizer.Markup). Nobody who writes a
// content can end its message or fake another. Roles, Options.Tools and Options.Vars
// are the program's own.
//
// The template does not see such a text as it is: in it, each markup is broken by a
// character of private use that no text has, which is taken out of the rendered text.
// So a template that looks for markup in contents finds none.
func EncodeMessages(ctx context.Context, t Template, tok *tokenizer.Tokenizer, messages []Message, o Options) ([]int32, error) {
	b, err := newBreaker(tok, messages, o.Documents)
	if err != nil {
		return nil, err
	}
	messages, o.Documents = slices.Clone(messages), slices.Clone(o.Documents)
	for i := range messages {
		messages[i].Content, messages[i].JSON = b.text(messages[i].Content), b.json(messages[i].JSON)
	}
	for i := range o.Documents {
		o.Documents[i] = b.json(o.Documents[i])
	}
	text, err := t.Render(ctx, messages, o)
	if err != nil {
		return nil, err
	}
	text, ordinary := b.mend(text)
	return tok.EncodeExcept(text, ordinary), nil
}

// breaker breaks markup by a character that the texts do not have.
type breaker struct {
	tok  *tokenizer.Tokenizer
	mark string
}

// newBreaker returns a breaker for these texts.
func newBreaker(tok *tokenizer.Tokenizer, messages []Message, documents []json.RawMessage) (breaker, error) {
	var all strings.Builder
	write := func(text string) string {
		all.WriteString(text)
		return text
	}
	for _, m := range messages {
		write(m.Content)
		eachString(m.JSON, write)
	}
	for _, d := range documents {
		eachString(d, write)
	}
	for r := '\ue000'; r <= '\uf8ff'; r++ {
		if !strings.ContainsRune(all.String(), r) {
			return breaker{tok, string(r)}, nil
		}
	}
	return breaker{}, errors.New("chat: the messages have all characters of private use, U+E000 to U+F8FF, want one that is free")
}

// text breaks each markup in a text after its first character.
func (b breaker) text(text string) string {
	var out strings.Builder
	done := 0
	for _, start := range b.tok.Markup(text) {
		_, size := utf8.DecodeRuneInString(text[start:])
		out.WriteString(text[done:start+size] + b.mark)
		done = start + size
	}
	return out.String() + text[done:]
}

// json breaks the markup in the strings of a JSON text.
func (b breaker) json(raw json.RawMessage) json.RawMessage { return eachString(raw, b.text) }

// jsonString is a string of a JSON text.
var jsonString = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// eachString replaces each string of a JSON text by what f returns. What is no string
// is left for the template to refuse.
func eachString(raw json.RawMessage, f func(string) string) json.RawMessage {
	if raw == nil {
		return nil
	}
	return jsonString.ReplaceAllFunc(raw, func(literal []byte) []byte {
		var s string
		if json.Unmarshal(literal, &s) != nil {
			return literal
		}
		changed := f(s)
		if changed == s {
			return literal
		}
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(changed); err != nil {
			panic("chat: " + err.Error()) // a string
		}
		return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	})
}

// mend takes the marks out of a text and returns the bytes at which the markup begins
// that they broke.
func (b breaker) mend(text string) (string, []int) {
	var out strings.Builder
	var starts []int
	for {
		before, after, found := strings.Cut(text, b.mark)
		out.WriteString(before)
		if !found {
			return out.String(), starts
		}
		_, size := utf8.DecodeLastRuneInString(out.String())
		starts = append(starts, out.Len()-size)
		text = after
	}
}
