package serve

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// problem is an answer that is not a success: a status and what is wrong. It never has
// texts of the request.
type problem struct {
	status  int
	message string
}

func wrong(status int, format string, args ...any) *problem {
	return &problem{status, fmt.Sprintf(format, args...)}
}

// scoreRequest is the body of /v1/score.
type scoreRequest struct {
	Query     string          `json:"query"`
	Documents json.RawMessage `json:"documents"` // Config.documents
	Steps     bool            `json:"steps"`
}

// rerankRequest is the body of /rerank.
type rerankRequest struct {
	Model     string          `json:"model"` // clients send one; there is only one
	Query     string          `json:"query"`
	Documents json.RawMessage `json:"documents"`
	TopN      *int            `json:"top_n"`
	// Return is whether results repeat their documents. Jina and vLLM do unless asked.
	Return *bool `json:"return_documents"`
	// What clients of Cohere, Jina and vLLM send as well: names of users and places in
	// queues, and lengths, where the model's own rule holds. None is used.
	User        json.RawMessage `json:"user"`
	Priority    json.RawMessage `json:"priority"`
	Truncation  json.RawMessage `json:"truncation"`
	MaxTokens   json.RawMessage `json:"max_tokens_per_doc"`
	MaxTokensIn json.RawMessage `json:"truncate_prompt_tokens"`
}

// document is a text, or an object with a text or with title, body and fields.
type document struct {
	rows.Document
	given json.RawMessage
}

// mostFields is how many fields a document may have.
const mostFields = 256

// read reads either form.
func (d *document) read(data []byte) error {
	d.given = data
	if data[0] == '"' {
		return json.Unmarshal(data, &d.Title)
	}
	if data[0] != '{' {
		return errors.New("want a text or an object")
	}
	var object struct {
		Text   *string         `json:"text"`
		Title  string          `json:"title"`
		Body   string          `json:"body"`
		Fields json.RawMessage `json:"fields"`
	}
	if err := strict(data, &object); err != nil {
		return err
	}
	d.Document = rows.Document{Title: object.Title, Body: object.Body}
	err := each("fields", object.Fields, mostFields, func(data []byte) error {
		var f struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		}
		err := strict(data, &f)
		d.Fields = append(d.Fields, rows.Field(f))
		return err
	})
	if err != nil {
		return err
	}
	if object.Text != nil {
		if object.Title != "" || object.Body != "" || len(d.Fields) > 0 {
			return errors.New("an object has text, or title, body and fields, not both")
		}
		d.Title = *object.Text // as in files of pairs
	}
	return nil
}

// echo is the document as results of rerank repeat it: an object, whatever was sent.
func (d *document) echo() json.RawMessage {
	if d.given[0] == '"' {
		return append(append([]byte(`{"text":`), d.given...), '}')
	}
	return d.given
}

// size is the number of bytes of a document's texts, and whether there is nothing in them
// that a model reads.
func size(d *rows.Document) (bytes int, blank bool) {
	blank = true
	add := func(text string) {
		bytes += len(text)
		blank = blank && rows.Line(text) == ""
	}
	add(d.Title)
	add(d.Body)
	for _, f := range d.Fields {
		add(f.Value)
		bytes += len(f.Name)
	}
	return bytes, blank
}

// strict decodes one JSON object. Unknown fields, fields that differ in case, and fields
// that are there twice are errors.
func strict(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more follows after the object")
	}
	return known(data, to)
}

// known returns an error for a field of an object that the struct to does not have.
func known(data []byte, to any) error {
	var names []string
	for f := range reflect.TypeOf(to).Elem().Fields() {
		names = append(names, f.Tag.Get("json"))
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return err
	}
	seen := make(map[string]bool)
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown field %q, want one of: %s", name, strings.Join(names, ", "))
		}
		if seen[name] {
			return fmt.Errorf("the field %q is there twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
	}
	return nil
}

// at says where an error of decoding is; nil is none.
func at(place string, err error) error {
	if err == nil {
		return nil
	}
	wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return &placeError{place: place, problem: strings.TrimPrefix(err.Error(), "json: ")}
	}
	if wrongType.Field != "" {
		place = strings.TrimPrefix(place+"."+wrongType.Field, ".")
	}
	is, _, _ := strings.Cut(wrongType.Value, " ") // without a number's digits
	return &placeError{place: cmp.Or(place, "the body"), problem: fmt.Sprintf("is %s, want %s", jsonWords[is], typeWord(wrongType.Type))}
}

