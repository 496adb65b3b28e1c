package cpu

import "github.com/stepwise-rl/stepwise/lm/tensor"

// A family with one key head is a task of attention. Where that is too much for one
// worker, such as a single long sequence and a model with fewer key heads than the
// machine has cores, the workers share its queries. Every sum is added in the order of
// the single task, so that the bits are the same.

// spreadRows is the most queries of a task, and the fewest keys of one that adds up
// their gradients: a multiple of blockQ.
const spreadRows = 4 * blockQ

// spread holds the large families, each with every key head.
type spread struct {
	segments []attender // with packed keys, one after the other
	chunks   []queries  // in the order in which single tasks go over them
	longest  int        // the most weights of a chunk
	tasks    []queries
}

// queries are rows [start, end) of a head, which belong to a segment or to a chunk.
// Rows of keys are of a key head.
type queries struct{ of, head, start, end int }

// cut appends q in tasks of size rows.
func (f *spread) cut(q queries, size int) {
	for end := q.end; q.start < end; q.start = q.end {
		q.end = min(q.start+size, end)
		f.tasks = append(f.tasks, q)
	}
}

// spread prepares the large families. pack packs a segment, and chunk says how many of
// its queries make a chunk.
func (b *Backend) spread(a *tensor.Attention, pack func(t *attender), chunk func(t *attender) int) *spread {
	f := &b.spreading
	f.segments, f.chunks, f.longest = f.segments[:0], f.chunks[:0], 0
	shared, group := b.crew.shared.reset(), a.Heads/a.KVHeads
	for i := range len(b.families.large) * a.KVHeads {
		t := attender{a: a, kern: b.kern, s: shared, kvHead: i % a.KVHeads, together: b}
		for j := b.families.large[i/a.KVHeads]; j >= 0; j = b.families.next[j] {
			t.keys = keysOf(a, int(j))
			own := t.keys.own
			if own.Start == own.End {
				continue
			}
			pack(&t)
			size := chunk(&t)
			f.longest = max(f.longest, size*t.stride())
			for head := t.kvHead * group; head < (t.kvHead+1)*group; head++ {
				for start := own.Start; start < own.End; start += size {
					f.chunks = append(f.chunks, queries{len(f.segments), head, start, min(start+size, own.End)})
				}
			}
			f.segments = append(f.segments, t)
		}
	}
	return f
}

// with calls do with the attender of a chunk's segment in a worker's memory.
func (f *spread) with(s *scratch, chunk queries, do func(t *attender)) {
	t := &s.attender
	*t = f.segments[chunk.of]
	t.s = s
	do(t)
	*t = attender{}
}

// cost is the work of a forward pass over some chunks.
func (f *spread) cost(chunks []queries) int {
	scores := 0
	for _, q := range chunks {
		scores += (q.end - q.start) * f.segments[q.of].keys.seen(q.end-1)
	}
	return scores * (2*f.segments[0].a.HeadDim + expCost)
}

// spreadForward is forward for the large families.
func (b *Backend) spreadForward(o *operands, a *tensor.Attention) {
	if len(b.families.large) == 0 {
		return
	}
	f := b.spread(a, func(t *attender) { t.packForward(o) }, func(*attender) int { return spreadRows })
	b.run(f.cost(f.chunks), len(f.chunks), func(s *scratch, i int) {
		q := f.chunks[i]
		f.with(s, q, func(t *attender) { t.forwardRows(o, q.head, q.start, q.end) })
	})
	clear(f.segments)
}

// spreadBackward is backward for the large families. Some chunks at a time leave their
// weights in shared memory; then runs of keys collect their gradients from them, chunk
// after chunk.
func (b *Backend) spreadBackward(o *operands, a *tensor.Attention) {
	if len(b.families.large) == 0 {
		return
	}
	f := b.spread(a, func(t *attender) { t.packBackward(o) }, (*attender).chunk)
	atOnce := min(2*b.maxWorkers(), len(f.chunks))
	mem := b.crew.shared.take(2 * atOnce * f.longest)
	// weights are p and ds of the i-th chunk of those at once.
	weights := func(t *attender, i int) (p, ds view) {
		stride := t.stride()
		return view{mem[2*i*f.longest:], stride, 1}, view{mem[(2*i+1)*f.longest:], stride, 1}
	}
	for from := 0; from < len(f.chunks); from += atOnce {
		chunks := f.chunks[from:min(from+atOnce, len(f.chunks))]
		cost := f.cost(chunks)
		f.tasks = f.tasks[:0]
		for i, q := range chunks {
			f.cut(queries{i, q.head, q.start, q.end}, spreadRows)
		}
		b.run(2*cost, len(f.tasks), func(s *scratch, i int) {
			q := f.tasks[i]
			f.with(s, chunks[q.of], func(t *attender) {
				p, ds := weights(t, q.of)
				at := q.start - chunks[q.of].start
				t.backwardRows(o, q.head, q.start, q.end, p.at(at, 0), ds.at(at, 0))
			})
		})
		f.cutKeys(chunks, b.maxWorkers())
		b.run(cost, len(f.tasks), func(s *scratch, i int) {
			keys := f.tasks[i]
			within := tensor.Range{Start: keys.start, End: keys.end}
			for k, q := range chunks {
				if t := &f.segments[q.of]; t.kvHead != keys.head || !t.keys.sees(q.end-1, within) {
					continue
				}
				f.with(s, q, func(t *attender) {
					p, ds := weights(t, k)
					t.backwardKeys(o, q.head, q.start, q.end, p, ds, within)
				})
			}
		})
	}
	clear(f.segments)
}

// cutKeys makes tasks of the keys that some chunks see: a prefix that comes before
// them, and then those of each segment. Each is cut in the given number of parts.
func (f *spread) cutKeys(chunks []queries, parts int) {
	f.tasks = f.tasks[:0]
	cut := func(kvHead, start, end int) {
		f.cut(queries{head: kvHead, start: start, end: end}, max(spreadRows, roundUp((end-start+parts-1)/parts, blockQ)))
	}
	first := &f.segments[chunks[0].of]
	cut(first.kvHead, first.keys.prefix.Start, first.keys.prefix.End)
	end := 0 // of the keys of the segment at hand
	for i, q := range chunks {
		t := &f.segments[q.of]
		end = max(end, t.keys.own.Start+t.keys.seen(q.end-1)-t.keys.before())
		if i+1 == len(chunks) || chunks[i+1].of != q.of {
			cut(t.kvHead, t.keys.own.Start, end)
			end = 0
		}
	}
}

// sees reports whether query row i sees any of some rows.
func (k *keys) sees(i int, rows tensor.Range) bool {
	end := k.own.Start + k.seen(i) - k.before()
	return rows.Start < end && rows.End > k.own.Start || rows.Start < k.prefix.End && rows.End > k.prefix.Start
}
