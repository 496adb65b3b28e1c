package tokenizer

import (
	"math/bits"
	"unicode/utf8"
)

// model makes tokens of a word.
type model interface {
	// encode emits the tokens of text[start:end].
	encode(e *encoder, text string, start, end int)
}

// bpe is byte-pair encoding. A word starts as its bytes or characters; as long as
// the merge table has a pair of neighbours, the one of lowest rank is merged.
type bpe struct {
	byteID [256]int32
	// chars holds the tokens of single characters if words start as characters;
	// a character that it lacks is written as bytes. nil means that words start
	// as bytes.
	chars  map[rune]int32
	merges mergeTable
	// whole holds words that are known to become one token.
	whole map[string]int32
}

func (m *bpe) encode(e *encoder, text string, start, end int) {
	if id, ok := m.whole[text[start:end]]; ok {
		e.emit(id, start, end)
		return
	}
	symbols := m.merge(&e.merger, text[start:end])
	for i := int32(0); i >= 0; i = symbols[i].next {
		n := int(symbols[i].length)
		e.emit(symbols[i].id, start, start+n)
		start += n
	}
}

// merge returns the tokens of a word as a list from symbol 0 on.
func (m *bpe) merge(g *merger, word string) []symbol {
	g.symbols = g.symbols[:0]
	for i := 0; i < len(word); {
		n := 1
		if m.chars != nil {
			r, size := utf8.DecodeRuneInString(word[i:])
			if id, ok := m.chars[r]; ok && (r != utf8.RuneError || size > 1) {
				g.add(id, size)
				i += size
				continue
			}
			n = size
		}
		for ; n > 0; n-- {
			g.add(m.byteID[word[i]], 1)
			i++
		}
	}
	g.symbols[len(g.symbols)-1].next = -1
	g.run(&m.merges)
	return g.symbols
}

// symbol is a token of a word that is being merged, in a linked list.
type symbol struct {
	id         int32 // -1 once it is merged into its neighbour
	prev, next int32 // -1 if there is none
	length     int32 // in bytes
}

// merger holds the state of merging one word.
type merger struct {
	symbols []symbol
	queue   queue
}

func (g *merger) add(id int32, length int) {
	i := int32(len(g.symbols))
	g.symbols = append(g.symbols, symbol{id: id, prev: i - 1, next: i + 1, length: int32(length)})
}

// run merges until nothing can be merged, always the pair of lowest rank and of
// those the leftmost, in O(n log n).
func (g *merger) run(merges *mergeTable) {
	for i := range len(g.symbols) - 1 {
		g.propose(merges, int32(i))
	}
	for len(g.queue) > 0 {
		c := g.queue.pop()
		s := &g.symbols[c.at]
		if s.id != c.left || s.next < 0 || g.symbols[s.next].id != c.right {
			continue // one of the two was merged since it was proposed
		}
		right := &g.symbols[s.next]
		s.id, right.id = c.id, -1
		s.length += right.length
		if s.next = right.next; s.next >= 0 {
			g.symbols[s.next].prev = c.at
			g.propose(merges, c.at)
		}
		if s.prev >= 0 {
			g.propose(merges, s.prev)
		}
	}
}

// propose queues the merge of the symbol at i with the next one, which there is.
func (g *merger) propose(merges *mergeTable, i int32) {
	left, right := g.symbols[i].id, g.symbols[g.symbols[i].next].id
	if m, ok := merges.get(pair(left, right)); ok {
		g.queue.push(candidate{merge: m, at: i, left: left, right: right})
	}
}

// candidate is a merge that is possible at symbol at.
type candidate struct {
	merge
	at          int32
	left, right int32
}

func (c candidate) before(d candidate) bool {
	return c.rank < d.rank || c.rank == d.rank && c.at < d.at
}

// merge says what token a pair of neighbours becomes; the pair of lowest rank goes
// first.
type merge struct{ rank, id int32 }

// pair returns the key of two neighbours.
func pair(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// mergeTable holds the merges in a hash table with linear probing. Merging mostly
// looks up pairs, for which a map takes twice as long.
type mergeTable struct {
	slots []mergeSlot // a power of two of them, at least half of them empty
	shift int
}

// mergeSlot holds the complement of a pair, so that 0 means an empty slot.
type mergeSlot struct {
	notPair uint64
	merge   merge
}

func newMergeTable(merges int) mergeTable {
	n := bits.Len(uint(2*merges + 1))
	return mergeTable{slots: make([]mergeSlot, 1<<n), shift: 64 - n}
}

// slot returns the slot of a pair, or the empty one where it would be.
func (t *mergeTable) slot(p uint64) *mergeSlot {
	const golden = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
	for i := p * golden >> t.shift; ; i++ {
		if s := &t.slots[i&uint64(len(t.slots)-1)]; s.notPair == ^p || s.notPair == 0 {
			return s
		}
	}
}

func (t *mergeTable) get(p uint64) (merge, bool) {
	s := t.slot(p)
	return s.merge, s.notPair != 0
}

// add enters a merge. It returns false if the pair has one already. There must not
// be more merges than the table was made for.
func (t *mergeTable) add(p uint64, m merge) bool {
	s := t.slot(p)
	if s.notPair != 0 {
		return false
	}
	*s = mergeSlot{^p, m}
	return true
}

// queue is a binary heap. container/heap would allocate for every candidate.
type queue []candidate

func (q *queue) push(c candidate) {
	h := append(*q, c)
	i := len(h) - 1
	for i > 0 && c.before(h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = c
	*q = h
}

func (q *queue) pop() candidate {
	h := *q
	top, c := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	i := 0
	for 2*i+1 < len(h) {
		k := 2*i + 1
		if k+1 < len(h) && h[k+1].before(h[k]) {
			k++
		}
		if !h[k].before(c) {
			break
		}
		h[i] = h[k]
		i = k
	}
	if len(h) > 0 {
		h[i] = c
	}
	*q = h
	return top
}
