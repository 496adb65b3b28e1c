package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Candidates are K different tokens that may follow each of some rows, with their
// log-probs and that of all other tokens together, the rest: K+1 outcomes whose
// probabilities sum to 1. IDs is [rows×K]; the other slices are [rows×(K+1)], and
// the rest is the last of each row. If K is the whole vocabulary, the rest's
// log-prob is -Inf.
type Candidates struct {
	K   int
	IDs []int32
	// Among, if not 0, is how many ids TopK chooses from, the first ones: those after
	// pad the head and are no tokens. They are in the rest.
	Among int
	// LogP receives the log-probs, in nats.
	LogP []float64
	// Grad is the gradient of a loss with respect to LogP, which Backward reads.
	Grad []float64
}

// NewCandidates returns room for k candidates after each of n rows.
func NewCandidates(n, k int) *Candidates {
	return &Candidates{K: k, IDs: make([]int32, n*k), LogP: make([]float64, n*(k+1)), Grad: make([]float64, n*(k+1))}
}

// check returns an error that names the first invalid candidate of n rows. It panics
// if a slice is of the wrong length; Grad may be nil without a Backward.
func (c *Candidates) check(n, vocab int, given, backward bool) error {
	if c.Among < 0 || c.Among > vocab {
		return fmt.Errorf("model: candidates among %d ids, want at most the %d of the vocabulary", c.Among, vocab)
	}
	if most := cmp.Or(c.Among, vocab); c.K < 1 || c.K > most {
		return fmt.Errorf("model: %d candidates, want 1 to the %d tokens of the vocabulary", c.K, most)
	}
	if len(c.IDs) != n*c.K || len(c.LogP) != n*(c.K+1) || backward && len(c.Grad) != len(c.LogP) {
		panic(fmt.Sprintf("model: %d rows of %d candidates, but %d ids and room for %d log-probs and %d gradients", n, c.K, len(c.IDs), len(c.LogP), len(c.Grad)))
	}
	if !given {
		return nil
	}
	seen := make([]int, vocab) // 1 + the last row that had the id
	for i, id := range c.IDs {
		row := i / c.K
		switch {
		case id < 0 || int(id) >= vocab:
			return fmt.Errorf("model: candidate %d of target %d is token id %d, want 0 to %d", i%c.K, row, id, vocab-1)
		case seen[id] == row+1:
			return fmt.Errorf("model: token id %d is a candidate of target %d twice", id, row)
		}
		seen[id] = row + 1
	}
	return nil
}

// farBelow is added to the logits of candidates, which leaves the distribution of
// the rest: their probability becomes 0, and nothing infinite.
const farBelow = -1e20

// aside is what the head keeps of candidates between its passes. Their logits are
// read first and then put far below all others, so that the same operations that
// compute log-probs and gradients over the vocabulary do so over the rest. That
// needs no subtraction of probabilities, which would leave nothing of a small rest.
type aside struct {
	*Candidates
	elements []int32       // of each candidate's logit in its chunk
	z        tensor.Buffer // [rows×K]: the logits
	below    tensor.Buffer // farBelow, for a chunk
	spare    tensor.Buffer // log-probs that nobody reads, for a chunk
	stats    tensor.Buffer // [rows×3]: of the rest, as tensor.Backend.LogProb has them
	read     []float32     // stats of the whole distribution, stats of the rest, z
}

// perRow is how many elements of a row of logits backwardCandidates adds to; 0
// without candidates.
func (a *aside) perRow() int {
	if a.Candidates == nil {
		return 0
	}
	return a.K + 2
}

// setCandidates prepares a forward pass over m rows; c may be nil.
func (l *head) setCandidates(p *pass, m int, c *Candidates) {
	if l.aside.Candidates = c; c == nil {
		return
	}
	a, rows := &l.aside, min(l.chunk, m)
	a.elements = slices.Grow(a.elements[:0], m*c.K)[:m*c.K]
	a.z, a.stats = p.Arena.Take(m*c.K), p.Arena.Take(3*m)
	a.below, a.spare = p.Arena.Take(rows*c.K), p.Arena.Take(rows)
	p.Backend.Fill(a.below, farBelow)
}

// forwardCandidates reads the candidates' logits of a chunk, puts them aside and
// computes the rest.
func (l *head) forwardCandidates(p *pass, logits tensor.Buffer, ids []int32, from, to int) {
	a, vocab := &l.aside, l.Out.out()
	for i := from * a.K; i < to*a.K; i++ {
		a.elements[i] = int32((i/a.K-from)*vocab) + a.IDs[i]
	}
	p.Backend.Gather(part(p, a.z, from, to, a.K), logits, a.elements[from*a.K:to*a.K], 1)
	l.putAside(p, logits, from, to)
	if a.K < vocab {
		p.Backend.LogProb(part(p, a.spare, 0, to-from, 1), nil, part(p, a.stats, from, to, 3), logits, ids, vocab, l.invTemp)
	}
}

// putAside puts the candidates' logits of a chunk far below the others.
func (l *head) putAside(p *pass, logits tensor.Buffer, from, to int) {
	a := &l.aside
	p.Backend.ScatterAdd(logits, part(p, a.below, 0, to-from, a.K), a.elements[from*a.K:to*a.K], 1)
}

