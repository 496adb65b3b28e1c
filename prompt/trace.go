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

// Contains reports whether i lies in the range.
func (r Range) Contains(i int) bool { return r.Start <= i && i < r.End }

// Status says whether a step was written as the template asked, and if not,
// how the writer broke it.
type Status uint8

const (
	// StatusOK: the step's first occurrence is in its place, closed, with a valid
	// answer. A later occurrence is a Duplicate of its own in Trace.Extra.
	StatusOK Status = iota
	// StatusMissing: the step never begins. It has no bytes and no tokens; its
	// empty ranges lie where it should have begun.
	StatusMissing
	// StatusDuplicate: the step occurs again after its first occurrence.
	StatusDuplicate
	// StatusOutOfOrder: the step begins before one that the template puts earlier.
	StatusOutOfOrder
	// StatusTruncated: the text ends, or another step begins, before the step is
	// closed.
	StatusTruncated
	// StatusBadAnswer: the step is closed and in its place, but states no answer,
	// more than one (answers that are not closed count), or one that the
	// template does not allow.
	StatusBadAnswer
	// StatusSurplus: a step with a name that the template does not know.
	StatusSurplus
)

var statusNames = [...]string{"ok", "missing", "duplicate", "out of order", "truncated", "unparsable answer", "surplus"}

// String returns the status in words, as metrics and reports print it.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "status " + strconv.Itoa(int(s))
}

// MarshalText writes the status as String does; an unknown status is an error.
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

// Span is one reasoning step as it was found in a completion.
//
// Byte ranges index the completion's text; token ranges index its sampled
// tokens. A token that straddles a boundary belongs to the step in which its
// first byte lies; a token without bytes belongs to the step that holds the
// byte after it, and to none at the end of the text. Tags that open and close
// a step belong to it.
type Span struct {
	// Name is the step's name in the template; of a Surplus step it is the
	// name as written, escapes included, if the syntax writes names.
	Name string `json:"name"`
	// Index is the step's index in the template; -1 if Surplus.
	Index int `json:"index"`
	// Bytes and Tokens span the whole step, tags included. Both are empty
	// for a missing step and then give the place where it should have begun:
	// where the next later step that is present begins, else the end of the
	// text.
	Bytes  Range `json:"bytes"`
	Tokens Range `json:"tokens"`
	// Answer is the text inside the last answer mark that is closed, trimmed
	// of Unicode's white space; "" if there is none.
	Answer string `json:"answer"`
	// AnswerBytes spans Answer, and AnswerTokens every token that holds a
	// byte of it. Both are empty if Answer is: where that mark closes, or at
	// the step's end if no mark is closed.
	AnswerBytes  Range `json:"answer_bytes"`
	AnswerTokens Range `json:"answer_tokens"`
	// Status is the first of these that is true: Missing, or Duplicate or
	// Surplus (in Trace.Extra only), Truncated, OutOfOrder, BadAnswer, OK.
	Status Status `json:"status"`
}

// Trace is a completion taken apart. Parsing never fails: whatever the
// completion holds, Steps has exactly one entry per step of the template.
type Trace struct {
	// Text is the completion: the concatenated bytes of its tokens.
	Text string `json:"text,omitempty"`
	// Tokens is the number of the completion's tokens; 0 if the parser was
	// not told where they end.
	Tokens int `json:"tokens"`
	// Steps holds one entry per template step, in template order.
	Steps []Span `json:"steps"`
	// Extra holds duplicates and surplus steps in the order of the text.
	Extra []Span `json:"extra,omitempty"`
	// Final is the index in Steps of the step whose answer is the
	// completion's final answer: the template's last.
	Final int `json:"final"`
	// Problems lists in words all that is wrong, with byte offsets, in the
	// order of the text; empty for a well-formed completion.
	Problems []string `json:"problems,omitempty"`
}

// Malformed reports whether the completion deviates from the template
// anywhere. Text outside steps is no deviation.
func (t *Trace) Malformed() bool { return len(t.Problems) > 0 }

// FinalAnswer returns the final step's answer, and whether that step is OK.
// The answer of a step that is present but broken is returned with false.
func (t *Trace) FinalAnswer() (string, bool) {
	if t.Final < 0 || t.Final >= len(t.Steps) {
		return "", false
	}
	s := &t.Steps[t.Final]
	return s.Answer, s.Status == StatusOK
}

// Parser takes a completion apart, in time linear in its length. It may be
// used concurrently.
type Parser interface {
	// Parse returns the trace of text. ends[i] is the byte offset in text at
	// which token i ends: never descending (a special token has no bytes),
	// the last equal to len(text). With nil ends, all token ranges are
	// {0, 0}. Parse panics if ends does not fit the text: that is a
	// programmer's mistake, never a model's.
	Parse(text string, ends []int) Trace
}
