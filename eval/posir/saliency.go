package posir

import (
	"math"
	"slices"
)

// SaliencyPoints is the number of points that a document's saliency is resampled to.
const SaliencyPoints = 100

// Saliency is how strongly the parts of a document move its score, on average over
// documents: what the benchmark makes of gradients.
type Saliency struct {
	Documents int
	Mean, Std [SaliencyPoints]float64 // Std divides by the number of documents
}

// Deciles returns the mean over each tenth of the points.
func (s *Saliency) Deciles() (d [10]float64) {
	for i, v := range s.Mean {
		d[i*len(d)/len(s.Mean)] += v / float64(len(s.Mean)/len(d))
	}
	return d
}

// SummarizeSaliency averages the norms of the gradients at each token of documents,
// special tokens left out (lm/local.Embedder.Saliency gives them). The norms of a
// document are clipped at their 99th percentile and divided by it, then resampled to
// 100 points. It skips documents without a norm above 0.
func SummarizeSaliency(documents [][]float64) *Saliency {
	s := &Saliency{}
	var squares [SaliencyPoints]float64
	for _, norms := range documents {
		sorted := slices.Sorted(slices.Values(norms))
		top := 0.
		if len(sorted) > 0 {
			top = interpolate(sorted, .99*float64(len(sorted)-1))
		}
		if !(top > 0) {
			continue
		}
		s.Documents++
		for i := range s.Mean {
			clipped := make([]float64, 0, 2)
			at := float64(i) * float64(len(norms)-1) / (SaliencyPoints - 1)
			for j := int(at); j < min(int(at)+2, len(norms)); j++ {
				clipped = append(clipped, min(norms[j], top)/top)
			}
			v := interpolate(clipped, at-math.Floor(at))
			s.Mean[i] += v
			squares[i] += v * v
		}
	}
	n := float64(s.Documents)
	for i := range s.Mean {
		s.Mean[i] /= n
		s.Std[i] = math.Sqrt(max(squares[i]/n-s.Mean[i]*s.Mean[i], 0))
	}
	return s
}

// interpolate returns the value at a position in a list, linear between neighbours.
func interpolate(x []float64, at float64) float64 {
	i := int(at)
	if i+1 >= len(x) {
		return x[len(x)-1]
	}
	return x[i] + (at-float64(i))*(x[i+1]-x[i])
}
