package cpu

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Options configures a backend. The zero value is the default: the best
// instruction set of the machine and as many workers as GOMAXPROCS.
type Options struct {
	// ISA forces an instruction set. Results differ between instruction sets
	// in the last bits, so a run that must give the same bits on several
	// machines names one that all of them have.
	ISA ISA
	// Workers bounds the goroutines of one operation; 0 means GOMAXPROCS at
	// the time of the call. Results do not depend on it.
	Workers int
}

// Backend computes on the CPU. It implements tensor.Backend; every operation
// has finished when its call returns. Its goroutines end by themselves when no
// operation comes for a fraction of a millisecond, so there is nothing to close.
type Backend struct {
	isa      ISA
	kern     *kernels
	workers  int
	crew     crew
	heap     heap
	angles   angles
	families families
	decoding decoding
	products []product
	parts    []part
}

var _ tensor.Backend = (*Backend)(nil)

func init() {
	tensor.Register("cpu", func() (tensor.Backend, error) { return New(Options{}) })
}

// New returns a backend. It returns an error if the machine lacks the
// instruction set that o asks for.
func New(o Options) (*Backend, error) {
	if o.Workers < 0 {
		return nil, fmt.Errorf("cpu: Workers is %d, want at least 0", o.Workers)
	}
	isa := o.ISA
	if isa == ISAAuto {
		available := Available()
		isa = available[len(available)-1]
	}
	kern := kernelsFor(isa)
	if kern == nil {
		return nil, fmt.Errorf("cpu: this machine cannot run %v kernels, only %v", isa, Available())
	}
	b := &Backend{isa: isa, kern: kern, workers: o.Workers}
	b.crew.left = make(chan struct{}, 1)
	return b, nil
}

// Name returns "cpu".
func (b *Backend) Name() string { return "cpu" }

// ISA returns the instruction set in use; it is never Auto.
func (b *Backend) ISA() ISA { return b.isa }

// Sync returns nil: nothing is pending, and nothing can fail.
func (b *Backend) Sync() error { return nil }
