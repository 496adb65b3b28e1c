package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/stepwise-rl/stepwise/internal/rss"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
)

// Options choose what Run measures.
type Options struct {
	// Sections are some of Sections; none means all.
	Sections []string
	// Models are some of Models; none means all.
	Models []string
	// Quick measures small things for seconds instead of minutes: the
	// machinery works, but the figures mean little.
	Quick bool
	// Backend is what tensor.Open takes; empty means cpu.
	Backend string
	// CPU are the options of the backend cpu.
	CPU cpu.Options
	// Progress, if not nil, gets a line for every figure once it is measured.
	Progress func(line string)
}

// Sections are the parts of a report.
var Sections = []string{"gemm", "train", "sample", "shared", "cores"}

// Models are the decoders that are trained and sampled from, named after their
// size; 0.2M is examples/relevance's. Without a choice, the first four are measured:
// the others are for devices with tens of GB. With 8B there is no training.
var Models = []string{"0.2M", "1M", "10M", "100M", "1B", "8B"}

// usualModels are those that are measured without a choice.
const usualModels = 4

// Run measures the engine on this machine, which should have nothing else to
// do. It returns an error for a section or model that does not exist, and ctx's
// when that is done: with it comes the report of what was measured until then.
func Run(ctx context.Context, o Options) (*Report, error) {
	r, err := newRunner(ctx, o)
	if err != nil {
		return nil, err
	}
	b := r.b
	defer tensor.Close(b)
	r.memory = b.Alloc(map[bool]int{false: 64 << 20, true: 4 << 20}[o.Quick])
	defer b.Free(r.memory)
	b.Fill(r.memory, 1)
	r.limits()
	for _, s := range []struct {
		name string
		run  func() error
	}{{"gemm", r.gemm}, {"train", r.train}, {"sample", r.sample}, {"shared", r.shared}, {"cores", r.cores}} {
		if len(o.Sections) > 0 && !slices.Contains(o.Sections, s.name) {
			continue
		}
		if err = s.run(); err != nil {
			err = fmt.Errorf("bench: %s: %w", s.name, err)
			break
		}
	}
	r.report.PeakRSSBytes = rss.Peak()
	return r.report, err
}

// runner measures one section after the other.
type runner struct {
	ctx      context.Context
	quick    bool
	models   []string
	progress func(string)
	open     func() (tensor.Backend, error)
	b        tensor.Backend
	memory   tensor.Buffer // larger than the caches
	report   *Report
}

func newRunner(ctx context.Context, o Options) (*runner, error) {
	for _, s := range o.Sections {
		if !slices.Contains(Sections, s) {
			return nil, fmt.Errorf("bench: no section %q, only %q", s, Sections)
		}
	}
	for _, m := range o.Models {
		if !slices.Contains(Models, m) {
			return nil, fmt.Errorf("bench: no model %q, only %q", m, Models)
		}
	}
	open := func() (tensor.Backend, error) { return tensor.Open(o.Backend) }
	if o.Backend == "" || o.Backend == "cpu" {
		open = func() (tensor.Backend, error) { return cpu.New(o.CPU) }
	} else if o.CPU != (cpu.Options{}) {
		return nil, fmt.Errorf("bench: options of the backend cpu with backend %s", o.Backend)
	}
	b, err := open()
	if err != nil {
		return nil, err
	}
	return &runner{ctx: ctx, quick: o.Quick, models: o.Models, progress: o.Progress, open: open, b: b, report: &Report{Machine: machine(b)}}, nil
}

// measured reports a figure.
func (r *runner) measured(format string, args ...any) {
	if r.progress != nil {
		r.progress(fmt.Sprintf(format, args...))
	}
}

// limited is implemented by backends that measure what the machine could do.
type limited interface {
	PeakGFLOPS() float64
	ReadGBps(x tensor.Buffer) float64
}

// limits measures what the machine could do at best, and keeps the highest. They are
// 0 of a backend that does not say.
func (r *runner) limits() (peak, memory float64) {
	l, ok := r.b.(limited)
	if !ok {
		return 0, 0
	}
	peak = l.PeakGFLOPS()
	l.ReadGBps(r.memory)
	memory = l.ReadGBps(r.memory)
	r.report.FMAPeakGFLOPS = max(r.report.FMAPeakGFLOPS, peak)
	r.report.MemoryGBps = max(r.report.MemoryGBps, memory)
	return peak, memory
}

