package reference

import "github.com/stepwise-rl/stepwise/lm/tensor"

func init() {
	tensor.Register("reference", func() (tensor.Backend, error) { return New(), nil })
}

// Element is the type of the elements that a Backend stores.
type Element interface{ float32 | float64 }

// Backend implements tensor.Backend on slices of E. Make one with New or
// New64.
type Backend[E Element] struct {
	name string // not zero-sized: a backend is known by its address
}

var (
	_ tensor.Backend = (*Backend[float32])(nil)
	_ tensor.Backend = (*Backend[float64])(nil)
)

// New returns a backend that stores float32.
func New() *Backend[float32] { return &Backend[float32]{name: "reference"} }

// New64 returns a backend that stores float64, named "reference64" (not
// registered). Its Write and Read convert; Write64 and Read64 do not.
func New64() *Backend[float64] { return &Backend[float64]{name: "reference64"} }

// Name returns "reference" or "reference64".
func (b *Backend[E]) Name() string { return b.name }
