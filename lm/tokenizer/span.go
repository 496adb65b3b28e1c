package tokenizer

import "sort"

// Span is a part of a text, from byte Start up to but not including byte End.
type Span struct{ Start, End int }

// Overlapping returns which tokens stand for bytes of a part of the text, as a
// range of indices of spans, which are [Tokenizer.EncodeSpans]'s. It is empty
// if none does.
func Overlapping(spans []Span, part Span) Span {
	first := sort.Search(len(spans), func(i int) bool { return spans[i].End > part.Start })
	if part.Start >= part.End {
		return Span{first, first}
	}
	n := sort.Search(len(spans)-first, func(i int) bool { return spans[first+i].Start >= part.End })
	return Span{first, first + n}
}
