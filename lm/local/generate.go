package local

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// generation is one call of Generate.
//
// A group is admitted when no sequence waits and there is room for its prompt
// and for one completion. Both are taken together, so some sequence can always
// run, and all that waits, waits for rows that will be given back.
type generation struct {
	*Engine
	ctx  context.Context
	reqs []rollout.Request
	emit func(rollout.Completion) error
	rows cacheRows

	next    int         // the first request that is not admitted yet
	filling []*group    // groups whose prompts are being computed
	waiting []*sequence // sequences that have no rows yet
	running []*sequence
}

// group is a request that has been admitted.
type group struct {
	request int
	prompt  tensor.Range // the prompt's cache rows
	filled  int          // how many of these are computed
	first   tensor.Range // the rows of the first completion that needs any
	open    int          // completions that have not ended
}

// sequence is a completion that is being sampled.
type sequence struct {
	*sample.Sequence
	group *group
	// ranges are the cache rows that the next token attends to: the prompt's,
	// and those of own that are filled.
	ranges [2]tensor.Range
	own    tensor.Range // the sequence's cache rows
}

func (g *generation) run() error {
	defer func() { clear(g.draws[:cap(g.draws)]) }()
	for {
		if err := g.ctx.Err(); err != nil {
			return err
		}
		g.admit()
		if len(g.running)+len(g.filling) == 0 {
			if len(g.waiting) > 0 || g.next < len(g.reqs) {
				panic("local: nothing runs, but not all is done: cache rows have been lost")
			}
			return nil
		}
		filled := g.plan()
		g.draws = g.draws[:0]
		for i, s := range g.running {
			g.draws = append(g.draws, draw{sequence: s, row: i})
		}
		for i, gr := range filled {
			for n := range g.reqs[gr.request].N {
				s := &sequence{Sequence: sample.NewSequence(gr.request, &g.reqs[gr.request], n), group: gr}
				g.draws = append(g.draws, draw{sequence: s, row: len(g.running) + i})
			}
		}
		if err := g.compute(); err != nil {
			_ = g.decoder.Backend().Sync() // clears the error for the next call
			g.unpack()
			g.free() // memory may have been short for either
			return fmt.Errorf("local: %w", err)
		}
		if err := g.advance(); err != nil {
			return err
		}
	}
}

// compute runs the pass and draws the next tokens: on the backend if it can, or else
// here.
func (g *generation) compute() error {
	if _, ok := g.decoder.Backend().(tensor.Sampler); ok {
		return g.drawOnBackend()
	}
	n := len(g.pass.LogitRows) * g.shape.Vocab
	g.logits = slices.Grow(g.logits[:0], n)[:n]
	if err := g.decoder.Append(g.cache, &g.pass, g.logits); err != nil {
		return err
	}
	g.drawAll()
	return nil
}

// ownRows returns how many rows a completion of a request needs. Its last token
// does not go through the model.
func ownRows(r *rollout.Request) int { return r.Params.MaxTokens - 1 }

// admit gives rows to waiting sequences and then to groups, in order, as long as
// there is room.
func (g *generation) admit() {
	n := 0
	for _, s := range g.waiting {
		if len(g.running)+len(g.filling) == g.config.Sequences {
			break
		}
		own, ok := g.rows.take(ownRows(&g.reqs[s.group.request]))
		if !ok {
			break
		}
		g.launch(s, own)
		n++
	}
	g.waiting = slices.Delete(g.waiting, 0, n)
	for len(g.waiting) == 0 && g.next < len(g.reqs) && len(g.running)+len(g.filling) < g.config.Sequences {
		r := &g.reqs[g.next]
		prompt, ok := g.rows.take(len(r.Prompt))
		if !ok {
			return
		}
		first, ok := g.rows.take(ownRows(r))
		if !ok {
			g.rows.give(prompt)
			return
		}
		g.filling = append(g.filling, &group{request: g.next, prompt: prompt, first: first, open: r.N})
		g.next++
	}
}