// best is the result of rounds in which the limits are measured too.
type best struct {
	seconds      float64 // of the fastest round
	allocated    int64   // bytes on Go's heap, of the round that took least
	peak, memory float64
}

// enough is how long rounds go on at most, once each f had one.
const enough = 20 * time.Second

// rounds calls every f once to warm up and then in turn with the limits, count
// times each, and until all together have run for the given time; what is slow
// gets fewer rounds, though never less than one. It returns the best of each.
func (r *runner) rounds(count int, atLeast time.Duration, fs ...func() error) ([]best, error) {
	if r.quick {
		count, atLeast = 1, 0
	}
	for _, f := range fs {
		if err := f(); err != nil {
			return nil, err
		}
	}
	res := make([]best, len(fs))
	var total time.Duration
	for i := 0; i == 0 || total < enough && (i < count || total < atLeast); i++ {
		for k, f := range fs {
			if err := r.ctx.Err(); err != nil {
				return nil, err
			}
			x, err := r.round(f)
			if err != nil {
				return nil, err
			}
			total += time.Duration(x.seconds * float64(time.Second))
			if i == 0 {
				res[k] = x
			}
			res[k].add(x)
		}
	}
	return res, nil
}

// round measures the limits and f once.
func (r *runner) round(f func() error) (best, error) {
	var x best
	x.peak, x.memory = r.limits()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := r.b.Sync(); err != nil {
		return x, err
	}
	start := time.Now()
	err := f()
	x.seconds = time.Since(start).Seconds()
	runtime.ReadMemStats(&after)
	x.allocated = int64(after.TotalAlloc - before.TotalAlloc)
	return x, err
}

// add takes the better of each figure.
func (b *best) add(x best) {
	b.seconds, b.allocated = min(b.seconds, x.seconds), min(b.allocated, x.allocated)
	b.peak, b.memory = max(b.peak, x.peak), max(b.memory, x.memory)
}

// A shape is a decoder with a name.
type shape struct {
	name string
	model.Config
}

// shapes are the decoders that are measured.
func (r *runner) shapes() []shape {
	if r.quick {
		return []shape{{"tiny", model.Config{Vocab: 128, Dim: 32, Layers: 2, Heads: 2, KVHeads: 1, FF: 64, MaxSeq: 1024, TieEmbeddings: true}}}
	}
	all := []shape{
		{"0.2M", model.Config{Vocab: 1000, Dim: 64, Layers: 3, Heads: 4, KVHeads: 4, FF: 176, MaxSeq: 1024, QKNorm: true, TieEmbeddings: true}},
		{"1M", model.Config{Vocab: 1024, Dim: 128, Layers: 4, Heads: 4, KVHeads: 2, FF: 384, MaxSeq: 1024, TieEmbeddings: true}},
		{"10M", model.Config{Vocab: 4096, Dim: 320, Layers: 8, Heads: 5, KVHeads: 5, FF: 864, MaxSeq: 1024, TieEmbeddings: true}},
		{"100M", model.Config{Vocab: 8192, Dim: 768, Layers: 12, Heads: 12, KVHeads: 4, FF: 2304, MaxSeq: 1024, TieEmbeddings: true}},
		// The shapes of Llama 3.2 1B and Llama 3 8B.
		{"1B", model.Config{Vocab: 128256, Dim: 2048, Layers: 16, Heads: 32, KVHeads: 8, FF: 8192, MaxSeq: 8192, TieEmbeddings: true}},
		{"8B", model.Config{Vocab: 128256, Dim: 4096, Layers: 32, Heads: 32, KVHeads: 8, FF: 14336, MaxSeq: 8192}},
	}
	if len(r.models) == 0 {
		return all[:usualModels]
	}
	return slices.DeleteFunc(all, func(s shape) bool { return !slices.Contains(r.models, s.name) })
}

// eachShape calls f for the decoders, each with a backend of its own, whose
// memory goes back to the system before the next.
func (r *runner) eachShape(f func(b tensor.Backend, s shape) error) error {
	for _, s := range r.shapes() {
		b, err := r.open()
		if err == nil {
			err = errors.Join(f(b, s), tensor.Close(b))
		}
		if err != nil {
			return err
		}
		debug.FreeOSMemory()
	}
	return nil
}

// parameters counts the elements of d's parameters.
func parameters(d *model.Decoder) int {
	n := 0
	for _, p := range d.Params() {
		n += p.Len()
	}
	return n
}
