package weak

import (
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
)

// maker has the documents by what they are and mention.
type maker struct {
	c         *criteria.Collection
	documents []*criteria.Document
	rng       *rand.Rand
	things    []criteria.Thing // of each document; Head is "" if it is not known
	known     []int            // documents whose thing is known
	kinds     []string         // heads of at least two documents, in order
	weight    []float64        // of kinds, cumulative
	ofKind    map[string][]int
	mention   map[string][]int // stem -> documents of another kind that have it in a text
	ofBrand   map[string][]int
	inTitles  map[string]int // stem -> titles that may name a product line so
}

func newMaker(c *criteria.Collection, s Settings) *maker {
	m := &maker{
		c: c, documents: c.Documents(), rng: rand.New(rand.NewPCG(s.Seed, 0)),
		ofKind: make(map[string][]int), mention: make(map[string][]int), ofBrand: make(map[string][]int), inTitles: make(map[string]int),
	}
	for i, d := range m.documents {
		thing, ok := c.Thing(d)
		m.things = append(m.things, thing)
		if !ok {
			continue
		}
		m.known = append(m.known, i)
		m.ofKind[thing.Head] = append(m.ofKind[thing.Head], i)
		if b := brand(d); b != "" {
			m.ofBrand[b] = append(m.ofBrand[b], i)
		}
		for _, w := range lines(d, thing) {
			m.inTitles[criteria.Stem(w)]++
		}
	}
	for head, all := range m.ofKind {
		if len(all) > 1 && usable(head) {
			m.kinds = append(m.kinds, head)
		}
	}
	slices.Sort(m.kinds)
	total := 0.
	for _, head := range m.kinds {
		total += math.Sqrt(float64(len(m.ofKind[head])))
		m.weight = append(m.weight, total)
	}
	wanted := make(map[string]bool) // what queries may ask documents to mention
	for _, i := range m.known {
		for _, w := range stems(m.things[i].Name) {
			wanted[w] = true
		}
	}
	for w, n := range m.inTitles {
		if n >= leastLine {
			wanted[w] = true
		}
	}
	for _, i := range m.known {
		has := make(map[string]bool)
		for _, f := range []criteria.Field{criteria.FieldTitle, criteria.FieldBody, criteria.FieldCompatible} {
			for _, w := range m.documents[i].Text(f).Stems {
				if wanted[w] && w != m.things[i].Head && !has[w] {
					has[w] = true
					m.mention[w] = append(m.mention[w], i)
				}
			}
		}
	}
	return m
}

// usable reports whether a head can be asked for: a word, and no code or letter.
func usable(head string) bool {
	return utf8.RuneCountInString(head) > 1 && strings.IndexFunc(head, func(r rune) bool { return !unicode.IsLetter(r) }) < 0
}

func stems(text string) []string { t := criteria.NewText(text); return t.Stems }

// brand is the stemmed name of who makes a document.
func brand(d *criteria.Document) string {
	return strings.Join(d.Text(criteria.FieldBrand).Stems, " ")
}

// lineName matches a word that may name a product line: "LaserJet", not "HP" or "M185".
var lineName = regexp.MustCompile(`^\p{Lu}\p{L}*\p{Ll}\p{L}*$`)

// lines are the first three words of a title that may name a product line and are no part
// of the maker's or the thing's name, in small letters.
func lines(d *criteria.Document, thing criteria.Thing) []string {
	var out []string
	apart := append(slices.Clone(d.Text(criteria.FieldBrand).Stems), stems(thing.Name)...)
	for _, w := range strings.FieldsFunc(d.Title, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		small := strings.ToLower(w)
		if len(out) < 3 && utf8.RuneCountInString(w) > 2 && lineName.MatchString(w) && !slices.Contains(apart, criteria.Stem(small)) {
			out = append(out, small)
		}
	}
	return out
}

// query is a made-up query.
type query struct {
	text string
	of   int // the document that it is made of
	// head is what kind of thing it asks for, and condition what else, in stems that stand
	// in a row in the documents that meet it.
	head      string
	condition []string
	// word is what the documents that only seem to fit mention.
	word string
	// brand is set where it asks for whatever is of a maker; head is then "".
	brand string
}

