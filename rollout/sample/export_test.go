package sample

// Kept exports truncate to its test.
func Kept(weights []float64, topK int, topP float64) []int32 {
	s := Sampler{weights: weights}
	var total float64
	for _, w := range weights {
		total += w
	}
	ids, ok := s.truncate(topK, topP, total)
	if !ok {
		ids = s.atLeast(0)
	}
	return ids
}
