package sample

import "math"

// truncate returns the tokens that top-k and then top-p keep of weights whose
// sum is total, in ascending order; ok is false if that is all of them. Top-p
// is a share of what top-k has left, as in vLLM and in Hugging Face
// transformers. Of equally likely tokens the lower ids are kept.
func (s *Sampler) truncate(topK int, topP, total float64) (ids []int32, ok bool) {
	n := len(s.weights)
	byCount, byMass := 0 < topK && topK < n, 0 < topP && topP < 1
	switch {
	case byCount:
		ids = s.cut(s.atLeast(s.amongBest(topK)), float64(topK), false)
	case byMass:
		// All tokens below this together are less than what top-p drops.
		ids = s.atLeast((1 - topP) * total / float64(n))
	default:
		return nil, false
	}
	if byMass {
		if byCount {
			total = 0
			for _, id := range ids {
				total += s.weights[id]
			}
		}
		ids = s.cut(ids, topP*total, true)
	}
	return s.notBelow(ids[len(ids)-1]), true
}

// amongBest returns a weight that at least n tokens have, and usually not many
// more: the least of the largest weights of n parts of the vocabulary.
func (s *Sampler) amongBest(n int) float64 {
	least := math.Inf(1)
	for i := range n {
		part := s.weights[i*len(s.weights)/n : (i+1)*len(s.weights)/n]
		most := part[0]
		for _, w := range part {
			if w > most {
				most = w
			}
		}
		least = min(least, most)
	}
	return least
}

// atLeast returns the tokens whose weight is not below least.
func (s *Sampler) atLeast(least float64) []int32 {
	s.ids = s.ids[:0]
	for i, w := range s.weights {
		if w >= least {
			s.ids = append(s.ids, int32(i))
		}
	}
	return s.ids
}

// notBelow returns a token and those above it.
func (s *Sampler) notBelow(token int32) []int32 {
	s.ids = s.ids[:0]
	for i := range s.weights {
		if id := int32(i); id == token || s.above(id, token) {
			s.ids = append(s.ids, id)
		}
	}
	return s.ids
}

// cut returns the most likely of ids, the least likely of them last: as few as
// have together the measure want, which is their number or, byMass, the sum of
// their weights. It is Hoare's selection (FIND, Algorithm 65, 1961).
func (s *Sampler) cut(ids []int32, want float64, byMass bool) []int32 {
	kept, end := 0, len(ids) // the first are kept, those from end on are not
	for have := 0.0; kept < end && have < want; {
		pivot := kept + s.partition(ids[kept:end])
		above, own := float64(pivot-kept), 1.0
		if byMass {
			above, own = 0, s.weights[ids[pivot]]
			for _, id := range ids[kept:pivot] {
				above += s.weights[id]
			}
		}
		if have+above >= want {
			end = pivot
		} else {
			have += above + own
			kept = pivot + 1
		}
	}
	return ids[:kept]
}

// partition moves the tokens that are more likely than one of them to the
// front, and returns that one's place, after them.
func (s *Sampler) partition(ids []int32) int {
	last := len(ids) - 1
	// The middle one of three.
	a, b := 0, last/2
	if s.above(ids[b], ids[a]) {
		a, b = b, a
	}
	switch {
	case s.above(ids[last], ids[a]):
		ids[a], ids[last] = ids[last], ids[a]
	case s.above(ids[b], ids[last]):
		ids[b], ids[last] = ids[last], ids[b]
	}
	pivot, n := ids[last], 0
	for i, id := range ids[:last] {
		if s.above(id, pivot) {
			ids[i], ids[n] = ids[n], id
			n++
		}
	}
	ids[n], ids[last] = pivot, ids[n]
	return n
}

// above reports whether token a is more likely than b, or as likely and lower.
func (s *Sampler) above(a, b int32) bool {
	return s.weights[a] > s.weights[b] || s.weights[a] == s.weights[b] && a < b
}
