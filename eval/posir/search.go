package posir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
)

// Embedder turns texts into vectors, whose cosine says how well a document fits a
// query. All vectors have the same length. lm/local and remote/openai have
// embedders.
type Embedder interface {
	// EmbedQueries and EmbedDocuments return one vector per text, which the
	// embedder does not use afterwards. Prefixes, such as instructions, are theirs to add.
	EmbedQueries(ctx context.Context, texts []string) ([][]float32, error)
	EmbedDocuments(ctx context.Context, texts []string) ([][]float32, error)
}

// Prefixed makes an [Embedder] of what embeds texts of one kind, such as Embed of
// lm/local.Embedder or remote/openai.Embedder.
type Prefixed struct {
	Embed func(ctx context.Context, texts []string) ([][]float32, error)
	// Query and Document are put before every query and every document, as the model's
	// card says: "query: " and "passage: " for E5.
	Query, Document string
}

// EmbedQueries implements [Embedder].
func (p Prefixed) EmbedQueries(ctx context.Context, texts []string) ([][]float32, error) {
	p.check()
	return p.Embed(ctx, prefix(p.Query, texts))
}

// EmbedDocuments implements [Embedder].
func (p Prefixed) EmbedDocuments(ctx context.Context, texts []string) ([][]float32, error) {
	p.check()
	return p.Embed(ctx, prefix(p.Document, texts))
}

func (p Prefixed) check() {
	if p.Embed == nil {
		panic("posir: Prefixed.Embed is nil")
	}
}

func prefix(with string, texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = with + t
	}
	return out
}

// Products computes dst [m×n] = a·bᵀ of a [m×k] and b [n×k], all by rows. A package
// with faster products than this one's plain Go has its own (lm/local.Products).
type Products func(dst, a, b []float32, m, n, k int) error

// SearchOptions are the settings of a search. The zero value finds 1,000 documents
// per query as the benchmark does.
type SearchOptions struct {
	// Depth is the number of documents to find per query; 0 means 1000.
	Depth int
	// Block is the number of vectors of documents that are held at a time; 0 means
	// 2048.
	Block int
	// Chunk, if not nil, cuts a document into chunks, which are embedded one by
	// one. The best of them gives the document's score. It returns at least one.
	Chunk func(text string) []string
	// Products, if not nil, computes the scores.
	Products Products
}

// Validate returns an error that names the first invalid setting.
func (o SearchOptions) Validate() error {
	switch {
	case o.Depth < 0:
		return fmt.Errorf("posir: SearchOptions.Depth is %d, want at least 0", o.Depth)
	case o.Block < 0:
		return fmt.Errorf("posir: SearchOptions.Block is %d, want at least 0", o.Block)
	}
	return nil
}

func (o SearchOptions) withDefaults() SearchOptions {
	o.Depth = cmp.Or(o.Depth, 1000)
	o.Block = cmp.Or(o.Block, 2048)
	if o.Products == nil {
		o.Products = multiply
	}
	return o
}

// Search compares every query with every document by the cosine of their vectors,
// in float32. Beside the queries' vectors and hits it holds one block of documents
// and their vectors. Equal scores are cut off by trec_eval's order, so the result depends
// on neither the block nor the order of the corpus. Errors are those of o, the
// embedder and the corpus, or name a document that is there twice or a vector that is
// not finite, zero or of another length. A nil embedder panics.
func Search(ctx context.Context, e Embedder, queries []Query, corpus Corpus, o SearchOptions) (Run, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if e == nil {
		panic("posir: Search: the embedder is nil")
	}
	if len(queries) == 0 {
		return nil, errors.New("posir: no queries")
	}
	texts := make([]string, len(queries))
	for i, q := range queries {
		texts[i] = q.Text
	}
	vectors, err := e.EmbedQueries(ctx, texts)
	if err != nil {
		return nil, fmt.Errorf("posir: queries: %w", err)
	}
	if len(vectors) != len(queries) {
		return nil, fmt.Errorf("posir: the embedder gave %d vectors for %d queries", len(vectors), len(queries))
	}
	s := &search{o: o, dim: len(vectors[0]), tops: make([]top, len(queries))}
	for i, v := range vectors {
		if s.queries, err = s.append(s.queries, v); err != nil {
			return nil, fmt.Errorf("posir: query %q: %w", queries[i].ID, err)
		}
	}
	if err := s.read(ctx, e, corpus); err != nil {
		return nil, err
	}
	return s.run(queries), nil
}

