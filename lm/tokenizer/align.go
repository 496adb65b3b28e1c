package tokenizer

import "sort"

// normalizer rewrites text before it is cut into words.
type normalizer interface {
	normalize(text string) normalized
}

// normalized is a rewritten text that knows where each of its bytes comes
// from. Without stretches it is the original itself.
type normalized struct {
	text      string
	stretches []stretch // they cover text, in order
}

// stretch is a part of a normalised text and the part of the original that it
// stands for.
type stretch struct {
	end    int // in the normalised text; it starts where the one before ends
	origin Range
	exact  bool // they correspond byte by byte; else each byte stands for the whole
}

// origin returns the part of the original that bytes start to end, start <
// end, come from.
func (n *normalized) origin(start, end int) Range {
	if n.stretches == nil {
		return Range{start, end}
	}
	first, from := n.at(start)
	s := Range{Start: first.origin.Start}
	if first.exact {
		s.Start += start - from
	}
	last, from := n.at(end - 1)
	s.End = last.origin.End
	if last.exact {
		s.End = last.origin.Start + end - from
	}
	return s
}

// at returns the stretch that holds byte i, and where it starts.
func (n *normalized) at(i int) (s stretch, from int) {
	k := sort.Search(len(n.stretches), func(k int) bool { return n.stretches[k].end > i })
	if k > 0 {
		from = n.stretches[k-1].end
	}
	return n.stretches[k], from
}

// rewriter builds a normalised text.
type rewriter struct {
	out       []byte
	stretches []stretch
}

// keep appends a part of the original as it is, or with each byte replaced by
// another. Parts come in order.
func (w *rewriter) keep(text string, start int) {
	w.out = append(w.out, text...)
	end := start + len(text)
	if k := len(w.stretches) - 1; k >= 0 && w.stretches[k].exact && w.stretches[k].origin.End == start {
		w.stretches[k].end, w.stretches[k].origin.End = len(w.out), end
		return
	}
	w.stretches = append(w.stretches, stretch{len(w.out), Range{start, end}, true})
}

// replace appends what stands for a part of the original as a whole.
func (w *rewriter) replace(text string, origin Range) {
	w.out = append(w.out, text...)
	w.stretches = append(w.stretches, stretch{len(w.out), origin, false})
}

func (w *rewriter) done() normalized {
	if w.stretches == nil {
		return normalized{stretches: []stretch{}} // nothing is left: not the original
	}
	return normalized{string(w.out), w.stretches}
}
