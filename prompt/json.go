package prompt

import (
	"encoding/json"
	"unicode/utf8"
)

// exact returns the bytes of a string that JSON cannot hold; nil if it can.
func exact(s string) []byte {
	if utf8.ValidString(s) {
		return nil
	}
	return []byte(s)
}

// restore puts the exact bytes of a string, if there are any, in its place.
func restore(s *string, exact []byte) {
	if exact != nil {
		*s = string(exact)
	}
}

type plainSpan Span

type spanJSON struct {
	plainSpan
	NameBase64   []byte `json:"name_base64,omitempty"`
	AnswerBase64 []byte `json:"answer_base64,omitempty"`
}

// MarshalJSON writes the fields under the names of their tags. JSON cannot hold
// text that is not valid UTF-8, such as that of a step that ends inside a
// character. The name or answer then has U+FFFD for each invalid byte, and
// name_base64 or answer_base64 has the exact bytes.
func (s Span) MarshalJSON() ([]byte, error) {
	return json.Marshal(spanJSON{plainSpan(s), exact(s.Name), exact(s.Answer)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Span) UnmarshalJSON(data []byte) error {
	v := spanJSON{plainSpan: plainSpan(*s)}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*s = Span(v.plainSpan)
	restore(&s.Name, v.NameBase64)
	restore(&s.Answer, v.AnswerBase64)
	return nil
}

type plainTrace Trace

type traceJSON struct {
	plainTrace
	TextBase64 []byte `json:"text_base64,omitempty"`
}

// MarshalJSON writes the fields under the names of their tags. As with a Span,
// the exact bytes of a text that is not valid UTF-8 are in text_base64.
func (t Trace) MarshalJSON() ([]byte, error) {
	return json.Marshal(traceJSON{plainTrace(t), exact(t.Text)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Trace) UnmarshalJSON(data []byte) error {
	v := traceJSON{plainTrace: plainTrace(*t)}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*t = Trace(v.plainTrace)
	restore(&t.Text, v.TextBase64)
	return nil
}
