package chat

import (
	"context"
	"errors"
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
		return EncodeMessages(context.Background(), t, tok, p.Messages(example), o)
	}
}

// EncodeMessages returns the tokens of a conversation. They are those of the rendered
// text as a whole, so that nothing changes where the template's own text and a
// content meet, with one exception: markup that a content spells, such as
// <|im_end|>, is ordinary text (tokenizer.Tokenizer.Markup). No content can end its
// message or fake another.
//
// The template does not see such a content as it is: in it, each markup is broken by
// a character of private use that no content has, which is taken out of the rendered
// text. So a template that looks for markup in contents finds none.
func EncodeMessages(ctx context.Context, t Template, tok *tokenizer.Tokenizer, messages []prompt.Message, o Options) ([]int32, error) {
	breaker, err := unused(messages)
	if err != nil {
		return nil, err
	}
	broken := slices.Clone(messages)
	for i := range broken {
		broken[i].Content = breakMarkup(tok, broken[i].Content, breaker)
	}
	text, err := t.Render(ctx, broken, o)
	if err != nil {
		return nil, err
	}
	text, ordinary := mend(text, breaker)
	return tok.EncodeExcept(text, ordinary), nil
}

// unused returns a character of private use that is in no message.
func unused(messages []prompt.Message) (string, error) {
	for r := '\ue000'; r <= '\uf8ff'; r++ {
		if !slices.ContainsFunc(messages, func(m prompt.Message) bool { return strings.ContainsRune(m.Content, r) }) {
			return string(r), nil
		}
	}
	return "", errors.New("chat: the messages have all characters of private use, U+E000 to U+F8FF, want one that is free")
}

// breakMarkup puts the breaker after the first character of each markup.
func breakMarkup(tok *tokenizer.Tokenizer, content, breaker string) string {
	var b strings.Builder
	done := 0
	for _, start := range tok.Markup(content) {
		_, size := utf8.DecodeRuneInString(content[start:])
		b.WriteString(content[done:start+size] + breaker)
		done = start + size
	}
	return b.String() + content[done:]
}

// mend takes the breakers out of a text and returns the bytes at which the markup
// begins that they broke.
func mend(text, breaker string) (string, []int) {
	var b strings.Builder
	var starts []int
	for {
		before, after, found := strings.Cut(text, breaker)
		b.WriteString(before)
		if !found {
			return b.String(), starts
		}
		_, size := utf8.DecodeLastRuneInString(b.String())
		starts = append(starts, b.Len()-size)
		text = after
	}
}
