package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/lm/chat"
)

// globals are the variables of a rendering.
func (t *Template) globals(messages []chat.Message, o chat.Options) map[string]value {
	vars := variables(o.Vars)
	for name, v := range t.vars {
		if _, ok := vars[name]; !ok {
			vars[name] = v
		}
	}
	conversation := &list{}
	for i, m := range messages {
		conversation.items = append(conversation.items, message(m, fmt.Sprintf("message %d: ", i)))
	}
	vars["messages"], vars["add_generation_prompt"] = conversation, o.Generate
	vars["tools"], vars["documents"] = objects("tools", o.Tools), objects("documents", o.Documents)
	return vars
}

// objects is a list of objects, or None.
func objects(name string, texts []json.RawMessage) value {
	if texts == nil {
		return nil
	}
	l := &list{}
	for i, text := range texts {
		l.items = append(l.items, object(text, fmt.Sprintf("%s[%d]: ", name, i)))
	}
	return l
}

// message makes a dict of a message. What an assistant thought is known by
// several names; as in transformers, a template finds it under two of them.
// Errors begin with at, here and below.
func message(m chat.Message, at string) *dict {
	if m.JSON == nil {
		d := newDict()
		d.set("role", m.Role)
		d.set("content", m.Content)
		return d
	}
	d := object(m.JSON, at)
	for _, name := range []string{"reasoning_content", "thinking", "reasoning"} {
		if thoughts, ok := d.get(name); ok && thoughts != nil {
			out := newDict()
			out.set("thinking", thoughts)
			for _, e := range d.entries {
				out.set(e.key.(string), e.val)
			}
			out.set("reasoning_content", thoughts)
			return out
		}
	}
	return d
}

func variables(from map[string]any) map[string]value {
	vars := map[string]value{}
	for name, v := range from {
		vars[name] = fromGo(v, "variable "+name+": ")
	}
	return vars
}

// fromGo makes a value of a Go value.
func fromGo(v any, at string) value {
	switch v := v.(type) {
	case nil, bool, int, float64:
		return v
	case string:
		return strings.ToValidUTF8(v, "\uFFFD")
	case float32:
		return float64(v)
	case int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		i, _ := new(big.Int).SetString(fmt.Sprint(v), 10)
		return normal(i)
	case json.RawMessage:
		return fromJSON(v, at)
	case []any:
		l := &list{}
		for i, item := range v {
			l.items = append(l.items, fromGo(item, fmt.Sprintf("%s[%d]: ", at, i)))
		}
		return l
	case map[string]any:
		d := newDict()
		for _, key := range slices.Sorted(maps.Keys(v)) {
			d.set(key, fromGo(v[key], at+key+": "))
		}
		return d
	}
	panic(valueError("%s%T is none of nil, string, number, bool, []any, map[string]any and json.RawMessage", at, v))
}

// object is fromJSON of an object.
func object(text []byte, at string) *dict {
	d, ok := fromJSON(text, at).(*dict)
	if !ok {
		panic(valueError("%swant a JSON object", at))
	}
	return d
}

// fromJSON makes a value of JSON. Keys keep their order; of two that are the
// same, the last one counts.
func fromJSON(text []byte, at string) value {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v := decode(d, at, 0)
	if _, err := d.Token(); err != io.EOF {
		panic(valueError("%smore than one JSON value", at))
	}
	return v
}

func decode(d *json.Decoder, at string, depth int) value {
	if depth > maxDepth {
		panic(valueError("%sthe JSON nests deeper than %d", at, maxDepth))
	}
	switch t := jsonToken(d, at).(type) {
	case json.Number:
		if i, ok := new(big.Int).SetString(string(t), 10); ok {
			return normal(i)
		}
		f, err := t.Float64()
		if err != nil {
			panic(valueError("%s%v", at, err))
		}
		return f
	case json.Delim:
		if t == '[' {
			l := &list{}
			for d.More() {
				l.items = append(l.items, decode(d, at, depth+1))
			}
			jsonToken(d, at)
			return l
		}
		o := newDict()
		for d.More() {
			key := jsonToken(d, at).(string)
			o.set(key, decode(d, at, depth+1))
		}
		jsonToken(d, at)
		return o
	default:
		return t
	}
}

func jsonToken(d *json.Decoder, at string) json.Token {
	t, err := d.Token()
	if err != nil {
		panic(valueError("%s%v", at, err))
	}
	return t
}
