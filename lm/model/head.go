package model

import "github.com/stepwise-rl/stepwise/lm/tensor"

// head turns hidden states into logits and log-probs over the vocabulary. It
// computes logits in chunks of rows and keeps the last chunks for the backward
// pass, which computes the others again. So [rows×vocab] is never held whole
// unless it is small.
type head struct {
	Norm *rmsNorm
	Out  *linear // [vocab×dim], without an adapter

	// chunk is the number of rows whose logits are computed at once, and slots
	// the number of chunks that are kept.
	chunk, slots int

	rows, ids []int32
	invTemp   float32
	y, logits tensor.Buffer
	stats     tensor.Buffer // [len(rows)×3]
	aside     aside
	top       []float32    // ids of a chunk's most likely tokens
	draws     tensor.Draws // of a chunk
}

// newHead returns a head whose chunks hold about as many logits as the backend
// computes at once (tensor.HeadSize), but at least 64 rows, so that reading the
// projection's weights pays off. It keeps as many as the backend says, but at least
// one chunk.
func newHead(b tensor.Backend, norm *rmsNorm, out *linear) *head {
	size, kept := tensor.HeadSize(b)
	chunk := max(64, size/out.out())
	return &head{Norm: norm, Out: out, chunk: chunk, slots: max(1, kept/(chunk*out.out()))}
}

// Forward computes the log-prob of the token ids[i] after row rows[i] of the
// hidden states x [·×dim], with logits multiplied by invTemp. If entropy is set
// it also computes the entropy of each distribution; otherwise ent is nil. Rows
// may repeat. The buffers are [len(rows)]. It keeps rows, ids and candidates until
// Backward. c, if not nil, are computed too, up to readCandidates.
func (l *head) Forward(p *pass, x tensor.Buffer, rows, ids []int32, invTemp float32, entropy bool, c *Candidates) (out tensor.Buffer) {
	l.rows, l.ids, l.invTemp = rows, ids, invTemp
	out = p.Arena.Take(resultLen(len(rows), entropy))
	l.stats = p.Arena.Take(3 * len(rows))
	logp, ent := part(p, out, 0, len(rows), 1), tensor.Buffer(nil)
	if entropy {
		ent = part(p, out, len(rows), 2*len(rows), 1)
	}
	l.setCandidates(p, len(rows), c)
	l.gather(p, x, rows)
	l.chunks(len(rows), func(from, to int) {
		logits := l.project(p, from, to)
		p.Backend.LogProb(part(p, logp, from, to, 1), part(p, ent, from, to, 1), part(p, l.stats, from, to, 3),
			logits, ids[from:to], l.Out.out(), invTemp)
		if c != nil {
			l.forwardCandidates(p, logits, ids[from:to], from, to)
		}
	})
	return out
}

// resultLen is the length of Forward's result for n rows.
func resultLen(n int, entropy bool) int {
	if entropy {
		return 2 * n
	}
	return n
}

// Backward adds to dx [·×dim] and to the parameters' gradients, from the
// gradients with respect to log-probs and entropies, and the candidates' if there
// are any; dentropy may be nil.
func (l *head) Backward(p *pass, dx tensor.Buffer, dlogp, dentropy []float32) {
	m, dim, vocab := len(l.rows), l.Out.in(), l.Out.out()
	targets, per := l.ids, l.aside.perRow()
	var add tensor.Buffer
	var elements []int32
	if per > 0 {
		var values []float32
		dlogp, values, elements = l.backwardCandidates(dlogp, dentropy)
		add = p.upload(values)
		targets = make([]int32, m)
		for i := range targets {
			targets[i] = l.aside.IDs[i*l.aside.K]
		}
	}
	dlp, dent := p.upload(dlogp), p.upload(dentropy)
	dy := p.Arena.Half(m * dim)
	last := (m - 1) / l.chunk
	for c := last; c >= 0; c-- {
		from, to := c*l.chunk, min((c+1)*l.chunk, m)
		logits := l.slot(p, from, to)
		if last-c >= l.slots { // a later chunk took its place
			logits = l.project(p, from, to)
			if per > 0 {
				l.putAside(p, logits, from, to)
			}
		}
		p.Backend.LogProbGrad(logits, part(p, dlp, from, to, 1), part(p, dent, from, to, 1),
			part(p, l.stats, from, to, 3), targets[from:to], vocab, l.invTemp)
		if per > 0 {
			p.Backend.ScatterAdd(logits, part(p, add, from, to, per), elements[from*per:to*per], 1)
		}
		// The layer remembers the input of the last project, maybe of other rows.
		l.Out.x = part(p, l.y, from, to, dim)
		l.Out.Backward(p, part(p, dy, from, to, dim), logits, to-from, 0)
	}
	dz := p.Arena.Zeros(m * dim)
	l.Norm.Backward(p, dz, dy, m)
	p.Backend.ScatterAdd(dx, dz, l.rows, dim)
}

