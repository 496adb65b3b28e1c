package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// template says what a model expects around one text or two.
type template struct {
	single, pair []templatePart
}

// templatePart is a run of special tokens or, if ids is nil, one of the texts.
type templatePart struct {
	ids    []int32
	second bool // the second text
	kind   int32
}

// AddSpecial returns ids, the tokens of a text, with the special tokens that the
// model expects around them: Llama's begin-of-text, BERT's [CLS] and [SEP]. The
// result is a new slice. It equals ids if the model expects none.
func (t *Tokenizer) AddSpecial(ids []int32) []int32 {
	out, _ := fill(t.def.template.single, ids, nil)
	return out
}

// AddSpecialPair joins the tokens of two texts as the model expects them, and also
// returns the type of each token: for BERT, 0 in the first text and 1 in the
// second. If the model expects nothing, the second text follows the first.
func (t *Tokenizer) AddSpecialPair(first, second []int32) (ids, types []int32) {
	return fill(t.def.template.pair, first, second)
}

// PairTypes returns the types that AddSpecialPair gave to the tokens of two texts: the
// special tokens between the texts tell them apart, which EncodeOrdinary never puts
// into one. It is nil for what AddSpecialPair did not make, such as a single text, and
// if all types are 0.
func (t *Tokenizer) PairTypes(ids []int32) []int32 {
	var frame [3][]int32 // the special tokens before, between and after the texts
	texts := 0
	typed := false
	for _, p := range t.def.template.pair {
		typed = typed || p.kind != 0
		if p.ids == nil {
			texts++
		}
		frame[texts] = append(frame[texts], p.ids...)
	}
	before, between := len(frame[0]), len(frame[1])
	if !typed || between == 0 || len(ids) < before {
		return nil
	}
	for at := before; at+between+len(frame[2]) <= len(ids); at++ {
		if slices.Equal(ids[at:at+between], frame[1]) {
			joined, types := t.AddSpecialPair(ids[before:at], ids[at+between:len(ids)-len(frame[2])])
			if slices.Equal(joined, ids) {
				return types
			}
			return nil
		}
	}
	return nil
}

// fill puts texts into a template.
func fill(parts []templatePart, first, second []int32) (ids, types []int32) {
	for _, p := range parts {
		add := p.ids
		switch {
		case add != nil:
		case p.second:
			add = second
		default:
			add = first
		}
		ids = append(ids, add...)
		types = append(types, slices.Repeat([]int32{p.kind}, len(add))...)
	}
	return ids, types
}

// plainTemplate adds no tokens; its types are the library's.
var plainTemplate = template{
	single: []templatePart{{}},
	pair:   []templatePart{{}, {second: true, kind: 1}},
}

// parsePostProcessor reads the part of the file of that name, of which one may
// be a template. ByteLevel changes offsets in the library, never ids.
func parsePostProcessor(p filePart) (template, error) {
	parts, err := flatten(p, "processors")
	if err != nil {
		return template{}, err
	}
	out, found := plainTemplate, false
	for _, p := range parts {
		kind, err := p.kind()
		switch {
		case err != nil:
			return template{}, err
		case kind == "ByteLevel":
			err = decodeStrict(p, &fileByteLevel{})
		case found:
			err = errors.New("two templates in a Sequence are not supported")
		case kind == "TemplateProcessing":
			found = true
			out, err = parseTemplate(p)
		case kind == "BertProcessing" || kind == "RobertaProcessing":
			found = true
			out, err = parseClassic(p)
		default:
			err = fmt.Errorf("type: %q is not supported, only \"ByteLevel\", \"TemplateProcessing\", \"BertProcessing\" and \"RobertaProcessing\"", kind)
		}
		if err != nil {
			return template{}, err
		}
	}
	return out, nil
}

