package sample

// truncate returns the tokens that top-k and then top-p keep, and the sum of
// their weights. Top-p is a share of what top-k has left, as in vLLM and in
// Hugging Face transformers. Of equally likely tokens the lower ids are kept.
func (s *Sampler) truncate(topK int, topP, total float64) ([]int32, float64) {
	r := &s.ranking
	r.reset(s.weights)
	k := len(s.weights)
	if 0 < topK && topK < k {
		k, total = topK, 0
		for i := range k {
			total += s.weights[r.at(i)]
		}
	}
	if 0 < topP && topP < 1 {
		var mass float64
		for i := range k {
			mass += s.weights[r.at(i)]
			if mass >= topP*total {
				return r.best(i + 1), mass
			}
		}
	}
	return r.best(k), total
}

// ranking sorts tokens by weight as far as is asked for: few of a large
// vocabulary are, so a heap does.
type ranking struct {
	weights []float64
	// ids[:heap] is a heap, once there is need of one; ids[heap:] are the
	// best, in ascending order.
	ids    []int32
	heap   int
	heaped bool
}

func (r *ranking) reset(weights []float64) {
	r.weights, r.heap, r.heaped = weights, len(weights), false
	r.ids = r.ids[:0]
	for i := range weights {
		r.ids = append(r.ids, int32(i))
	}
}

// best returns the n best tokens; all of them, unsorted, cost nothing.
func (r *ranking) best(n int) []int32 {
	if n < len(r.ids) {
		r.at(n - 1)
	}
	return r.ids[len(r.ids)-n:]
}

// at returns the token of rank i, 0 being the most likely.
func (r *ranking) at(i int) int32 {
	if !r.heaped {
		r.heaped = true
		for k := r.heap/2 - 1; k >= 0; k-- {
			r.sink(k)
		}
	}
	for len(r.ids)-r.heap <= i {
		r.heap--
		r.ids[0], r.ids[r.heap] = r.ids[r.heap], r.ids[0]
		r.sink(0)
	}
	return r.ids[len(r.ids)-1-i]
}

// sink moves the token at k of the heap to its place.
func (r *ranking) sink(k int) {
	for {
		c := 2*k + 1
		if c >= r.heap {
			return
		}
		if c+1 < r.heap && r.above(r.ids[c+1], r.ids[c]) {
			c++
		}
		if !r.above(r.ids[c], r.ids[k]) {
			return
		}
		r.ids[k], r.ids[c] = r.ids[c], r.ids[k]
		k = c
	}
}

func (r *ranking) above(a, b int32) bool {
	return r.weights[a] > r.weights[b] || r.weights[a] == r.weights[b] && a < b
}
