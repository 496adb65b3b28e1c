package posir

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"
)

// BuildOptions are the settings of [Build]. The zero value asks for one query per
// length bucket and position bin, about phrases of four words that the documents have.
type BuildOptions struct {
	// PerCell is the number of queries per length bucket and position bin; 0 means 1.
	PerCell int
	// Plant puts a sentence of its own into a document for every query, and no two into
	// the same document. Otherwise queries are about what the documents have.
	Plant bool
	// Words is the number of words of the phrases that are looked for; 0 means 4.
	Words int
	// Query makes a query of the phrase that it is about; nil means an English question.
	Query func(phrase string) string
	// Sentence makes the sentence to plant of a phrase. It must have the phrase in it;
	// nil means English.
	Sentence func(phrase string) string
	// Tokens counts the tokens of a text, for length buckets; nil counts words.
	Tokens func(text string) int
	// Seed determines what is drawn.
	Seed uint64
}

// Validate returns an error that names the first invalid setting.
func (o BuildOptions) Validate() error {
	switch {
	case o.PerCell < 0:
		return fmt.Errorf("posir: BuildOptions.PerCell is %d, want at least 0", o.PerCell)
	case o.Words < 0:
		return fmt.Errorf("posir: BuildOptions.Words is %d, want at least 0", o.Words)
	}
	return nil
}

func (o BuildOptions) withDefaults() BuildOptions {
	o.PerCell = cmp.Or(o.PerCell, 1)
	o.Words = cmp.Or(o.Words, 4)
	if o.Tokens == nil {
		o.Tokens = func(text string) (n int) {
			eachWord(text, func(word) { n++ })
			return n
		}
	}
	if o.Query == nil {
		o.Query = func(phrase string) string { return fmt.Sprintf("Which document mentions %q?", phrase) }
		if o.Plant {
			o.Query = func(phrase string) string { return fmt.Sprintf("What is said about the %s file?", phrase) }
		}
	}
	if o.Sentence == nil {
		o.Sentence = func(phrase string) string {
			return fmt.Sprintf("The %s file is kept in the archive for ten years.", phrase)
		}
	}
	return o
}

// Built is a benchmark of your own documents.
type Built struct {
	Benchmark
	// Documents is the corpus: the documents given, with what was planted.
	Documents []Document
	// Missing counts, per length bucket and position bin, the queries that were asked
	// for and could not be made: for want of documents of that length, or of a phrase
	// there that no other place has.
	Missing [Buckets][Bins]int
}