// search is the state of one search.
type search struct {
	o       SearchOptions
	dim     int
	queries []float32 // [queries×dim]
	tops    []top     // per query

	// The block: texts of documents or chunks, and the document of each.
	texts  []string
	owners []int32
	block  []float32 // [len(texts)×dim]
	scores []float32 // [queries×len(texts)]

	documents []string // IDs of all documents so far
}

// append adds a vector scaled to length 1.
func (s *search) append(dst, v []float32) ([]float32, error) {
	if len(v) != s.dim {
		return dst, fmt.Errorf("a vector of %d numbers, want %d", len(v), s.dim)
	}
	sum := 0.
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return dst, errors.New("the vector is 0 or not finite")
	}
	scale := 1 / math.Sqrt(sum)
	for _, x := range v {
		dst = append(dst, float32(float64(x)*scale))
	}
	return dst, nil
}

// read takes in the corpus, block by block.
func (s *search) read(ctx context.Context, e Embedder, corpus Corpus) error {
	seen := map[string]bool{}
	for d, err := range corpus {
		if err != nil {
			return err
		}
		if seen[d.ID] {
			return fmt.Errorf("posir: document %q is there twice", d.ID)
		}
		seen[d.ID] = true
		chunks := []string{d.Text}
		if s.o.Chunk != nil {
			if chunks = s.o.Chunk(d.Text); len(chunks) == 0 {
				return fmt.Errorf("posir: document %q: SearchOptions.Chunk gave no chunk", d.ID)
			}
		}
		owner := int32(len(s.documents))
		s.documents = append(s.documents, d.ID)
		for _, c := range chunks {
			s.texts, s.owners = append(s.texts, c), append(s.owners, owner)
			if len(s.texts) == s.o.Block {
				if err := s.flush(ctx, e); err != nil {
					return err
				}
			}
		}
	}
	return s.flush(ctx, e)
}

// flush embeds and scores the block.
func (s *search) flush(ctx context.Context, e Embedder) error {
	if len(s.texts) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	vectors, err := e.EmbedDocuments(ctx, s.texts)
	if err != nil {
		return fmt.Errorf("posir: documents from %q: %w", s.documents[s.owners[0]], err)
	}
	if len(vectors) != len(s.texts) {
		return fmt.Errorf("posir: the embedder gave %d vectors for %d documents", len(vectors), len(s.texts))
	}
	s.block = s.block[:0]
	for i, v := range vectors {
		if s.block, err = s.append(s.block, v); err != nil {
			return fmt.Errorf("posir: document %q: %w", s.documents[s.owners[i]], err)
		}
	}
	n := len(vectors)
	if need := len(s.tops) * n; cap(s.scores) < need {
		s.scores = make([]float32, need)
	}
	s.scores = s.scores[:len(s.tops)*n]
	if err := s.o.Products(s.scores, s.queries, s.block, len(s.tops), n, s.dim); err != nil {
		return err
	}
	share(len(s.tops), func(from, to int) {
		for q := from; q < to; q++ {
			s.tops[q].offer(s, s.scores[q*n:(q+1)*n])
		}
	})
	s.texts, s.owners = s.texts[:0], s.owners[:0]
	return nil
}

// run returns the hits in order.
func (s *search) run(queries []Query) Run {
	run := make(Run, len(queries))
	for i, q := range queries {
		if t := &s.tops[i]; t.has {
			t.push(s, t.open)
		}
		hits := make([]Hit, len(s.tops[i].items))
		for j, it := range s.tops[i].items {
			hits[j] = Hit{s.documents[it.document], float64(it.score)}
		}
		sortHits(hits)
		run[q.ID] = hits
	}
	return run
}

// top is a heap of the best documents of one query, the worst of them first.
type top struct {
	items []item
	// The last document of the block before, whose chunks may go on.
	open item
	has  bool
}

type item struct {
	document int32
	score    float32
}

