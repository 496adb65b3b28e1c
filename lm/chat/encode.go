package chat

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
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
// content meet, with one exception: markup that a content spells, such as
// <|im_end|>, is ordinary text (tokenizer.Tokenizer.Markup). No content can end its
// message or fake another. What holds for contents holds for all strings of a
// message's JSON and of documents; roles and tools are the program's own. In the
// assistant's messages only special tokens are ordinary text: other tags there are
// the model's, such as <think>, and the template must see them.
//
// The template does not see such a content as it is: in it, each markup is broken by
// a character of private use that no content has, which is taken out of the rendered
// text, also where the template has written it as the escape of a JSON or Python string.
// So a template that looks for markup in contents finds none.
func EncodeMessages(ctx context.Context, t Template, tok *tokenizer.Tokenizer, messages []Message, o Options) ([]int32, error) {
	breaker, err := unused(messages, o.Documents)
	if err != nil {
		return nil, err
	}
	broken := slices.Clone(messages)
	o.Documents = slices.Clone(o.Documents)
	eachText(broken, o.Documents, func(text string, assistant bool) string {
		return breakAt(text, tok.Markup(text, assistant), breaker)
	})
	text, err := t.Render(ctx, broken, o)
	if err != nil {
		return nil, err
	}
	text, ordinary := mend(text, breaker)
	return tok.EncodeExcept(text, ordinary), nil
}

// unused returns a character of private use that is in no text.
func unused(messages []Message, documents []json.RawMessage) (string, error) {
	used := map[rune]bool{}
	eachText(slices.Clone(messages), slices.Clone(documents), func(text string, _ bool) string {
		for _, r := range text {
			used[r] = true
		}
		for _, at := range escaped.FindAllStringIndex(text, -1) {
			r, _ := strconv.ParseUint(text[at[1]-4:at[1]], 16, 16)
			used[rune(r)] = true
		}
		return text
	})
	for r := '\ue000'; r <= '\uf8ff'; r++ {
		if !used[r] {
			return string(r), nil
		}
	}
	return "", errors.New("chat: the messages have all characters of private use, U+E000 to U+F8FF, want one that is free")
}

// escaped matches the escape of a character of private use.
var escaped = regexp.MustCompile(`\\u(?:e[0-9a-f]|f[0-8])[0-9a-f]{2}`)

// eachText replaces every text of messages and documents by f of it, which is told
// whether it is an assistant's.
func eachText(messages []Message, documents []json.RawMessage, f func(text string, assistant bool) string) {
	for i, m := range messages {
		of := func(text string) string { return f(text, m.Role == "assistant") }
		messages[i].Content, messages[i].JSON = of(m.Content), eachString(m.JSON, of)
	}
	for i, d := range documents {
		documents[i] = eachString(d, func(text string) string { return f(text, false) })
	}
}

// jsonString matches a string of a JSON text.
var jsonString = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// eachString replaces every string of a JSON text by f of it. What is no JSON is left
// for the template to refuse.
func eachString(text json.RawMessage, f func(string) string) json.RawMessage {
	return jsonString.ReplaceAllFunc(text, func(literal []byte) []byte {
		var s string
		if json.Unmarshal(literal, &s) != nil {
			return literal
		}
		to := f(s)
		if to == s {
			return literal
		}
		out, err := json.Marshal(to)
		if err != nil {
			panic(err) // a string always has a JSON form
		}
		return out
	})
}

// breakAt puts the breaker after each character that begins at one of starts.
func breakAt(content string, starts []int, breaker string) string {
	var b strings.Builder
	done := 0
	for _, start := range starts {
		_, size := utf8.DecodeRuneInString(content[start:])
		b.WriteString(content[done:start+size] + breaker)
		done = start + size
	}
	return b.String() + content[done:]
}

// mend takes the breakers out of a text and returns the bytes at which the markup
// begins that they broke.
func mend(text, breaker string) (string, []int) {
	escape := strconv.QuoteToASCII(breaker)
	text = strings.ReplaceAll(text, escape[1:len(escape)-1], breaker)
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
