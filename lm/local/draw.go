package local

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// draw is a token to be drawn, and then what came of it.
type draw struct {
	sequence *sequence
	logits   []float32
	err      error
}

// drawGrain is the number of logits that are worth another goroutine, some
// microseconds.
const drawGrain = 1 << 13

// drawAll draws the next token of every sequence in e.draws. Each has a random
// stream of its own, so who draws makes no difference.
func (e *Engine) drawAll() {
	if len(e.draws) == 0 {
		return
	}
	workers := max(1, min(runtime.GOMAXPROCS(0), len(e.draws), len(e.draws)*len(e.draws[0].logits)/drawGrain))
	for len(e.samplers) < workers {
		e.samplers = append(e.samplers, sample.NewSampler(e.vocab, e.opts.EOS...))
	}
	var next atomic.Int64
	work := func(s *sample.Sampler) {
		s.Version = e.version
		for i := next.Add(1) - 1; i < int64(len(e.draws)); i = next.Add(1) - 1 {
			d := &e.draws[i]
			d.err = s.Next(d.sequence.Sequence, d.logits)
		}
	}
	var others sync.WaitGroup
	for _, s := range e.samplers[1:workers] {
		others.Go(func() { work(s) })
	}
	if workers > 1 {
		// Processors that have just worked for the backend look for what has
		// yielded, this goroutine, sooner than for what has been started.
		runtime.Gosched()
	}
	work(e.samplers[0])
	others.Wait()
}

// settle shows what was drawn, and emits the completion if it is done.
func (g *generation) settle(d *draw) (done bool, err error) {
	if err := g.ctx.Err(); err != nil {
		return false, err
	}
	s := d.sequence
	if d.err != nil {
		s.Fail(fmt.Errorf("local: %w", d.err))
	} else if g.opts.OnToken != nil {
		tokens := s.Tokens()
		if err := g.opts.OnToken(s.group.request, s.Index(), tokens[len(tokens)-1]); err != nil {
			return false, err
		}
	}
	if !s.Done() {
		return false, nil
	}
	if s.group.open--; s.group.open == 0 {
		g.rows.give(s.group.prompt)
	}
	return true, g.emit(s.Completion())
}
