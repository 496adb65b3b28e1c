package local

import (
	"context"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// generation is one call of Generate.
//
// A group is admitted when no sequence waits and there is room for its prompt
// and for one completion. Both are taken together, so there is always a sequence
// that can run: whatever else waits, waits for rows that will be given back.
type generation struct {
	*Engine
	ctx  context.Context
	reqs []rollout.Request
	emit func(rollout.Completion) error
	rows rows

	next    int         // the first request that is not admitted yet
	filling []*group    // groups whose prompts are being computed
	waiting []*sequence // sequences without rows of their own
	running []*sequence
}

// group is a request that has been admitted.
type group struct {
	request int
	prompt  tensor.Range // the prompt's cache rows
	filled  int          // how many of them are computed
	first   tensor.Range // the rows of the first completion that needs any
	open    int          // completions that have not ended
}

// sequence is a completion in the making.
type sequence struct {
	*sample.Sequence
	group *group
	// spans are the cache rows that the next token attends to: the prompt's
	// and the sequence's own, of which own are taken.
	spans [2]tensor.Range
	own   tensor.Range
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
		if err := g.decoder.Append(g.cache, &g.step, g.logits); err != nil {
			_ = g.decoder.Backend().Sync() // clears the error: the next call is not to see it
			return fmt.Errorf("local: %w", err)
		}
		g.draws = g.draws[:0]
		for i, s := range g.running {
			g.draws = append(g.draws, draw{sequence: s, logits: g.row(i)})
		}
		for i, gr := range filled {
			logits := g.row(len(g.running) + i)
			for n := range g.reqs[gr.request].N {
				s := &sequence{Sequence: sample.NewSequence(gr.request, &g.reqs[gr.request], n), group: gr}
				g.draws = append(g.draws, draw{sequence: s, logits: logits})
			}
		}
		g.drawAll()
		if err := g.advance(); err != nil {
			return err
		}
	}
}

// ownRows is how many rows a completion of a request needs: its last token
// does not go through the model.
func ownRows(r *rollout.Request) int { return r.Params.MaxTokens - 1 }

// admit gives rows to sequences and then to groups, in order, as long as there
// is room.
func (g *generation) admit() {
	n := 0
	for _, s := range g.waiting {
		if len(g.running)+len(g.filling) == g.opts.Sequences {
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
	for len(g.waiting) == 0 && g.next < len(g.reqs) && len(g.running)+len(g.filling) < g.opts.Sequences {
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

// launch lets a sequence run, beside those of its group: the backend reads
// their prompt once for all that follow each other.
func (g *generation) launch(s *sequence, own tensor.Range) {
	s.own = own
	s.spans = [2]tensor.Range{s.group.prompt, {Start: own.Start, End: own.Start}}
	at := len(g.running)
	for i, r := range slices.Backward(g.running) {
		if r.group == s.group {
			at = i + 1
			break
		}
	}
	g.running = slices.Insert(g.running, at, s)
}

// plan makes the next step: the last token of every running sequence, then
// rows of prompts. It returns the groups whose prompts it completes; theirs
// are the last rows of logits.
func (g *generation) plan() (filled []*group) {
	st := &g.step
	st.Tokens, st.Pos, st.Slots, st.Spans, st.LogitRows = st.Tokens[:0], st.Pos[:0], st.Slots[:0], st.Spans[:0], st.LogitRows[:0]
	for _, s := range g.running {
		tokens := s.Tokens()
		n := len(tokens) - 1
		slot := s.own.Start + n
		s.spans[1].End = slot + 1
		st.LogitRows = append(st.LogitRows, int32(len(st.Tokens)))
		st.Tokens = append(st.Tokens, tokens[n])
		st.Pos = append(st.Pos, int32(len(g.reqs[s.group.request].Prompt)+n))
		st.Slots = append(st.Slots, int32(slot))
		st.Spans = append(st.Spans, s.spans[:])
	}
	g.spans = slices.Grow(g.spans[:0], g.opts.StepRows) // st.Spans points into it
	for _, gr := range g.filling {
		prompt := g.reqs[gr.request].Prompt
		for gr.filled < len(prompt) && len(st.Tokens) < g.opts.StepRows {
			slot := gr.prompt.Start + gr.filled
			g.spans = append(g.spans, tensor.Range{Start: gr.prompt.Start, End: slot + 1})
			st.Tokens = append(st.Tokens, prompt[gr.filled])
			st.Pos = append(st.Pos, int32(gr.filled))
			st.Slots = append(st.Slots, int32(slot))
			st.Spans = append(st.Spans, g.spans[len(g.spans)-1:])
			gr.filled++
		}
		if gr.filled == len(prompt) {
			st.LogitRows = append(st.LogitRows, int32(len(st.Tokens)-1))
			filled = append(filled, gr)
		}
	}
	g.filling = slices.Delete(g.filling, 0, len(filled))
	n := len(st.LogitRows) * g.decoder.Config().Vocab
	g.logits = slices.Grow(g.logits[:0], n)[:n]
	return filled
}

// row returns the step's i-th row of logits.
func (g *generation) row(i int) []float32 {
	vocab := g.decoder.Config().Vocab
	return g.logits[i*vocab : (i+1)*vocab]
}

// advance settles what was drawn for the running sequences, of which those that
// end leave, and then for the groups that begin.
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
