package split

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strings"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Leaks is what stands in two parts of a split. A pair or a query in both is a fault:
// the test then asks for what training has told. A document in both is usual where
// many queries find the same documents; the test then does not tell how the model
// does on new ones.
type Leaks struct {
	// Pairs have the same query and document in both, Queries the same query.
	Pairs, Queries []Leak
	// Documents stand in both, and Near are near-duplicates of each other: documents
	// of the second part with one in the first whose words are the same to at
	// least [NearShare].
	Documents, Near []Leak
	// Tested is the number of pairs of the second part, and TestedQueries and
	// TestedDocuments that of its different queries and documents.
	Tested, TestedQueries, TestedDocuments int
}

// Leak is one thing that stands in both parts, as each has it.
type Leak struct{ Train, Test string }

// NearShare is the similarity (Jaccard's, of runs of three words or, without spaces,
// of characters) from which two documents are near-duplicates.
const NearShare = .8

// Find looks for what stands in both parts.
func Find(train, test []rows.Example) *Leaks {
	l := &Leaks{Tested: len(test)}
	pairs, queries := make(map[[2]string]string), make(map[string]string)
	documents := make(map[string]string) // by their words
	var index nearIndex
	for _, e := range train {
		q, d := Key(e.Query), documentKey(&e.Document)
		pairs[[2]string{q, d}], queries[q] = name(&e), e.Query
		if _, ok := documents[d]; !ok {
			documents[d] = title(&e.Document)
			index.add(d, title(&e.Document))
		}
	}
	seenQueries, seenDocuments := make(map[string]bool), make(map[string]bool)
	for _, e := range test {
		q, d := Key(e.Query), documentKey(&e.Document)
		if first, ok := pairs[[2]string{q, d}]; ok {
			l.Pairs = append(l.Pairs, Leak{first, name(&e)})
		}
		if first, ok := queries[q]; ok && !seenQueries[q] {
			l.Queries = append(l.Queries, Leak{first, e.Query})
		}
		seenQueries[q] = true
		if seenDocuments[d] {
			continue
		}
		seenDocuments[d] = true
		if first, ok := documents[d]; ok {
			l.Documents = append(l.Documents, Leak{first, title(&e.Document)})
		} else if first, ok := index.near(d); ok {
			l.Near = append(l.Near, Leak{first, title(&e.Document)})
		}
	}
	l.TestedQueries, l.TestedDocuments = len(seenQueries), len(seenDocuments)
	return l
}

func name(e *rows.Example) string { return e.Query + " | " + title(&e.Document) }

// title is how a document is named in a list.
func title(d *rows.Document) string {
	const most = 80
	t := cmp.Or(d.Title, d.Body)
	if utf8.RuneCountInString(t) > most {
		t = string([]rune(t)[:most]) + "..."
	}
	return t
}

// documentKey is the words of a document's texts and fields.
func documentKey(d *rows.Document) string {
	var b strings.Builder
	b.WriteString(d.Title + " " + d.Body)
	for _, f := range d.Fields {
		b.WriteString(" " + f.Name + " " + f.Value)
	}
	return strings.Join(criteria.Words(b.String()), " ")
}

// String says what was found, with the first of each kind; "" if nothing was.
func (l *Leaks) String() string { return l.text("training") }

// text is String with another name of the first part.
func (l *Leaks) text(first string) string {
	var b strings.Builder
	for _, k := range []struct {
		leaks []Leak
		what  string
		of    int
	}{
		{l.Pairs, "pairs are in " + first + ", too", l.Tested},
		{l.Queries, "queries are in " + first + ", too, as they are or spelt otherwise", l.TestedQueries},
		{l.Documents, "documents are in " + first + ", too, with other queries or the same", l.TestedDocuments},
		{l.Near, "documents have a near-duplicate in " + first, l.TestedDocuments},
	} {
		if len(k.leaks) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%d of %d %s:\n", len(k.leaks), k.of, k.what)
		for i, leak := range k.leaks {
			if i == 3 {
				fmt.Fprintf(&b, "  and %d more\n", len(k.leaks)-i)
				break
			}
			if leak.Train == leak.Test {
				fmt.Fprintf(&b, "  %q\n", leak.Test)
			} else {
				fmt.Fprintf(&b, "  %q, in %s %q\n", leak.Test, first, leak.Train)
			}
		}
	}
	return b.String()
}

// nearIndex finds near-duplicates among texts in words: MinHash (Broder 1997) over
// their shingles with one permutation (Li, Owen and Zhang 2012), empty bins filled
// from others (Shrivastava 2017), and locality-sensitive hashing over bands.
type nearIndex struct {
	texts []nearText
	bands [numBands]map[uint64][]int32
}

type nearText struct {
	sketch sketch
	title  string
}

const (
	numBins  = 64
	numBands = 16 // of four bins each: two texts alike to .8 meet in one with probability 1 - (1-.8⁴)¹⁶ = .9998
	perBand  = numBins / numBands
	shingle  = 3 // words
	// mostMet bounds how many texts of one band are compared: boilerplate meets all.
	mostMet = 200
)

// sketch holds the least hash of each bin of a text's shingles.
type sketch [numBins]uint64

func sketchOf(words string) (s sketch, ok bool) {
	all := strings.Fields(words)
	if len(all) == 0 {
		return s, false
	}
	var full [numBins]bool
	for i := range max(len(all)-shingle+1, 1) {
		h := fnv.New64a()
		for _, w := range all[i:min(i+shingle, len(all))] {
			h.Write([]byte(w))
			h.Write([]byte{' '})
		}
		x := mix(h.Sum64())
		if bin := x % numBins; !full[bin] || x < s[bin] {
			s[bin], full[bin] = x, true
		}
	}
	filled := full
	for bin := range s {
		for try := uint64(1); !filled[bin]; try++ {
			if from := mix(uint64(bin)<<32|try) % numBins; full[from] {
				s[bin], filled[bin] = s[from], true
			}
		}
	}
	return s, true
}

// mix is the finaliser of MurmurHash3: FNV alone spreads short texts badly.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func (s *sketch) band(b int) uint64 {
	x := uint64(b)
	for _, v := range s[b*perBand : (b+1)*perBand] {
		x = mix(x ^ v)
	}
	return x
}

// alike estimates the Jaccard similarity.
func (s *sketch) alike(o *sketch) float64 {
	same := 0
	for i := range s {
		if s[i] == o[i] {
			same++
		}
	}
	return float64(same) / numBins
}

func (x *nearIndex) add(words, title string) {
	s, ok := sketchOf(words)
	if !ok {
		return
	}
	for b := range x.bands {
		if x.bands[b] == nil {
			x.bands[b] = make(map[uint64][]int32)
		}
		k := s.band(b)
		if len(x.bands[b][k]) < mostMet {
			x.bands[b][k] = append(x.bands[b][k], int32(len(x.texts)))
		}
	}
	x.texts = append(x.texts, nearText{s, title})
}

// near returns the title of the text that is most like one.
func (x *nearIndex) near(words string) (title string, ok bool) {
	s, ok := sketchOf(words)
	if !ok {
		return "", false
	}
	best, at := 0., int32(-1)
	seen := make(map[int32]bool)
	for b := range x.bands {
		for _, i := range x.bands[b][s.band(b)] {
			if seen[i] {
				continue
			}
			seen[i] = true
			if share := s.alike(&x.texts[i].sketch); share > best {
				best, at = share, i
			}
		}
	}
	if best < NearShare {
		return "", false
	}
	return x.texts[at].title, true
}