// launch lets a sequence run, placed next to those of its group: the backend
// reads a prompt once for all sequences in a row that share it.
func (g *generation) launch(s *sequence, own tensor.Range) {
	s.own = own
	s.ranges = [2]tensor.Range{s.group.prompt, {Start: own.Start, End: own.Start}}
	at := len(g.running)
	for i, r := range slices.Backward(g.running) {
		if r.group == s.group {
			at = i + 1
			break
		}
	}
	g.running = slices.Insert(g.running, at, s)
}

// plan lays out the next pass: the last token of every running sequence, then
// rows of prompts. It returns the groups whose prompts the pass completes; the
// last rows of logits are theirs.
func (g *generation) plan() (filled []*group) {
	p := &g.pass
	p.Tokens, p.Pos, p.Slots, p.Ranges, p.LogitRows = p.Tokens[:0], p.Pos[:0], p.Slots[:0], p.Ranges[:0], p.LogitRows[:0]
	for _, s := range g.running {
		tokens := s.Tokens()
		n := len(tokens) - 1
		slot := s.own.Start + n
		s.ranges[1].End = slot + 1
		p.LogitRows = append(p.LogitRows, int32(len(p.Tokens)))
		p.Tokens = append(p.Tokens, tokens[n])
		p.Pos = append(p.Pos, int32(len(g.reqs[s.group.request].Prompt)+n))
		p.Slots = append(p.Slots, int32(slot))
		p.Ranges = append(p.Ranges, s.ranges[:])
	}
	g.ranges = slices.Grow(g.ranges[:0], g.config.PassRows) // p.Ranges points into it
	for _, gr := range g.filling {
		prompt := g.reqs[gr.request].Prompt
		for gr.filled < len(prompt) && len(p.Tokens) < g.config.PassRows {
			slot := gr.prompt.Start + gr.filled
			g.ranges = append(g.ranges, tensor.Range{Start: gr.prompt.Start, End: slot + 1})
			p.Tokens = append(p.Tokens, prompt[gr.filled])
			p.Pos = append(p.Pos, int32(gr.filled))
			p.Slots = append(p.Slots, int32(slot))
			p.Ranges = append(p.Ranges, g.ranges[len(g.ranges)-1:])
			gr.filled++
		}
		if gr.filled == len(prompt) {
			p.LogitRows = append(p.LogitRows, int32(len(p.Tokens)-1))
			filled = append(filled, gr)
		}
	}
	g.filling = slices.Delete(g.filling, 0, len(filled))
	return filled
}

// advance settles what was drawn: first for the running sequences, of which
// those that end leave, then for the groups that begin.
func (g *generation) advance() error {
	running, first := g.running, g.draws[len(g.running):]
	g.running = running[:0]
	for i, s := range running {
		done, err := g.settle(&g.draws[i])
		if err != nil {
			return err
		}
		if done {
			g.rows.give(s.own)
		} else {
			g.running = append(g.running, s)
		}
	}
	clear(running[len(g.running):])
	for len(first) > 0 {
		n := g.reqs[first[0].sequence.group.request].N
		if err := g.start(first[:n]); err != nil {
			return err
		}
		first = first[n:]
	}
	return nil
}

// start settles the first tokens of all completions of a group.
func (g *generation) start(draws []draw) error {
	gr := draws[0].sequence.group
	taken := false // gr.first
	for i := range draws {
		s := draws[i].sequence
		done, err := g.settle(&draws[i])
		switch {
		case err != nil:
			return err
		case done:
		case !taken:
			taken = true
			g.launch(s, gr.first)
		default:
			g.waiting = append(g.waiting, s)
		}
	}
	if !taken {
		g.rows.give(gr.first)
	}
	return nil
}

// draw is a token to draw, and the error if that failed.
type draw struct {
	sequence *sequence
	row      int // of the pass's logits
	err      error
}