// query makes up a query. Of 100, 28 are the last word of the thing's name, 25 two or
// three words of it, 13 the maker and that word, 15 an attribute and that word, 8 the
// product line and that word, 6 the product line, and 5 the maker.
func (m *maker) query() query {
	u := m.rng.Float64() * m.weight[len(m.weight)-1]
	k, _ := slices.BinarySearch(m.weight, u)
	head := m.kinds[min(k, len(m.kinds)-1)]
	q := query{of: m.pick(m.ofKind[head]), head: head, word: head}
	d, thing := m.documents[q.of], m.things[q.of]
	last := m.number(thing.Name[strings.LastIndexByte(thing.Name, ' ')+1:])
	before := ""
	switch u := m.rng.Float64(); {
	case u < .28:
	case u < .53:
		words := strings.Fields(thing.Name)
		before = strings.Join(words[max(0, len(words)-2-m.rng.IntN(2)):len(words)-1], " ")
	case u < .66:
		before = strings.Join(d.Text(criteria.FieldBrand).Words, " ")
		q.condition = stems(before)
	case u < .81:
		before = m.attribute(d, thing)
		q.condition = stems(before)
	case u < .95:
		before = m.line(d, thing)
		q.condition = stems(before)
		if before != "" && u >= .89 {
			last, q.word = "", q.condition[0]
		}
	default:
		before = strings.Join(d.Text(criteria.FieldBrand).Words, " ")
		if before != "" {
			last, q.head, q.word, q.brand = "", "", "", brand(d)
		}
	}
	q.text = strings.TrimSpace(before + " " + last)
	return q
}

// number writes an English word as often in the plural as titles have it in the singular.
func (m *maker) number(word string) string {
	end, _ := utf8.DecodeLastRuneInString(word)
	if end < 'a' || end > 'z' || m.rng.IntN(10) > 2 {
		return word
	}
	if s, ok := strings.CutSuffix(word, "s"); ok && !strings.HasSuffix(s, "s") {
		return s
	}
	return word + "s"
}

// attribute is the short value of one of a document's fields, "" if it has none.
func (m *maker) attribute(d *criteria.Document, thing criteria.Thing) string {
	var all []string
	roles, apart := m.c.Roles(), stems(thing.Name)
	for _, f := range d.Fields {
		t := criteria.NewText(f.Value)
		name := strings.ToLower(strings.ReplaceAll(f.Name, "_", " "))
		if slices.Contains(roles.Brand, name) || slices.Contains(roles.Type, name) || len(t.Words) == 0 || len(t.Words) > 2 ||
			strings.IndexFunc(strings.Join(t.Words, ""), func(r rune) bool { return !unicode.IsLetter(r) }) >= 0 ||
			slices.ContainsFunc(t.Stems, func(w string) bool { return len(w) < 3 || slices.Contains(apart, w) }) ||
			t.Words[0] == "true" || t.Words[0] == "false" {
			continue
		}
		all = append(all, strings.Join(t.Words, " "))
	}
	if len(all) == 0 {
		return ""
	}
	return all[m.rng.IntN(len(all))]
}

// leastLine is in how many titles the name of a product line stands.
const leastLine = 3

// line is the name of the document's product line, "" if there is none.
func (m *maker) line(d *criteria.Document, thing criteria.Thing) string {
	for _, w := range lines(d, thing) {
		if m.inTitles[criteria.Stem(w)] >= leastLine {
			return w
		}
	}
	return ""
}

func (m *maker) pick(all []int) int {
	if len(all) == 0 {
		return -1
	}
	return all[m.rng.IntN(len(all))]
}

// tries is how often a document is drawn before a pair is left out.
const tries = 10

// miss draws a document of another kind, mostly one that mentions what is asked for, or
// of another maker, where one is all that is asked for.
func (m *maker) miss(q query) int {
	d := m.documents[q.of]
	name := stems(m.things[q.of].Name)
	for range tries {
		pool := m.known
		switch u := m.rng.Float64(); {
		case q.brand != "":
			if u < .5 {
				pool = m.ofKind[m.things[q.of].Head]
			}
		case u < .5:
			pool = m.mention[q.word]
		case u < .7:
			pool = m.mention[name[0]]
		case u < .85:
			pool = m.ofBrand[brand(d)]
		}
		i := m.pick(pool)
		if i >= 0 && m.things[i].Head != q.head && (q.brand == "" || brand(m.documents[i]) != q.brand) {
			return i
		}
	}
	return -1
}

// part draws a document of the kind that does not meet the condition.
func (m *maker) part(q query) int {
	for range tries {
		i := m.pick(m.ofKind[q.head])
		if at, _ := m.documents[i].Text(criteria.FieldAny).Find(q.condition); at < 0 {
			return i
		}
	}
	return -1
}
