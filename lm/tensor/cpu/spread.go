package cpu

import "github.com/stepwise-rl/stepwise/lm/tensor"

// A family with one key head is a task of attention. Where that is too much for one
// worker, such as a single long sequence and a model with fewer key heads than the
// machine has cores, all workers share the family's queries. Every sum is added in the
// order of the single task, so that the bits are the same.

// spreadRows is the most queries of a task of the forward pass, and the fewest keys of
// one that adds up their gradients: a multiple of blockQ.
const spreadRows = 4 * blockQ

// spread is a family with one key head.
type spread struct {
	segments []attender     // with packed keys, one after the other
	queries  []queries      // in the order in which one task goes over them
	rows     []tensor.Range // of keys
	longest  int            // the most weights of some queries
}

// queries are rows [start, end) of a segment's head.
type queries struct{ segment, head, start, end int }

// spread prepares a family: pack packs a segment, and chunk says how many of its
// queries make a task.
func (b *Backend) spread(a *tensor.Attention, root, kvHead int, pack func(t *attender), chunk func(t *attender) int) *spread {
	f := &b.spreading
	f.segments, f.queries, f.longest = f.segments[:0], f.queries[:0], 0
	t := attender{a: a, kern: b.kern, s: b.crew.shared.reset(), kvHead: kvHead, together: b}
	group := a.Heads / a.KVHeads
	for j := int32(root); j >= 0; j = b.families.next[j] {
		t.keys = keysOf(a, int(j))
		own := t.keys.own
		if own.Start == own.End {
			continue
		}
		pack(&t)
		size := chunk(&t)
		f.longest = max(f.longest, size*t.stride())
		for head := kvHead * group; head < (kvHead+1)*group; head++ {
			for start := own.Start; start < own.End; start += size {
				f.queries = append(f.queries, queries{len(f.segments), head, start, min(start+size, own.End)})
			}
		}
		f.segments = append(f.segments, t)
	}
	return f
}

// with calls do with the attender of some queries in a worker's memory.
func (f *spread) with(s *scratch, q queries, do func(t *attender)) {
	t := &s.attender
	*t = f.segments[q.segment]
	t.s = s
	do(t)
	*t = attender{}
}

// cost is the work of a forward pass over some queries.
func (f *spread) cost(all []queries) int {
	scores := 0
	for _, q := range all {
		scores += (q.end - q.start) * f.segments[q.segment].keys.seen(q.end-1)
	}
	return scores * (2*f.segments[0].a.HeadDim + expCost)
}

// spreadForward is forward for a family.
func (b *Backend) spreadForward(o *operands, a *tensor.Attention, root, kvHead int) {
	f := b.spread(a, root, kvHead, func(t *attender) { t.packForward(o) }, func(*attender) int { return spreadRows })
	b.run(f.cost(f.queries), len(f.queries), func(s *scratch, i int) {
		q := f.queries[i]
		f.with(s, q, func(t *attender) { t.forwardRows(o, q.head, q.start, q.end) })
	})
	clear(f.segments)
}

// spreadBackward is backward for a family. Some chunks of queries at a time leave their
// weights in shared memory; then each run of key rows collects its gradients from them,
// chunk after chunk.
func (b *Backend) spreadBackward(o *operands, a *tensor.Attention, root, kvHead int) {
	f := b.spread(a, root, kvHead, func(t *attender) { t.packBackward(o) }, (*attender).chunk)
	atOnce := min(2*b.maxWorkers(), len(f.queries))
	mem := b.crew.shared.take(2 * atOnce * f.longest)
	// weights are p and ds of the i-th chunk of those at once.
	weights := func(t *attender, i int) (p, ds view) {
		stride := t.stride()
		return view{mem[2*i*f.longest:], stride, 1}, view{mem[(2*i+1)*f.longest:], stride, 1}
	}
	for from := 0; from < len(f.queries); from += atOnce {
		chunks := f.queries[from:min(from+atOnce, len(f.queries))]
		cost := f.cost(chunks)
		b.run(2*cost, len(chunks), func(s *scratch, i int) {
			q := chunks[i]
			f.with(s, q, func(t *attender) {
				p, ds := weights(t, i)
				t.backwardRows(o, q.head, q.start, q.end, p, ds)
			})
		})
		f.keyRows(chunks, b.maxWorkers())
		b.run(cost, len(f.rows), func(s *scratch, i int) {
			for k, q := range chunks {
				f.with(s, q, func(t *attender) {
					if t.keys.sees(q.end-1, f.rows[i]) {
						p, ds := weights(t, k)
						t.backwardKeys(o, q.head, q.start, q.end, p, ds, f.rows[i])
					}
				})
			}
		})
	}
	clear(f.segments)
}

// keyRows lists the keys that some queries see, in about the given number of parts.
func (f *spread) keyRows(chunks []queries, parts int) {
	f.rows = f.rows[:0]
	seen := 0
	for i, q := range chunks {
		k := f.segments[q.segment].keys
		n := k.seen(q.end-1) - k.before()
		if i == 0 {
			f.cutRows(k.prefix.Start, k.prefix.End, parts)
		} else if q.segment == chunks[i-1].segment {
			seen = max(seen, n)
			continue
		} else {
			last := f.segments[chunks[i-1].segment].keys.own
			f.cutRows(last.Start, last.Start+seen, parts)
		}
		seen = n
	}
	last := f.segments[chunks[len(chunks)-1].segment].keys.own
	f.cutRows(last.Start, last.Start+seen, parts)
}

func (f *spread) cutRows(from, to, parts int) {
	size := max(spreadRows, roundUp((to-from+parts-1)/parts, blockQ))
	for ; from < to; from += size {
		f.rows = append(f.rows, tensor.Range{Start: from, End: min(from+size, to)})
	}
}

// sees reports whether query row i sees any of some rows.
func (k *keys) sees(i int, rows tensor.Range) bool {
	end := k.own.Start + k.seen(i) - k.before()
	return rows.Start < end && rows.End > k.own.Start || rows.Start < k.prefix.End && rows.End > k.prefix.Start
}
