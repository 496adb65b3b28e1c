package tokenizer

import "sort"

// Range is a part of a text, from byte Start up to but not including byte End.
type Range struct{ Start, End int }

// Overlapping returns which tokens stand for bytes of a part of the text, as a
// range of indices of ranges, which are [Tokenizer.EncodeRanges]'s. It is empty
// if none does.
func Overlapping(ranges []Range, part Range) Range {
	first := sort.Search(len(ranges), func(i int) bool { return ranges[i].End > part.Start })
	if part.Start >= part.End {
		return Range{first, first}
	}
	n := sort.Search(len(ranges)-first, func(i int) bool { return ranges[first+i].Start >= part.End })
	return Range{first, first + n}
}
