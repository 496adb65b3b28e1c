package cpu

import (
	"errors"
	"fmt"
	"time"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Options configures a backend. The zero value means the best instruction set of
// the machine and as many workers as GOMAXPROCS.
type Options struct {
	// ISA is the instruction set to use. Results differ between instruction
	// sets in the last bits, so a run that must give the same bits on several
	// machines names one that all of them have.
	ISA ISA
	// Precision is that of matrix products: tensor.PrecisionFloat32, or
	// tensor.PrecisionBFloat16 if the processor multiplies bfloat16s. ISAGo has both on
	// every machine, to compare with, but it is never chosen for the second.
	Precision tensor.Precision
	// Workers is the most goroutines that work on one operation; 0 means
	// GOMAXPROCS at the time of the call. Results do not depend on it.
	Workers int
}

// Validate returns an error if Workers is negative, or if the machine lacks the
// instruction set or what the precision needs.
func (o Options) Validate() error {
	if o.Workers < 0 {
		return fmt.Errorf("cpu: Workers is %d, want at least 0", o.Workers)
	}
	if o.ISA != ISAAuto && kernelsFor(o.ISA) == nil {
		return fmt.Errorf("cpu: this machine cannot run %v kernels, only %v", o.ISA, Available())
	}
	switch isa := o.isa(); o.Precision {
	case tensor.PrecisionFloat32:
	case tensor.PrecisionBFloat16:
		if kernelsFor(isa).bf16 == nil || isa == ISAGo && o.ISA == ISAAuto {
			return fmt.Errorf("cpu: precision bf16 needs a processor with %s; this one runs %v kernels without it", bf16Needs, isa)
		}
	default:
		return fmt.Errorf("cpu: Precision is %v, want float32 or bf16", o.Precision)
	}
	return nil
}

// isa is the instruction set, the machine's best for ISAAuto.
func (o Options) isa() ISA {
	if o.ISA != ISAAuto {
		return o.ISA
	}
	available := Available()
	return available[len(available)-1]
}

// Backend computes on the CPU. It implements tensor.Backend and, of the optional
// interfaces, tensor.Packer, LayerNormer, GELUer, GeGLUer, Cacher and Precise. Every operation
// is complete when its call returns. The goroutines end when no operation comes for a
// fraction of a millisecond, so there is nothing to close.
type Backend struct {
	isa       ISA
	kern      *kernels
	round     *bf16Kernels // nil in tensor.PrecisionFloat32
	workers   int
	crew      crew
	heap      heap
	angles    [2]angles
	families  families
	spreading spread
	decoding  decoding
	products  []product
	parts     []part
}

var (
	_ tensor.Backend     = (*Backend)(nil)
	_ tensor.Packer      = (*Backend)(nil)
	_ tensor.LayerNormer = (*Backend)(nil)
	_ tensor.GELUer      = (*Backend)(nil)
	_ tensor.GeGLUer     = (*Backend)(nil)
	_ tensor.Cacher      = (*Backend)(nil)
	_ tensor.Precise     = (*Backend)(nil)
)

func init() {
	tensor.Register("cpu", func(o tensor.Options) (tensor.Backend, error) {
		for name := range o.Settings {
			return nil, fmt.Errorf("unknown setting %q; precision=bf16 is all that it takes", name)
		}
		if o.Device != 0 || o.MemoryLimit != 0 {
			return nil, errors.New("it has one device and the host's memory, so it takes no options but the precision")
		}
		return New(Options{Precision: o.Precision})
	})
}

// New returns a backend. The error is o.Validate's.
func New(o Options) (*Backend, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b := &Backend{isa: o.isa(), kern: kernelsFor(o.isa()), workers: o.Workers}
	if o.Precision == tensor.PrecisionBFloat16 {
		b.round = b.kern.bf16
	}
	b.crew.left = make(chan struct{}, 1)
	return b, nil
}

// Name returns "cpu", whatever the instruction set.
func (b *Backend) Name() string { return "cpu" }

// ISA returns the instruction set in use, never ISAAuto.
func (b *Backend) ISA() ISA { return b.isa }

// Precision is what the backend was opened with.
func (b *Backend) Precision() tensor.Precision {
	if b.round != nil {
		return tensor.PrecisionBFloat16
	}
	return tensor.PrecisionFloat32
}

// Sync returns nil: nothing is pending, and nothing can fail.
func (b *Backend) Sync() error { return nil }

// ISA names an instruction set that kernels are written for.
type ISA int

const (
	// ISAAuto is the best instruction set of the machine.
	ISAAuto ISA = iota
	// ISAGo is plain Go, which runs everywhere.
	ISAGo
	// ISAAVX2 is AVX2 with FMA3, on amd64.
	ISAAVX2
	// ISAAVX512 is AVX-512 F, BW, DQ and VL, on amd64.
	ISAAVX512
	// ISANEON is NEON (Advanced SIMD), which every arm64 processor has.
	ISANEON
)

// String returns the name of the instruction set.
func (i ISA) String() string {
	switch i {
	case ISAAuto:
		return "auto"
	case ISAGo:
		return "go"
	case ISAAVX2:
		return "avx2"
	case ISAAVX512:
		return "avx512"
	case ISANEON:
		return "neon"
	}
	return fmt.Sprintf("ISA(%d)", int(i))
}

// Available lists the instruction sets that this machine runs, slowest first.
func Available() []ISA {
	var list []ISA
	for _, isa := range []ISA{ISAGo, ISAAVX2, ISAAVX512, ISANEON} {
		if kernelsFor(isa) != nil {
			list = append(list, isa)
		}
	}
	return list
}

// PeakGFLOPS measures the most that the machine can reach with the instruction
// set and the precision in use: multiply-adds that stay in registers, on all workers, in 10⁹
// floating-point operations per second. Kernels are judged by the share of it
// that they reach. With [ISAGo] it is the speed of a plain loop. It takes about
// 30 ms, in loops of about a millisecond, so that waking a worker counts for
// little.
func (b *Backend) PeakGFLOPS() float64 {
	const n = 1 << 17
	peak, flops := b.kern.peak, b.kern.peakFlops
	if b.round != nil {
		peak, flops = b.round.peak, b.round.peakFlops
	}
	best := 0.0
	for start := time.Now(); time.Since(start) < 30*time.Millisecond; {
		tasks := b.maxWorkers()
		t := time.Now()
		b.run(tasks*grain, tasks, func(*scratch, int) { peak(n) })
		best = max(best, float64(tasks*n*flops)/float64(time.Since(t).Nanoseconds()))
	}
	return best
}

// ReadGBps measures how fast all workers together read x once, in 10⁹ bytes per
// second. For a buffer larger than the caches that is the bandwidth of memory,
// which bounds products with few rows.
func (b *Backend) ReadGBps(x tensor.Buffer) float64 {
	v := b.data(x)
	tasks := (len(v) + readPart - 1) / readPart
	sums := b.crew.shared.reset().take(tasks)
	t := time.Now()
	b.run(tasks*grain, tasks, func(_ *scratch, i int) {
		sums[i] = b.kern.total(v[i*readPart : min((i+1)*readPart, len(v))])
	})
	return float64(4*len(v)) / float64(time.Since(t).Nanoseconds())
}

// readPart is the number of elements that a task of ReadGBps reads: 2 MiB.
const readPart = 1 << 19