// parseClassic reads BertProcessing and RobertaProcessing, which name the tokens that
// begin a text and end it. RoBERTa puts two of the latter between two texts.
func parseClassic(p filePart) (template, error) {
	var f struct {
		Type           string
		Sep, CLS       []json.RawMessage
		TrimOffsets    *bool `json:"trim_offsets"`
		AddPrefixSpace *bool `json:"add_prefix_space"`
	}
	if err := decodeStrict(p, &f); err != nil {
		return template{}, err
	}
	read := func(name string, pair []json.RawMessage) (p templatePart, err error) {
		var content string
		p.ids = []int32{0}
		if len(pair) != 2 || json.Unmarshal(pair[0], &content) != nil || json.Unmarshal(pair[1], &p.ids[0]) != nil {
			err = fmt.Errorf("%s: want a token and its id", name)
		}
		return p, err
	}
	begin, err := read("cls", f.CLS)
	if err != nil {
		return template{}, err
	}
	end, err := read("sep", f.Sep)
	if err != nil {
		return template{}, err
	}
	single := []templatePart{begin, {}, end}
	if f.Type == "RobertaProcessing" {
		return template{single: single, pair: []templatePart{begin, {}, end, end, {second: true}, end}}, nil
	}
	last := end
	last.kind = 1
	return template{single: single, pair: []templatePart{begin, {}, end, {second: true, kind: 1}, last}}, nil
}

type (
	fileTemplate struct {
		Type          string
		Single, Pair  []filePiece
		SpecialTokens map[string]struct {
			ID     string
			IDs    []int32
			Tokens []string
		} `json:"special_tokens"`
	}
	filePiece struct {
		SpecialToken, Sequence *struct {
			ID     string
			TypeID int32 `json:"type_id"`
		}
	}
)

func parseTemplate(p filePart) (template, error) {
	var f fileTemplate
	if err := decodeStrict(p, &f); err != nil {
		return template{}, err
	}
	parts := func(name string, pieces []filePiece, texts ...string) (out []templatePart, err error) {
		for i, piece := range pieces {
			switch {
			case (piece.SpecialToken == nil) == (piece.Sequence == nil):
				return nil, fmt.Errorf("%s[%d]: want a SpecialToken or a Sequence", name, i)
			case piece.SpecialToken != nil:
				special, ok := f.SpecialTokens[piece.SpecialToken.ID]
				if !ok || len(special.IDs) == 0 {
					return nil, fmt.Errorf("%s[%d]: special_tokens has no ids for %q", name, i, piece.SpecialToken.ID)
				}
				out = append(out, templatePart{ids: special.IDs, kind: piece.SpecialToken.TypeID})
			case len(texts) == 0 || piece.Sequence.ID != texts[0]:
				return nil, fmt.Errorf("%s[%d]: the text %q is not supported here: want each once and in order", name, i, piece.Sequence.ID)
			default:
				out = append(out, templatePart{second: texts[0] == "B", kind: piece.Sequence.TypeID})
				texts = texts[1:]
			}
		}
		if len(texts) > 0 {
			return nil, fmt.Errorf("%s: the text %q is missing", name, texts[0])
		}
		return out, nil
	}
	single, err := parts("single", f.Single, "A")
	if err != nil {
		return template{}, err
	}
	if len(f.Pair) == 0 { // not a model for pairs
		return template{single: single, pair: plainTemplate.pair}, nil
	}
	pair, err := parts("pair", f.Pair, "A", "B")
	return template{single: single, pair: pair}, err
}

// startJSON returns the TemplateProcessing that puts a token before each text.
func startJSON(token string, id int32) (filePart, error) {
	name, err := encode(token)
	if err != nil {
		return nil, err
	}
	const text = `{"Sequence":{"id":"%s","type_id":%d}}`
	special := func(kind int) string { return fmt.Sprintf(`{"SpecialToken":{"id":%s,"type_id":%d}}`, name, kind) }
	single := special(0) + "," + fmt.Sprintf(text, "A", 0)
	return filePart(fmt.Sprintf(
		`{"type":"TemplateProcessing","single":[%s],"pair":[%s,%s,%s],"special_tokens":{%s:{"id":%s,"ids":[%d],"tokens":[%s]}}}`,
		single, single, special(1), fmt.Sprintf(text, "B", 1), name, name, id, name)), nil
}