// readCandidates fills in the log-probs after a forward pass over m rows.
func (l *head) readCandidates(p *pass, m int) error {
	a := &l.aside
	a.read = slices.Grow(a.read[:0], m*(6+a.K))[:m*(6+a.K)]
	stats, rest, z := a.read[:3*m], a.read[3*m:6*m], a.read[6*m:]
	for _, r := range []struct {
		dst []float32
		src tensor.Buffer
	}{{stats, l.stats}, {rest, a.stats}, {z, a.z}} {
		if a.K == l.Out.out() && r.src == a.stats {
			continue // there is no rest
		}
		if err := p.Backend.Read(r.dst, r.src); err != nil {
			return err
		}
	}
	invTemp := float64(l.invTemp)
	for i := range m {
		top, log := float64(stats[3*i]), float64(stats[3*i+1])
		out := a.LogP[i*(a.K+1):][:a.K+1]
		for k := range a.K {
			out[k] = min(invTemp*(float64(z[i*a.K+k])-top)-log, 0)
		}
		out[a.K] = math.Inf(-1)
		if a.K < l.Out.out() {
			out[a.K] = min(invTemp*(float64(rest[3*i])-top)+float64(rest[3*i+1])-log, 0)
		}
	}
	return nil
}

// smallestRest bounds the quotient of the rest's gradient by its probability, which
// a float32 could not hold: below it, what moves the rest's own tokens is lost.
const smallestRest = 1e-30

// backwardCandidates makes of the gradients of log-probs, entropies and candidates,
// with respect to the logits z of a row, what the backward pass needs. With p the
// distribution, g_k and g_r the gradients of candidates and rest, g that of the
// target, S = g + Σg_k + g_r, and times the inverse temperature,
//
//	candidate k    g_k − S·p_k
//	other j        (g_r/p_r − S)·p_j
//	target         g more
//
// LogProbGrad computes the second with the candidates put aside: d [rows] is its
// dlogp. Its target is the first candidate, whose own gradient add takes back: add
// [rows×(K+2)] is added to the logits of elements.
func (l *head) backwardCandidates(dlogp, dentropy []float32) (d, add []float32, elements []int32) {
	a, vocab, m := &l.aside, l.Out.out(), len(dlogp)
	d, add, elements = make([]float32, m), make([]float32, 0, m*(a.K+2)), make([]int32, 0, m*(a.K+2))
	invTemp := float64(l.invTemp)
	for i := range m {
		logp, grad := a.LogP[i*(a.K+1):][:a.K+1], a.Grad[i*(a.K+1):][:a.K+1]
		sum := float64(dlogp[i])
		for _, g := range grad {
			sum += g
		}
		of := sum
		if g := grad[a.K]; g != 0 {
			of -= g / max(math.Exp(logp[a.K]), smallestRest)
		}
		d[i] = float32(of)
		at := a.elements[i*a.K:][:a.K]
		add, elements = append(add, -(d[i]*l.invTemp)), append(elements, at[0])
		for k, e := range at {
			p := math.Exp(logp[k])
			g := grad[k] - p*sum
			if dentropy != nil {
				g -= float64(dentropy[i]) * p * (logp[k] + float64(a.read[3*i+2]))
			}
			add, elements = append(add, float32(invTemp*g)), append(elements, e)
		}
		add, elements = append(add, dlogp[i]*l.invTemp), append(elements, int32(i%l.chunk*vocab)+l.ids[i])
	}
	return d, add, elements
}

// TopK computes the candidates c after rows of x: the most likely ids, in falling
// order, with their log-probs.
func (l *head) TopK(p *pass, x tensor.Buffer, rows []int32, invTemp float32, c *Candidates) (err error) {
	vocab, m := l.Out.out(), len(rows)
	l.rows, l.ids, l.invTemp = rows, nil, invTemp
	l.stats = p.Arena.Take(3 * m)
	l.setCandidates(p, m, c)
	l.gather(p, x, rows)
	unread := make([]int32, min(l.chunk, m)) // targets whose log-probs nobody reads
	ids := p.Arena.Take(len(unread) * c.K)
	l.top = slices.Grow(l.top[:0], ids.Len())[:ids.Len()]
	l.chunks(m, func(from, to int) {
		if err != nil {
			return
		}
		logits := l.project(p, from, to)
		p.Backend.LogProb(part(p, l.aside.spare, 0, to-from, 1), nil, part(p, l.stats, from, to, 3), logits, unread[:to-from], vocab, invTemp)
		ids, read := part(p, ids, 0, to-from, c.K), l.top[:(to-from)*c.K]
		tensor.TopK(p.Backend, ids, logits, to-from, vocab, cmp.Or(c.Among, vocab), c.K)
		if err = p.Backend.Read(read, ids); err != nil {
			return
		}
		for i, id := range read {
			if id < 0 {
				err = errNotFinite
				return
			}
			c.IDs[from*c.K+i] = int32(id)
		}
		l.forwardCandidates(p, logits, unread[:to-from], from, to)
	})
	if err != nil {
		return err
	}
	if err := l.readCandidates(p, m); err != nil {
		return err
	}
	if slices.ContainsFunc(c.LogP, math.IsNaN) {
		return errNotFinite
	}
	return nil
}

var errNotFinite = errors.New("model: the logits are not finite, so that no tokens are the most likely ones")
