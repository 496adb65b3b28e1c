package tokenizer

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// byteLevel is how the file names the pre-tokeniser and the decoder that Train
// uses.
const byteLevel = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":true}`

// TrainOptions says what vocabulary to learn.
type TrainOptions struct {
	// VocabSize is the number of tokens to make, at least that of the 256 bytes
	// and the special and added tokens together. A small corpus may give fewer.
	VocabSize int
	// Special tokens stand for no text. They get the ids from 0 on.
	Special []string
	// Added tokens are ordinary text that always becomes one token, such as a
	// tag. Their ids follow those of the special ones. A single character whose
	// byte has a token anyway, such as a brace, keeps the id of that, and is
	// merged with nothing.
	Added []string
	// MinCount is how often a pair must occur to be merged; 0 means 2.
	MinCount int
}

// Validate returns an error that names what is invalid: a VocabSize that is too
// small, a negative MinCount, or a special or added token that is empty, invalid
// UTF-8, repeated, or a single character that stands for a byte.
func (o TrainOptions) Validate() error {
	_, err := o.untrained()
	return err
}

// Train learns a byte-level BPE from a corpus (Sennrich et al.,
// arXiv:1508.07909), whose words are cut as GPT-2 cuts them. Again and again, the
// most frequent pair of neighbours inside words becomes a token; among equally
// frequent pairs, the one with the lower ids. The ids are those of the special
// tokens, then the added ones, the bytes in GPT-2's order, and the merged tokens
// in the order of learning. Special and added tokens in the corpus are not
// counted. The order of the corpus does not matter. The error is o.Validate's.
func Train(corpus iter.Seq[string], o TrainOptions) (*Tokenizer, error) {
	base, err := o.untrained()
	if err != nil {
		return nil, err
	}
	minCount := cmp.Or(o.MinCount, 2)
	tr := newTrainer(base, corpus)
	for len(tr.def.spelling) < o.VocabSize && tr.mergeNext(minCount) {
	}
	t, err := build(tr.def)
	if err != nil {
		panic("tokenizer: Train made an invalid vocabulary: " + err.Error())
	}
	return t, nil
}

// untrained checks the options and returns a tokenizer without merges.
func (o TrainOptions) untrained() (*Tokenizer, error) {
	d, err := o.definition()
	if err != nil {
		return nil, fmt.Errorf("tokenizer: train: %w", err)
	}
	t, err := build(d)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: train: %w", err)
	}
	return t, nil
}

// definition returns the vocabulary before any merge.
func (o TrainOptions) definition() (definition, error) {
	var errs []error
	if o.MinCount < 0 {
		errs = append(errs, fmt.Errorf("MinCount is %d, want 0 or more", o.MinCount))
	}
	d := definition{
		parts:    file{Version: "1.0", PreTokenizer: filePart(byteLevel), Decoder: filePart(byteLevel)},
		splitter: scannerGPT2,
		template: plainTemplate,
		bpe:      &fileBPE{Type: "BPE"},
	}
	var bytes []string // added tokens that are the token of a byte
	for i, content := range slices.Concat(o.Special, o.Added) {
		special := i < len(o.Special)
		if !special && len(content) == 1 && byteToRune[content[0]] == rune(content[0]) {
			bytes = append(bytes, content)
			continue
		}
		d.added = append(d.added, addedToken{content: content, id: int32(len(d.spelling)), special: special, inVocab: true})
		d.spelling = append(d.spelling, content)
	}
	alphabet := slices.Clone(byteToRune[:])
	slices.Sort(alphabet)
	for _, r := range alphabet {
		if slices.Contains(d.spelling, string(r)) {
			errs = append(errs, fmt.Errorf("token %q is too short: this single character stands for a byte, use \"<%c>\" for example", string(r), r))
		}
		d.spelling = append(d.spelling, string(r))
	}
	for _, content := range bytes {
		d.added = append(d.added, addedToken{content: content, id: int32(slices.Index(d.spelling, content)), inVocab: true})
	}
	if o.VocabSize < len(d.spelling) {
		errs = append(errs, fmt.Errorf("VocabSize is %d, want at least %d: 256 bytes and %d special and added tokens",
			o.VocabSize, len(d.spelling), len(d.added)))
	}
	return d, errors.Join(errs...)
}

// trainer holds the words of a corpus and the pairs in them.
type trainer struct {
	def    definition
	taken  map[string]bool // spellings
	words  []trainWord
	counts map[uint64]int
	where  map[uint64][]int // the words that a pair occurs, or has occurred, in
	queue  pairQueue
}

