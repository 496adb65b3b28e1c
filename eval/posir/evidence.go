package posir

import (
	"fmt"
	"math"
	"slices"
)

// Evidence says where in a document the answer to a query stands.
type Evidence struct {
	// Start and End bound the evidence, in characters (Unicode code points) of the
	// document. Bins go by its middle.
	Start, End int
	// Chars is the length of the document in characters, and Tokens that in tokens
	// of the benchmark's tokenizer.
	Chars, Tokens int
}

// The benchmark's bins of positions and buckets of lengths.
const (
	Bins    = 20
	Buckets = 4
)

// bucketEnds are the largest numbers of tokens of the buckets Q1 to Q3.
var bucketEnds = []int{512, 1024, 1536}

// BucketNames are the names of the length buckets.
var BucketNames = [Buckets]string{"Q1", "Q2", "Q3", "Q4"}

// binEdges are the bounds of the bins as numpy.linspace(0, 1, 21) gives them:
// products, so that edge 3 is a little above 0.15.
var binEdges = func() (edges [Bins + 1]float64) {
	step := 1 / float64(Bins)
	for i := range edges {
		edges[i] = float64(i) * step
	}
	edges[Bins] = 1
	return edges
}()

// Position returns the middle of the evidence as a part of its document, from 0 to
// 1. Evidence beyond the end counts as at the end, as in the benchmark. There is no
// position if the document is empty or the middle lies before its beginning.
func (e Evidence) Position() (p float64, ok bool) {
	middle := (float64(e.Start) + float64(e.End)) / 2
	if e.Chars <= 0 || middle < 0 {
		return math.NaN(), false
	}
	length := float64(e.Chars)
	return min(middle, length) / length, true
}

// Bucket returns the length bucket of the document, from 0 for Q1: up to 512
// tokens, up to 1024, up to 1536, and more. A document without tokens has none.
func (e Evidence) Bucket() (bucket int, ok bool) {
	if e.Tokens <= 0 {
		return 0, false
	}
	bucket, _ = slices.BinarySearch(bucketEnds, e.Tokens)
	return bucket, true
}

// Check returns an error if the evidence does not lie in a document of that length.
func (e Evidence) Check() error {
	if err := e.fault(); err != nil {
		return fmt.Errorf("posir: %w", err)
	}
	return nil
}

func (e Evidence) fault() error {
	switch {
	case e.Chars <= 0:
		return fmt.Errorf("the document has %d characters, want at least 1", e.Chars)
	case e.Tokens <= 0:
		return fmt.Errorf("the document has %d tokens, want at least 1", e.Tokens)
	case e.outside():
		return fmt.Errorf("the span [%d, %d] is not in its document of %d characters", e.Start, e.End, e.Chars)
	}
	return nil
}

func (e Evidence) outside() bool { return e.Start < 0 || e.End < e.Start || e.End > e.Chars }

// Bin returns the bin of a position from 0 to 1. Bins are open on the left and
// closed on the right, but the first has 0 too.
func Bin(position float64) int {
	i, _ := slices.BinarySearch(binEdges[:], position)
	return min(max(i-1, 0), Bins-1)
}

// BinCenter returns the position in the middle of a bin. That of the first bin is
// 0.0245, as in the benchmark: pandas lets it begin at -0.001, so that 0 is in it.
func BinCenter(bin int) float64 {
	low := binEdges[bin]
	if bin == 0 {
		low = -.001
	}
	return (low + binEdges[bin+1]) / 2
}