// offer takes the scores of a block, in which the chunks of a document follow each
// other.
func (t *top) offer(s *search, scores []float32) {
	for i := 0; i < len(scores); {
		it := item{s.owners[i], scores[i]}
		for i++; i < len(scores) && s.owners[i] == it.document; i++ {
			it.score = max(it.score, scores[i])
		}
		if t.has {
			t.has = false
			if t.open.document == it.document {
				it.score = max(it.score, t.open.score)
			} else {
				t.push(s, t.open)
			}
		}
		if i == len(scores) {
			t.open, t.has = it, true
		} else {
			t.push(s, it)
		}
	}
}

func (t *top) push(s *search, it item) {
	if len(t.items) < s.o.Depth {
		t.items = append(t.items, it)
		for at := len(t.items) - 1; at > 0 && s.worse(t.items[at], t.items[(at-1)/2]); at = (at - 1) / 2 {
			t.items[at], t.items[(at-1)/2] = t.items[(at-1)/2], t.items[at]
		}
		return
	}
	if !s.worse(t.items[0], it) {
		return
	}
	t.items[0] = it
	for at := 0; ; {
		child := 2*at + 1
		if child+1 < len(t.items) && s.worse(t.items[child+1], t.items[child]) {
			child++
		}
		if child >= len(t.items) || !s.worse(t.items[child], t.items[at]) {
			return
		}
		t.items[at], t.items[child] = t.items[child], t.items[at]
		at = child
	}
}

// worse reports whether a ranks after b by trec_eval's order.
func (s *search) worse(a, b item) bool {
	return a.score < b.score || a.score == b.score && s.documents[a.document] < s.documents[b.document]
}

// multiply computes dst [m×n] = a·bᵀ of a [m×k] and b [n×k] in plain Go: four rows
// of a with two of b at a time, so that a number that was loaded serves several
// products, and b in parts that stay in the cache.
func multiply(dst, a, b []float32, m, n, k int) error {
	const part = 64
	share((m+3)/4, func(from, to int) {
		for first := 0; first < n; first += part {
			last := min(first+part, n)
			for i := 4 * from; i < min(4*to, m); i += 4 {
				if i+4 > m {
					for ; i < m; i++ {
						for j := first; j < last; j++ {
							dst[i*n+j] = dot(a[i*k:(i+1)*k], b[j*k:(j+1)*k])
						}
					}
					break
				}
				j := first
				for ; j+2 <= last; j += 2 {
					multiply4x2(dst[i*n+j:], n, a[i*k:(i+4)*k], b[j*k:(j+2)*k], k)
				}
				for ; j < last; j++ {
					for r := range 4 {
						dst[(i+r)*n+j] = dot(a[(i+r)*k:(i+r+1)*k], b[j*k:(j+1)*k])
					}
				}
			}
		}
	})
	return nil
}

// multiply4x2 computes four rows of two products, n apart in dst. Each product is
// rounded before it is added: a fused multiply-add would give other bits on other
// processors, and with another choice of the compiler.
func multiply4x2(dst []float32, n int, a, b []float32, k int) {
	a0, a1, a2, a3 := a[:k], a[k : 2*k][:k], a[2*k : 3*k][:k], a[3*k:][:k]
	b0, b1 := b[:k], b[k:][:k]
	var s00, s01, s10, s11, s20, s21, s30, s31 float32
	for i, x := range a0 {
		y, z := b0[i], b1[i]
		s00 += float32(x * y)
		s01 += float32(x * z)
		s10 += float32(a1[i] * y)
		s11 += float32(a1[i] * z)
		s20 += float32(a2[i] * y)
		s21 += float32(a2[i] * z)
		s30 += float32(a3[i] * y)
		s31 += float32(a3[i] * z)
	}
	dst[0], dst[1] = s00, s01
	dst[n], dst[n+1] = s10, s11
	dst[2*n], dst[2*n+1] = s20, s21
	dst[3*n], dst[3*n+1] = s30, s31
}

// dot sums and rounds as multiply4x2 does, so that a score does not depend on where
// its row stands.
func dot(a, b []float32) (sum float32) {
	b = b[:len(a)]
	for i, x := range a {
		sum += float32(x * b[i])
	}
	return sum
}

// share calls f for parts of n items on all processors.
func share(n int, f func(from, to int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { f(n*w/workers, n*(w+1)/workers) })
	}
	wg.Wait()
}