var jsonWords = map[string]string{"string": "a string", "number": "a number", "bool": "true or false", "array": "an array", "object": "an object"}

func typeWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeWord(t.Elem())
	case reflect.String:
		return jsonWords["string"]
	case reflect.Bool:
		return jsonWords["bool"]
	case reflect.Slice:
		return jsonWords["array"]
	case reflect.Struct:
		return jsonWords["object"]
	}
	return "a whole number"
}

// decode reads a request's body.
func decode(data []byte, to any) *problem {
	if !utf8.Valid(data) {
		return wrong(http.StatusBadRequest, "the body is not valid UTF-8")
	}
	err := strict(data, to)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType):
		return wrong(http.StatusBadRequest, "%v", at("", err))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return wrong(http.StatusBadRequest, "the body is not JSON: it ends too early")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return wrong(http.StatusBadRequest, "the body is not JSON: a mistake at byte %d", syntax.Offset)
	}
	return wrong(http.StatusBadRequest, "%s", strings.TrimPrefix(err.Error(), "json: "))
}

// documents decodes a request's documents.
func (c *Config) documents(data json.RawMessage) (all []document, p *problem) {
	err := each("documents", data, c.MaxDocuments, func(one []byte) error {
		all = append(all, document{})
		return all[len(all)-1].read(one)
	})
	if e, ok := errors.AsType[*placeError](err); ok && e.many {
		return nil, wrong(http.StatusRequestEntityTooLarge, "%v", e)
	}
	if err != nil {
		return nil, wrong(http.StatusBadRequest, "%v", err)
	}
	return all, nil
}

// each calls f for each element of an array, which may be missing or null. An error says
// at which place it is. More than most elements are an error before they are read: empty
// ones would take many times their bytes in memory, and as long.
func each(place string, data []byte, most int, f func(element []byte) error) error {
	if len(data) == 0 || string(data) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if open, _ := d.Token(); open != json.Delim('[') {
		return at(place, json.Unmarshal(data, new([]json.RawMessage)))
	}
	for i := 0; d.More(); i++ {
		if i == most {
			return &placeError{place, fmt.Sprintf("more than %d", most), true}
		}
		var element json.RawMessage
		err := d.Decode(&element)
		if err == nil {
			err = f(element)
		}
		if e, ok := errors.AsType[*placeError](err); ok {
			e.place = fmt.Sprintf("%s[%d].%s", place, i, e.place)
			return e
		}
		if err != nil {
			return at(fmt.Sprintf("%s[%d]", place, i), err)
		}
	}
	return nil
}

// placeError is what is wrong with a part of a request.
type placeError struct {
	place, problem string
	many           bool // an array has too many elements
}

func (e *placeError) Error() string { return e.place + ": " + e.problem }

// check says what of a decoded request is not acceptable.
func (c *Config) check(query string, documents []document) *problem {
	if rows.Line(query) == "" {
		return wrong(http.StatusUnprocessableEntity, "query: is empty")
	}
	if len(query) > c.MaxText {
		return wrong(http.StatusRequestEntityTooLarge, "query: %d bytes, want at most %d", len(query), c.MaxText)
	}
	if len(documents) == 0 {
		return wrong(http.StatusUnprocessableEntity, "documents: none, want at least one")
	}
	for i := range documents {
		switch bytes, blank := size(&documents[i].Document); {
		case bytes > c.MaxText:
			return wrong(http.StatusRequestEntityTooLarge, "documents[%d]: %d bytes, want at most %d", i, bytes, c.MaxText)
		case blank:
			return wrong(http.StatusUnprocessableEntity, "documents[%d]: is empty", i)
		}
	}
	return nil
}

// examples makes pairs of a request.
func examples(query string, documents []document) []rows.Example {
	es := make([]rows.Example, len(documents))
	for i, d := range documents {
		es[i] = rows.Example{ID: fmt.Sprintf("documents[%d]", i), Query: query, Document: d.Document}
	}
	return es
}
