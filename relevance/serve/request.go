package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	Query     string     `json:"query"`
	Documents []document `json:"documents"`
	Steps     bool       `json:"steps"`
}

// rerankRequest is the body of /rerank.
type rerankRequest struct {
	Model     string     `json:"model"` // clients send one; there is only one
	Query     string     `json:"query"`
	Documents []document `json:"documents"`
	TopN      *int       `json:"top_n"`
	// Return is whether results repeat their documents. Jina and vLLM do unless asked.
	Return *bool `json:"return_documents"`
}

// document is a text, or an object with a text or with title, body and fields.
type document struct {
	rows.Document
	given json.RawMessage
}

// UnmarshalJSON reads either form.
func (d *document) UnmarshalJSON(data []byte) error {
	d.given = bytes.Clone(data)
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &d.Title)
	}
	if len(data) == 0 || data[0] != '{' {
		return errors.New("documents: want texts or objects")
	}
	var object struct {
		Text   *string      `json:"text"`
		Title  string       `json:"title"`
		Body   string       `json:"body"`
		Fields []rows.Field `json:"fields"`
	}
	if err := strict(data, &object); err != nil {
		return err
	}
	d.Document = rows.Document{Title: object.Title, Body: object.Body, Fields: object.Fields}
	if object.Text != nil {
		if object.Title != "" || object.Body != "" || len(object.Fields) > 0 {
			return errors.New("documents: an object has text, or title, body and fields, not both")
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

// size is the number of bytes of a document's texts, and whether there are any letters.
func size(d *rows.Document) (bytes int, blank bool) {
	blank = true
	add := func(text string) {
		bytes += len(text)
		blank = blank && strings.TrimSpace(text) == ""
	}
	add(d.Title)
	add(d.Body)
	for _, f := range d.Fields {
		add(f.Value)
		bytes += len(f.Name)
	}
	return bytes, blank
}

// strict decodes one JSON value and refuses unknown fields.
func strict(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more follows after the object")
	}
	return nil
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
		return wrong(http.StatusBadRequest, "%s: has the wrong type: %s", fieldName(wrongType.Field), wrongType.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return wrong(http.StatusBadRequest, "the body is not JSON: it ends too early")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return wrong(http.StatusBadRequest, "the body is not JSON: a mistake at byte %d", syntax.Offset)
	}
	return wrong(http.StatusBadRequest, "%s", strings.TrimPrefix(err.Error(), "json: "))
}

func fieldName(f string) string {
	if f == "" {
		return "the body"
	}
	return f
}

// check says what of a decoded request is not acceptable.
func (c *Config) check(query string, documents []document) *problem {
	if strings.TrimSpace(query) == "" {
		return wrong(http.StatusUnprocessableEntity, "query: is empty")
	}
	if len(query) > c.MaxText {
		return wrong(http.StatusRequestEntityTooLarge, "query: %d bytes, want at most %d", len(query), c.MaxText)
	}
	switch n := len(documents); {
	case n == 0:
		return wrong(http.StatusUnprocessableEntity, "documents: none, want at least one")
	case n > c.MaxDocuments:
		return wrong(http.StatusRequestEntityTooLarge, "documents: %d, want at most %d a request", n, c.MaxDocuments)
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
