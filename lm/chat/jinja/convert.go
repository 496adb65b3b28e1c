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
		v, err := message(m)
		if err != nil {
			panic(valueError("message %d: %v", i, err))
		}
		conversation.items = append(conversation.items, v)
	}
	vars["messages"], vars["add_generation_prompt"] = conversation, o.Generate
	for name, raws := range map[string][]json.RawMessage{"tools": o.Tools, "documents": o.Documents} {
		if vars[name] = nil; raws == nil {
			continue
		}
		l := &list{}
		for i, raw := range raws {
			v, err := fromJSON(raw)
			if _, ok := v.(*dict); err == nil && !ok {
				err = fmt.Errorf("want a JSON object")
			}
			if err != nil {
				panic(valueError("%s[%d]: %v", name, i, err))
			}
			l.items = append(l.items, v)
		}
		vars[name] = l
	}
	return vars
}

// message makes a dict of a message. What an assistant thought is known by
// several names; as in transformers, a template finds it under two of them.
func message(m chat.Message) (*dict, error) {
	if m.JSON == nil {
		d := newDict()
		d.set("role", m.Role)
		d.set("content", m.Content)
		return d, nil
	}
	v, err := fromJSON(m.JSON)
	if err != nil {
		return nil, err
	}
	d, ok := v.(*dict)
	if !ok {
		return nil, fmt.Errorf("want a JSON object")
	}
	for _, name := range []string{"reasoning_content", "thinking", "reasoning"} {
		if thoughts, ok := d.get(name); ok && thoughts != nil {
			out := newDict()
			out.set("thinking", thoughts)
			for _, e := range d.entries {
				out.set(e.key.(string), e.val)
			}
			out.set("reasoning_content", thoughts)
			return out, nil
		}
	}
	return d, nil
}

func variables(from map[string]any) map[string]value {
	vars := map[string]value{}
	for name, v := range from {
		var err error
		if vars[name], err = fromGo(v); err != nil {
			panic(valueError("variable %s: %v", name, err))
		}
	}
	return vars
}

// fromGo makes a value of a Go value.
func fromGo(v any) (value, error) {
	switch v := v.(type) {
	case nil, bool, int, float64:
		return v, nil
	case string:
		return strings.ToValidUTF8(v, "\uFFFD"), nil
	case float32:
		return float64(v), nil
	case int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		i, _ := new(big.Int).SetString(fmt.Sprint(v), 10)
		return normal(i), nil
	case json.RawMessage:
		return fromJSON(v)
	case []any:
		l := &list{}
		for i, item := range v {
			x, err := fromGo(item)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			l.items = append(l.items, x)
		}
		return l, nil
	case map[string]any:
		d := newDict()
		for _, key := range slices.Sorted(maps.Keys(v)) {
			x, err := fromGo(v[key])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			d.set(key, x)
		}
		return d, nil
	}
	return nil, fmt.Errorf("%T is none of nil, string, number, bool, []any, map[string]any and json.RawMessage", v)
}

// fromJSON makes a value of JSON. Keys keep their order; of two that are the
// same, the last one counts.
func fromJSON(text []byte) (value, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := decode(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return v, nil
}

func decode(d *json.Decoder, depth int) (value, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the JSON nests deeper than %d", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		if i, ok := new(big.Int).SetString(string(t), 10); ok {
			return normal(i), nil
		}
		return t.Float64()
	case json.Delim:
		if t == '[' {
			l := &list{}
			for d.More() {
				v, err := decode(d, depth+1)
				if err != nil {
					return nil, err
				}
				l.items = append(l.items, v)
			}
			_, err := d.Token()
			return l, err
		}
		o := newDict()
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			o.set(key.(string), v)
		}
		_, err := d.Token()
		return o, err
	}
	return t, nil
}