// drawOnBackend runs the pass and lets the backend draw from its logits, which are
// not read.
func (g *generation) drawOnBackend() error {
	d := &g.device
	d.Rows, d.Temperature, d.TopK, d.TopP, d.Uniform = d.Rows[:0], d.Temperature[:0], d.TopK[:0], d.TopP[:0], d.Uniform[:0]
	for i := range g.draws {
		s := g.draws[i].sequence
		p := &g.reqs[s.group.request].Params
		u := float32(0)
		if p.Temperature > 0 {
			u = min(float32(s.Uniform()), math.Nextafter32(1, 0))
		}
		d.Rows, d.Uniform = append(d.Rows, int32(g.draws[i].row)), append(d.Uniform, u)
		d.Temperature = append(d.Temperature, within(p.Temperature, math.SmallestNonzeroFloat32))
		// The most likely token has more than this share of any vocabulary.
		d.TopK, d.TopP = append(d.TopK, int32(min(p.TopK, g.shape.Vocab))), append(d.TopP, within(p.TopP, 0x1p-32))
	}
	g.drawn = slices.Grow(g.drawn[:0], 3*len(d.Rows))[:3*len(d.Rows)]
	if err := g.decoder.AppendDraw(g.cache, &g.pass, d, g.drawn); err != nil {
		return err
	}
	if len(g.samplers) == 0 {
		g.samplers = append(g.samplers, sample.NewSampler(g.vocab, g.config.EOS...))
	}
	sampler := g.samplers[0]
	sampler.Version = g.version
	for i := range g.draws {
		s := g.draws[i].sequence
		if id := int32(g.drawn[3*i]); id >= 0 {
			sampler.Accept(s.Sequence, id, float64(g.drawn[3*i+1]), float64(g.drawn[3*i+2]))
		} else {
			g.draws[i].err = fmt.Errorf("token %d: the logits hold NaN or +Inf, or nothing above -Inf", len(s.Tokens()))
		}
	}
	return nil
}

// within is v as a float32 from least on, but neither infinite nor, unless v is, 0.
func within(v, least float64) float32 {
	if v == 0 {
		return 0
	}
	return float32(min(max(v, least), math.MaxFloat32))
}

// drawGrain is the number of logits that are worth another goroutine: some
// microseconds of work.
const drawGrain = 1 << 13

// drawAll draws the next token of every sequence in e.draws. Each has its own
// random stream, so it makes no difference which goroutine draws.
func (e *Engine) drawAll() {
	if len(e.draws) == 0 {
		return
	}
	workers := max(1, min(runtime.GOMAXPROCS(0), len(e.draws), len(e.draws)*e.shape.Vocab/drawGrain))
	for len(e.samplers) < workers {
		e.samplers = append(e.samplers, sample.NewSampler(e.vocab, e.config.EOS...))
	}
	var next atomic.Int64
	work := func(s *sample.Sampler) {
		s.Version = e.version
		for i := next.Add(1) - 1; i < int64(len(e.draws)); i = next.Add(1) - 1 {
			d := &e.draws[i]
			d.err = s.Next(d.sequence.Sequence, e.logits[d.row*e.shape.Vocab:][:e.shape.Vocab])
		}
	}
	var others sync.WaitGroup
	for _, s := range e.samplers[1:workers] {
		others.Go(func() { work(s) })
	}
	if workers > 1 {
		// Processors that have just worked for the backend pick up a goroutine
		// that has yielded, this one, sooner than those that were just started.
		runtime.Gosched()
	}
	work(e.samplers[0])
	others.Wait()
}

// settle passes a drawn token to OnToken, and emits the completion if it is
// done.
func (g *generation) settle(d *draw) (done bool, err error) {
	if err := g.ctx.Err(); err != nil {
		return false, err
	}
	s := d.sequence
	if d.err != nil {
		s.Fail(fmt.Errorf("local: %w", d.err))
	} else if g.config.OnToken != nil {
		tokens := s.Tokens()
		if err := g.config.OnToken(s.group.request, s.Index(), tokens[len(tokens)-1]); err != nil {
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
