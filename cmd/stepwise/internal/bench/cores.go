package bench

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rollout"
)

// between is the name of the time in which no operation runs: the host's.
const between = "between operations"

// cores measures each operation on one core and on all, to see what keeps a machine
// with more cores from being faster. It needs two, and the backend cpu: a device has
// cores of its own.
func (r *runner) cores() error {
	if r.b.Name() != "cpu" || runtime.GOMAXPROCS(0) == 1 {
		r.measured("cores: nothing to compare with backend %s and GOMAXPROCS %d", r.b.Name(), runtime.GOMAXPROCS(0))
		return nil
	}
	r.coreLimits()
	return r.eachShape(func(b tensor.Backend, s shape) error {
		t := &timed{Backend: b, Packer: b.(tensor.Packer), Cacher: b.(tensor.Cacher)}
		return errors.Join(r.trainCores(t, s), r.sampleCores(t, s))
	})
}

// coreLimits measures what one core and all could do at best.
func (r *runner) coreLimits() {
	all := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(all)
	c := &r.report.Cores
	c.Workers = all
	for range 3 {
		for i, n := range []int{1, all} {
			runtime.GOMAXPROCS(n)
			peak, memory := r.limits()
			c.PeakGFLOPS[i] = max(c.PeakGFLOPS[i], peak)
			c.MemoryGBps[i] = max(c.MemoryGBps[i], memory)
		}
	}
}

func (r *runner) trainCores(b *timed, s shape) error {
	sequences, length := 4, 256
	if r.quick {
		sequences, length = 2, 32
	}
	if !s.trains() {
		return nil
	}
	t, err := newTrainer(b, s)
	if err != nil {
		return err
	}
	defer t.free()
	t.sequences(sequences, length)
	return r.onCores(b, s.name, "train", t.step)
}

// sampleCores samples as in reinforcement learning: completions share prompts.
func (r *runner) sampleCores(b *timed, s shape) error {
	prompts, group, prompt, tokens := 4, 8, 128, 32
	if r.quick {
		prompts, group, prompt, tokens = 2, 2, 8, 4
	}
	d, err := model.NewDecoder(b, s.Config, seed)
	if err != nil {
		return err
	}
	defer d.Free()
	d.Freeze()
	e, err := local.NewEngine(d, wordless{}, local.EngineConfig{EOS: []int32{}})
	if err != nil {
		return err
	}
	defer e.Free()
	reqs := requests(s, prompts, group, prompt, tokens)
	return r.onCores(b, s.name, "sample", func() error {
		return e.Generate(r.ctx, reqs, func(c rollout.Completion) error { return c.Err })
	})
}

// onCores calls f on one core and on all in turn, and reports the time of each
// operation on b. f does the same each time, so of each call the fastest of all rounds
// counts.
func (r *runner) onCores(b *timed, name, work string, f func() error) error {
	all := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(all)
	count, atLeast := 3, 3*time.Second
	if r.quick {
		count, atLeast = 1, 0
	}
	var least [2][]call
	begin := time.Now()
	for i := -1; i < count || time.Since(begin) < atLeast; i++ { // the first warms up
		if i > 0 && time.Since(begin) > enough {
			break
		}
		for k, n := range []int{1, all} {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			runtime.GOMAXPROCS(n)
			b.begin()
			if err := f(); err != nil {
				return err
			}
			b.since("", time.Now()) // what the host did last
			if i <= 0 {
				least[k] = slices.Clone(b.calls)
			} else if err := faster(least[k], b.calls); err != nil {
				return err
			}
		}
	}
	c := coreUse(least)
	c.Model, c.Work = name, work
	r.report.Cores.Uses = append(r.report.Cores.Uses, c)
	r.measured("cores %s %s: %.2f times as fast on %d", work, name, c.Seconds[0]/c.Seconds[1], all)
	return nil
}

// faster keeps in least the shorter time of each call.
func faster(least, calls []call) error {
	if len(least) != len(calls) {
		return fmt.Errorf("%d calls in one round and %d in another", len(least), len(calls))
	}
	for i, c := range calls {
		if c.operation != least[i].operation {
			return fmt.Errorf("call %d is %s in one round and %s in another", i, least[i].operation, c.operation)
		}
		least[i].seconds, least[i].before = min(least[i].seconds, c.seconds), min(least[i].before, c.before)
	}
	return nil
}

// coreUse adds up the calls of each operation.
func coreUse(calls [2][]call) (use CoreUse) {
	sums := make(map[string]*[2]float64)
	add := func(operation string, k int, seconds float64) {
		if sums[operation] == nil {
			sums[operation] = new([2]float64)
		}
		sums[operation][k] += seconds
		use.Seconds[k] += seconds
	}
	for k, list := range calls {
		for _, c := range list {
			add(between, k, c.before)
			if c.operation != "" {
				add(c.operation, k, c.seconds)
			}
		}
	}
	for operation, x := range sums {
		use.Operations = append(use.Operations, Operation{operation, *x})
	}
	slices.SortFunc(use.Operations, func(a, b Operation) int { return cmp.Compare(b.Seconds[0], a.Seconds[0]) })
	return use
}
