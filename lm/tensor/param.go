package tensor

// Param is a trainable tensor of a model: its values, the gradient that the
// backward passes accumulate, and what an optimiser must know about it.
type Param struct {
	// Name is unique within a model; it is the tensor's name in checkpoints.
	Name string
	// Shape holds the dimensions; the data is dense and row-major.
	Shape []int
	// Value and Grad have as many elements as Shape says. Grad is nil for a
	// frozen parameter.
	Value, Grad Buffer
	// NoDecay exempts the parameter from weight decay (norms, biases).
	NoDecay bool
}

// Len returns the number of elements that Shape describes.
func (p *Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}
