package prompt

import (
	"fmt"
	"strconv"
)

// Range is a half-open interval [Start, End) of bytes or of tokens.
type Range struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// Len is the number of bytes or tokens in the range.
func (r Range) Len() int { return r.End - r.Start }

// Empty reports whether the range holds nothing.
func (r Range) Empty() bool { return r.Start >= r.End }

// Status tells whether a step was written as the template asked and, if not, how
// the model broke it.
type Status uint8

const (
	// StatusOK: the step's first occurrence is in its place, closed, with a
	// valid answer. A later occurrence is a duplicate, in Trace.Extra.
	StatusOK Status = iota
	// StatusMissing: the step never begins. It has no bytes and no tokens; its
	// empty ranges stand where it should have begun.
	StatusMissing
	// StatusDuplicate: the step occurs again after its first occurrence.
	StatusDuplicate
	// StatusOutOfOrder: the step begins before one that the template puts
	// earlier.
	StatusOutOfOrder
	// StatusTruncated: the text ends, or another step begins, before the step
	// is closed.
	StatusTruncated
	// StatusBadAnswer: the step is closed and in its place, but states no
	// answer, more than one (unclosed ones count), or one that the template
	// does not allow.
	StatusBadAnswer
	// StatusSurplus: a step that the template does not know.
	StatusSurplus
)

var statusNames = [...]string{"ok", "missing", "duplicate", "out of order", "truncated", "invalid answer", "surplus"}

// String returns the status in words, as metrics and reports print it.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "status " + strconv.Itoa(int(s))
}

// MarshalText returns the text of String; an invalid value is an error.
func (s Status) MarshalText() ([]byte, error) {
	if int(s) >= len(statusNames) {
		return nil, fmt.Errorf("prompt: no such status: %d", uint8(s))
	}
	return []byte(statusNames[s]), nil
}

// UnmarshalText reads what MarshalText writes.
func (s *Status) UnmarshalText(text []byte) error {
	for i, name := range statusNames {
		if string(text) == name {
			*s = Status(i)
			return nil
		}
	}
	return fmt.Errorf("prompt: no such status: %q", text)
}

// Span is the place of one reasoning step in a completion, and its answer.
//
// Byte ranges index the completion's text, token ranges its sampled tokens. A
// token belongs to the step that holds its first byte. A token without bytes
// belongs to the step that holds the next byte, or to none at the end of the
// text. Tags that open and close a step belong to it.
type Span struct {
	// Name is the step's name in the template. For a surplus step it is the
	// name as written, escapes included, or "" if the syntax writes no names.
	Name string `json:"name"`
	// Index is the step's index in the template, -1 for a surplus step.
	Index int `json:"index"`
	// Bytes and Tokens hold the whole step, tags included. For a missing
	// step both are empty and stand where it should have begun: where the
	// next step that is present begins, else at the end of the text.
	Bytes  Range `json:"bytes"`
	Tokens Range `json:"tokens"`
	// Answer is the text inside the last closed answer mark, without Unicode
	// white space at its ends; "" if no mark is closed.
	Answer string `json:"answer"`
	// AnswerBytes holds Answer, and AnswerTokens every token with a byte of
	// it. If Answer is empty, so are both: they stand where its mark closes,
	// or at the step's end if no mark is closed.
	AnswerBytes  Range `json:"answer_bytes"`
	AnswerTokens Range `json:"answer_tokens"`
	// Status is the first of these that is true: missing, or duplicate or
	// surplus (in Trace.Extra only), truncated, out of order, bad answer, OK.
	Status Status `json:"status"`
}

// Trace is a parsed completion. Parsing never fails: whatever the completion
// holds, Steps has exactly one entry per step of the template.
type Trace struct {
	// Text is the completion: the concatenated bytes of its tokens.
	Text string `json:"text,omitempty"`
	// Tokens is the completion's number of tokens, 0 if the parser was not
	// told where they end.
	Tokens int `json:"tokens"`
	// Steps holds one entry per template step, in template order.
	Steps []Span `json:"steps"`
	// Extra holds duplicates and surplus steps in the order of the text.
	Extra []Span `json:"extra,omitempty"`
	// Final is the index in Steps of the step whose answer is the
	// completion's final answer: the template's last.
	Final int `json:"final"`
	// Problems describes every deviation, each with its byte offset, in the order
	// of the text. It is empty for a well-formed completion.
	Problems []string `json:"problems,omitempty"`
}

// Malformed reports whether the completion deviates from the template
// anywhere. Text outside steps is not a deviation.
func (t *Trace) Malformed() bool { return len(t.Problems) > 0 }

// FinalAnswer returns the final step's answer and whether that step is OK. A
// broken step's answer, if there is one, is returned with false.
func (t *Trace) FinalAnswer() (string, bool) {
	if t.Final < 0 || t.Final >= len(t.Steps) {
		return "", false
	}
	s := &t.Steps[t.Final]
	return s.Answer, s.Status == StatusOK
}

// Parser parses completions in time linear in their length. It is safe for
// concurrent use.
type Parser interface {
	// Parse returns the trace of text. ends[i] is the byte offset in text at
	// which token i ends. Ends never decrease (two are equal where a special
	// token has no bytes), and the last is len(text). With nil ends, all token
	// ranges are {0, 0}. Parse panics if ends do not fit the text (see
	// CheckEnds): that is a programmer's mistake, never a model's.
	Parse(text string, ends []int) Trace
}
