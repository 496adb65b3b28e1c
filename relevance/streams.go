package relevance

import "math/rand/v2"

// The run's random streams. Every use has its own, so that a change to one
// stage leaves the others' numbers alone.
const (
	tokenizerStream = iota + 1
	warmupStream
	initStream
	studentStream
	probeStream
	beliefStream
	bootstrapStream
	scoreStream
	auditStream
	documentStream
)

// streamOf returns the stream of item i of one use.
func streamOf(use, seed, i uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed<<8|use, i))
}

// Training examples are taken from one indexed stream, in parts that do not
// overlap: the warm-up's, then the reinforcement runs' (both see the same
// ones), then the probe's, those for validation, and the student's, of which there
// may be more in another run with the same policies. The student's begin with a pass over
// the rows of a source with an end: as many as there are rows are then each of them.
func (p *pipeline) firstRL() int    { return p.c.Warmup.Steps * p.c.Warmup.Batch }
func (p *pipeline) firstProbe() int { return p.firstRL() + p.c.Reinforce.Steps*p.c.Reinforce.Prompts }
func (p *pipeline) firstValidation() int {
	return p.firstProbe() + p.c.Warmup.ProbePrompts
}
func (p *pipeline) firstStudent() int {
	first := p.firstValidation() + p.c.Validation.Rows
	if n := p.src.Size; n > 0 {
		first = (first + n - 1) / n * n
	}
	return first
}