// Corpus yields the documents.
func (b *Built) Corpus() Corpus {
	return func(yield func(Document, error) bool) {
		for _, d := range b.Documents {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// Build makes a benchmark of documents, which must not be too few: a query for every
// length bucket and position bin, as often as asked for. Each query is about a phrase,
// by template. The phrase stands at exactly one place of the corpus, which is the
// evidence. That is checked by counting all phrases of the corpus, upper case being lower
// case; a phrase to plant is made of words that no document has. Documents of a
// length are used in turn. The counts take some 20 bytes per word of the documents. IDs of queries end in a hash
// of options and documents, so those of two benchmarks differ. An error names an invalid
// option or a document that is there twice, or says that no query could be made.
func Build(documents []Document, o BuildOptions) (*Built, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	b := &builder{o: o, random: rand.New(rand.NewPCG(o.Seed, 0)), count: map[uint64]uint8{}, words: map[string]bool{}, seed: maphash.MakeSeed()}
	b.Documents = slices.Clone(documents)
	hash := sha256.New()
	fmt.Fprintln(hash, o.Seed, o.PerCell, o.Words, o.Plant)
	seen := map[string]bool{}
	for i, d := range documents {
		if seen[d.ID] {
			return nil, fmt.Errorf("posir: document %q is there twice", d.ID)
		}
		seen[d.ID] = true
		fmt.Fprintf(hash, "%q %q\n", d.ID, d.Text)
		if bucket, ok := (Evidence{Tokens: o.Tokens(d.Text)}).Bucket(); ok {
			b.ofLength[bucket] = append(b.ofLength[bucket], i)
		}
		b.add(d.Text)
	}
	b.id = hex.EncodeToString(hash.Sum(nil)[:4])
	for bucket := range b.ofLength {
		b.random.Shuffle(len(b.ofLength[bucket]), func(i, j int) {
			l := b.ofLength[bucket]
			l[i], l[j] = l[j], l[i]
		})
	}
	for round := range o.PerCell {
		for bucket := range Buckets {
			for _, bin := range b.random.Perm(Bins) {
				if !b.make(bucket, bin, round) {
					b.Missing[bucket][bin]++
				}
			}
		}
	}
	if len(b.Queries) == 0 {
		return nil, errors.New("posir: the documents give no query: none has a phrase that stands at one place only")
	}
	return &b.Built, nil
}

type builder struct {
	Built
	o      BuildOptions
	random *rand.Rand

	ofLength [Buckets][]int // documents in the order in which they are used
	// count has the number of places of each phrase of the corpus, 2 for more. Phrases
	// with the same hash share a count, which can only make it larger.
	count map[uint64]uint8
	seed  maphash.Seed
	// id is at the end of every query's ID.
	id string
	// words are those of all documents and of what was planted.
	words map[string]bool
}

func (b *builder) key(words []string) uint64 {
	return maphash.String(b.seed, strings.Join(words, "\x00"))
}

// phrases calls do with every phrase of a text.
func (b *builder) phrases(text string, do func(key uint64, first, last word)) {
	var words []word
	var texts []string
	eachWord(text, func(w word) { words, texts = append(words, w), append(texts, w.text) })
	for i := range len(words) - b.o.Words + 1 {
		last := i + b.o.Words
		do(b.key(texts[i:last]), words[i], words[last-1])
	}
}

func (b *builder) add(text string) {
	eachWord(text, func(w word) { b.words[w.text] = true })
	b.phrases(text, func(key uint64, _, _ word) { b.count[key] = min(b.count[key]+1, 2) })
}

// make makes a query for a cell and reports whether it could. It tries the documents of
// the length in turn.
func (b *builder) make(bucket, bin, round int) bool {
	list := b.ofLength[bucket]
	for n, at := range list {
		var text, phrase string
		var e Evidence
		var ok bool
		if b.o.Plant {
			text, phrase, e, ok = b.plant(b.Documents[at].Text, bin)
		} else {
			text = b.Documents[at].Text
			phrase, e, ok = b.find(text, bin)
		}
		if !ok {
			continue
		}
		if got, _ := e.Bucket(); got != bucket {
			continue // what was planted made it too long
		}
		b.Documents[at].Text = text
		id := fmt.Sprintf("%s-%02d-%d-%s", BucketNames[bucket], bin, round, b.id)
		b.Queries = append(b.Queries, Query{ID: id, Text: b.o.Query(phrase), Evidence: e})
		b.Judgements = append(b.Judgements, Judgement{id, b.Documents[at].ID, 1})
		// The document is the last to be used again, or is not used again.
		b.ofLength[bucket] = append(slices.Clone(list[:n]), list[n+1:]...)
		if !b.o.Plant {
			b.ofLength[bucket] = append(b.ofLength[bucket], at)
		}
		return true
	}
	return false
}

// find draws a phrase of a text that has its middle in a bin and stands nowhere else.
func (b *builder) find(text string, bin int) (phrase string, e Evidence, ok bool) {
	e = Evidence{Chars: utf8.RuneCountInString(text), Tokens: b.o.Tokens(text)}
	n := 0
	b.phrases(text, func(key uint64, first, last word) {
		here := e
		here.Start, here.End = first.start, last.end
		if p, _ := here.Position(); Bin(p) != bin || b.count[key] != 1 {
			return
		}
		if n++; b.random.IntN(n) == 0 { // each with the same probability
			e, phrase, ok = here, text[first.byteStart:last.byteEnd], true
		}
	})
	return phrase, e, ok
}

// plant puts a sentence about a new phrase before a word of a text, so that the middle
// of the sentence is in a bin.
func (b *builder) plant(text string, bin int) (with, phrase string, e Evidence, ok bool) {
	for range 100 {
		name, code := syllables(b.random, 3), syllables(b.random, 4)
		if b.words[name] || b.words[code] {
			continue
		}
		phrase = strings.ToUpper(name[:1]) + name[1:] + " " + code
		sentence := b.o.Sentence(phrase)
		if !strings.Contains(sentence, phrase) {
			return "", "", e, false
		}
		size := utf8.RuneCountInString(sentence)
		e.Chars = utf8.RuneCountInString(text) + size + 1
		best, at := 2., -1
		want := (float64(bin) + .5) / Bins
		try := func(start, byteAt int) {
			here := Evidence{Start: start, End: start + size, Chars: e.Chars}
			if p, _ := here.Position(); Bin(p) == bin && max(p-want, want-p) < best {
				best, at, e.Start, e.End = max(p-want, want-p), byteAt, start, start+size
			}
		}
		eachWord(text, func(w word) { try(w.start, w.byteStart) })
		try(utf8.RuneCountInString(text)+1, len(text))
		if at < 0 {
			return "", "", e, false // the sentence is longer than the bin is wide
		}
		if at == len(text) {
			with = text + " " + sentence
		} else {
			with = text[:at] + sentence + " " + text[at:]
		}
		e.Tokens = b.o.Tokens(with)
		b.words[name], b.words[code] = true, true
		return with, phrase, e, true
	}
	return "", "", e, false
}

// syllables draws a word that no language has.
func syllables(random *rand.Rand, n int) string {
	const consonants, vowels = "bdfgklmnprstvz", "aeiou"
	var s []byte
	for range n {
		s = append(s, consonants[random.IntN(len(consonants))], vowels[random.IntN(len(vowels))])
	}
	return string(s)
}