type trainWord struct {
	ids   []int32
	count int
}

// wordCounts is the visitor that counts words.
type wordCounts map[string]*int

func (c wordCounts) word(n *normalized, _, start, end int) {
	word := n.text[start:end]
	count := c[word]
	if count == nil {
		count = new(int)
		c[strings.Clone(word)] = count // else the text would stay in memory
	}
	*count++
}

func (wordCounts) token(int32, Range) {}

func newTrainer(base *Tokenizer, corpus iter.Seq[string]) *trainer {
	tr := &trainer{
		def:    base.def,
		taken:  make(map[string]bool),
		counts: make(map[uint64]int),
		where:  make(map[uint64][]int),
	}
	for _, s := range tr.def.spelling {
		tr.taken[s] = true
	}
	counts := make(wordCounts)
	for text := range corpus {
		base.walk(text, true, nil, counts)
	}
	byteID := &base.model.(*bpe).byteID
	for word, n := range counts {
		ids := make([]int32, len(word))
		for i := range ids {
			ids[i] = byteID[word[i]]
		}
		w := len(tr.words)
		tr.words = append(tr.words, trainWord{ids: ids, count: *n})
		for _, p := range tr.words[w].pairs() {
			tr.counts[p] += *n
			tr.occurs(p, w)
		}
	}
	for p, n := range tr.counts {
		tr.queue = append(tr.queue, pairCount{p, n})
	}
	heap.Init(&tr.queue)
	return tr
}

// pairs returns the pairs of neighbours in a word, in order.
func (w *trainWord) pairs() []uint64 {
	var pairs []uint64
	for i := 1; i < len(w.ids); i++ {
		pairs = append(pairs, pair(w.ids[i-1], w.ids[i]))
	}
	return pairs
}

// occurs notes that word w, the latest, has the pair p.
func (tr *trainer) occurs(p uint64, w int) {
	if at := tr.where[p]; len(at) == 0 || at[len(at)-1] != w {
		tr.where[p] = append(at, w)
	}
}

// mergeNext merges the most frequent pair; false if none is frequent enough.
func (tr *trainer) mergeNext(minCount int) bool {
	for len(tr.queue) > 0 {
		top := heap.Pop(&tr.queue).(pairCount)
		if n := tr.counts[top.pair]; n != top.count {
			// Merges around it have made it rarer.
			heap.Push(&tr.queue, pairCount{top.pair, n})
			continue
		}
		if top.count < minCount {
			return false
		}
		left, right := tr.def.spelling[top.pair>>32], tr.def.spelling[uint32(top.pair)]
		if tr.taken[left+right] {
			continue // each token is made in one way only
		}
		tr.taken[left+right] = true
		tr.def.merges = append(tr.def.merges, [2]string{left, right})
		tr.def.spelling = append(tr.def.spelling, left+right)
		tr.apply(top.pair, int32(len(tr.def.spelling)-1))
		return true
	}
	return false
}

// apply replaces the pair p by token id in all words.
func (tr *trainer) apply(p uint64, id int32) {
	born := make(map[uint64]bool) // pairs with the new token
	for _, w := range tr.where[p] {
		word := &tr.words[w]
		for _, q := range word.pairs() {
			tr.counts[q] -= word.count
		}
		word.merge(p, id)
		for i, q := range word.pairs() {
			tr.counts[q] += word.count
			if word.ids[i] == id || word.ids[i+1] == id {
				tr.occurs(q, w)
				born[q] = true
			}
		}
	}
	delete(tr.where, p)
	for q := range born {
		heap.Push(&tr.queue, pairCount{q, tr.counts[q]})
	}
}

// merge replaces the pair p by token id, from the left.
func (w *trainWord) merge(p uint64, id int32) {
	merged := w.ids[:0]
	for i := 0; i < len(w.ids); i++ {
		if i+1 < len(w.ids) && pair(w.ids[i], w.ids[i+1]) == p {
			merged = append(merged, id)
			i++
		} else {
			merged = append(merged, w.ids[i])
		}
	}
	w.ids = merged
}

// pairQueue is a heap of pairs, the most frequent first.
type pairQueue []pairCount

type pairCount struct {
	pair  uint64
	count int
}

func (q pairQueue) Len() int { return len(q) }
func (q pairQueue) Less(i, j int) bool {
	return q[i].count > q[j].count || q[i].count == q[j].count && q[i].pair < q[j].pair
}
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *pairQueue) Push(x any)   { *q = append(*q, x.(pairCount)) }
func (q *pairQueue) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}
