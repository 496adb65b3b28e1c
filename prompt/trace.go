package prompt

import "strconv"

// Range is a half-open interval [Start, End) of bytes or of tokens.
type Range struct{ Start, End int }

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
	// OK: the step is present once, in its place, closed, with a valid answer.
	OK Status = iota
	// Missing: the step never begins. It has no bytes and no tokens; its
	// empty ranges lie where it should have begun.
	Missing
	// Duplicate: the step occurs again after its first occurrence.
	Duplicate
	// OutOfOrder: the step begins before one that the template puts earlier.
	OutOfOrder
	// Truncated: the text ends before the step is closed.
	Truncated
	// BadAnswer: the step is closed, but states no answer, more than one, or
	// one that the template does not allow.
	BadAnswer
	// Surplus: a step with a name that the template does not know.
	Surplus
)

var statusNames = [...]string{"ok", "missing", "duplicate", "out of order", "truncated", "unparsable answer", "surplus"}

// String returns the status in words, as metrics and reports print it.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "status " + strconv.Itoa(int(s))
}

// Span is one reasoning step as it was found in a completion.
//
// Byte ranges index the completion's text; token ranges index its sampled
// tokens. A token that straddles a boundary belongs to the step in which its
// first byte lies. Tags that open and close a step belong to it.
type Span struct {
	Name  string // the step's name in the template (or as written, if Surplus)
	Index int    // its index in the template; -1 if Surplus
	// Bytes and Tokens span the whole step, tags included. Both are empty
	// for a missing step and then give the place where it should have begun.
	Bytes, Tokens Range
	// Answer is the text inside the answer mark, trimmed of white space;
	// "" if there is none. AnswerBytes and AnswerTokens span that text.
	Answer                    string
	AnswerBytes, AnswerTokens Range
	Status                    Status
}

// Trace is a completion taken apart. Parsing never fails: whatever the
// completion holds, Steps has exactly one entry per step of the template.
type Trace struct {
	// Text is the completion: the concatenated bytes of its tokens.
	Text string
	// Steps holds one entry per template step, in template order.
	Steps []Span
	// Extra holds duplicates and surplus steps in the order of the text.
	Extra []Span
	// Final is the index in Steps of the step whose answer is the
	// completion's final answer: the template's last.
	Final int
	// Problems lists in words all that is wrong, with byte offsets, in the
	// order of the text; empty for a well-formed completion.
	Problems []string
}

// Malformed reports whether any step deviates from the template.
func (t *Trace) Malformed() bool { return len(t.Problems) > 0 }

// FinalAnswer returns the final step's answer, and whether that step is OK.
// The answer of a step that is present but broken is returned with false.
func (t *Trace) FinalAnswer() (string, bool) {
	if t.Final < 0 || t.Final >= len(t.Steps) {
		return "", false
	}
	s := &t.Steps[t.Final]
	return s.Answer, s.Status == OK
}

// Parser takes a completion apart.
type Parser interface {
	// Parse returns the trace of text. ends[i] is the byte offset in text at
	// which token i ends: ascending, the last equal to len(text). With nil
	// ends, all token ranges are empty. Parse panics if ends does not fit
	// the text: that is a programmer's mistake, never a model's.
	Parse(text string, ends []int) Trace
}