// Logits reads the logits after the given rows of x into dst
// [len(rows)×vocab].
func (l *head) Logits(p *pass, x tensor.Buffer, rows []int32, dst []float32) (err error) {
	vocab := l.Out.out()
	l.gather(p, x, rows)
	l.chunks(len(rows), func(from, to int) {
		if err == nil {
			err = p.Backend.Read(dst[from*vocab:to*vocab], l.project(p, from, to))
		}
	})
	return err
}

// Draw draws tokens from the logits after the given rows of x: d.Rows are indices of
// rows. It returns what tensor.Sampler writes.
func (l *head) Draw(p *pass, s tensor.Sampler, x tensor.Buffer, rows []int32, d *tensor.Draws) tensor.Buffer {
	vocab, n := l.Out.out(), 0
	drawn := p.Arena.Take(3 * len(d.Rows))
	l.gather(p, x, rows)
	l.chunks(len(rows), func(from, to int) {
		logits, first := l.project(p, from, to), n
		for n < len(d.Rows) && int(d.Rows[n]) < to {
			n++
		}
		if first == n {
			return
		}
		l.draws.Rows = l.draws.Rows[:0]
		for _, r := range d.Rows[first:n] {
			l.draws.Rows = append(l.draws.Rows, r-int32(from))
		}
		l.draws.Temperature, l.draws.TopK = d.Temperature[first:n], d.TopK[first:n]
		l.draws.TopP, l.draws.Uniform = d.TopP[first:n], d.Uniform[first:n]
		s.Sample(part(p, drawn, first, n, 3), logits, vocab, &l.draws)
	})
	return drawn
}

// gather normalises the given rows of x into l.y and makes room for logits.
func (l *head) gather(p *pass, x tensor.Buffer, rows []int32) {
	m, dim := len(rows), l.Out.in()
	z := p.Arena.Take(m * dim)
	p.Backend.Gather(z, x, rows, dim)
	l.y = p.Arena.Half(m * dim)
	l.Norm.Forward(p, l.y, z, m)
	kept := l.chunk
	if p.Keep {
		kept *= l.slots
	}
	l.logits = p.Arena.Take(min(kept, m) * l.Out.out())
}

// slot is the room for the logits of the gathered rows [from, to), a chunk.
func (l *head) slot(p *pass, from, to int) tensor.Buffer {
	vocab := l.Out.out()
	at := from * vocab % l.logits.Len()
	return p.Backend.Slice(l.logits, at, at+(to-from)*vocab)
}

// project computes the logits of the gathered rows [from, to).
func (l *head) project(p *pass, from, to int) tensor.Buffer {
	logits := l.slot(p, from, to)
	l.Out.Forward(p, logits, part(p, l.y, from, to, l.Out.in()), nil, to-from)
	return logits
}

// chunks calls f for consecutive ranges of m rows.
func (l *head) chunks(m int, f func(from, to int)) {
	for from := 0; from < m; from += l.chunk {
		f(from, min(from+l.chunk, m))
	}
}

// part returns rows [from, to) of b [·×cols], and nil for nil.
func part(p *pass, b tensor.Buffer, from, to, cols int) tensor.Buffer {
	if b == nil || from == 0 && to*cols == b.Len() {
		return b
	}
	return p.Backend.Slice(b, from*cols, to*cols)
}
