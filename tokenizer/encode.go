package tokenizer

// Encode returns the token ids of a text. Where the text contains the content
// of an added token, special ones included, it becomes that token; see
// [Tokenizer.EncodeOrdinary] for text that must not.
func (t *Tokenizer) Encode(text string) []int32 {
	e := encoder{t: t}
	t.split(text, 0, e.word, e.token)
	return e.ids
}

// EncodeOffsets is Encode; ends[i] is the byte of text at which token i ends.
// A token starts where the one before it ends, so the last end is len(text).
func (t *Tokenizer) EncodeOffsets(text string) (ids []int32, ends []int) {
	ids = t.Encode(text)
	ends = make([]int, len(ids))
	end := 0
	for i, id := range ids {
		end += len(t.text[id])
		ends[i] = end
	}
	return ids, ends
}

// EncodeOrdinary encodes a text by bytes and merges alone: it looks for no
// added tokens. It is for text from outside that must not be able to end a
// prompt or to fake its parts. Decode gives exactly the text back.
func (t *Tokenizer) EncodeOrdinary(text string) []int32 {
	e := encoder{t: t}
	t.split(text, len(t.matchers), e.word, e.token)
	return e.ids
}

// split cuts a text into words and added tokens, those of the matchers from
// stage on, and calls word and added for each in order.
func (t *Tokenizer) split(text string, stage int, word func(string), added func(id int32)) {
	if stage < len(t.matchers) {
		for from := 0; from < len(text); {
			start, end, id := t.matchers[stage].find(text, from)
			t.split(text[from:start], stage+1, word, added)
			if id >= 0 {
				added(id)
			}
			from = end
		}
		return
	}
	for i := 0; i < len(text); {
		end := wordEnd(text, i)
		word(text[i:end])
		i = end
	}
}

// encoder holds the state of one call.
type encoder struct {
	t       *Tokenizer
	ids     []int32
	symbols []symbol
	queue   queue
}

func (e *encoder) token(id int32) { e.ids = append(e.ids, id) }

// symbol is a token of the word that is being merged, in a linked list.
type symbol struct {
	id         int32 // -1: merged into its neighbour
	prev, next int   // -1: none
}

// word merges the bytes of a word, the pair of lowest rank first and the
// leftmost of them, in O(n log n).
func (e *encoder) word(word string) {
	e.symbols = e.symbols[:0]
	for i := range len(word) {
		e.symbols = append(e.symbols, symbol{id: e.t.byteID[word[i]], prev: i - 1, next: i + 1})
	}
	e.symbols[len(word)-1].next = -1
	for i := range len(word) - 1 {
		e.propose(i)
	}
	for len(e.queue) > 0 {
		c := e.queue.pop()
		s := &e.symbols[c.at]
		if s.id != c.left || s.next < 0 || e.symbols[s.next].id != c.right {
			continue // a neighbour has been merged since it was proposed
		}
		right := &e.symbols[s.next]
		s.id, right.id = c.id, -1
		if s.next = right.next; s.next >= 0 {
			e.symbols[s.next].prev = c.at
			e.propose(c.at)
		}
		if s.prev >= 0 {
			e.propose(s.prev)
		}
	}
	for i := 0; i >= 0; i = e.symbols[i].next {
		e.ids = append(e.ids, e.symbols[i].id)
	}
}

// propose queues the merge of the symbol at i, which has a next one, with it.
func (e *encoder) propose(i int) {
	left, right := e.symbols[i].id, e.symbols[e.symbols[i].next].id
	if m, ok := e.t.merges[pair(left, right)]; ok {
		e.queue.push(candidate{merge: m, at: i, left: left, right: right})
	}
}

// candidate is a merge that is possible at a place.
type candidate struct {
	merge
	at          int
	left, right int32
}

func (c candidate) before(d candidate) bool {
	return c.rank < d.rank || c.rank == d.rank && c.at < d.at
}

// queue is a binary heap, written out because container/heap would allocate
// for every candidate.
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
