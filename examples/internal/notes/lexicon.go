package notes

import (
	"hash/fnv"
	"slices"
	"strings"
)

// A form is one way to write a term. Noun phrases carry their article, which
// "with" and "has" keep and "no" drops: "a pool" gives "with a pool", "no pool".
type form string

// word returns the form without its article.
func (f form) word() string { return strings.TrimPrefix(string(f), "a ") }

// A term is a thing with the words for it. The first form names the term.
type term struct{ forms []form }

func (t *term) name() string { return t.forms[0].word() }

// words makes a term from its forms, separated by "|".
func words(forms string) *term {
	t := new(term)
	for f := range strings.SplitSeq(forms, "|") {
		t.forms = append(t.forms, form(f))
	}
	return t
}

// A family is a group of categories that are related to each other, and the
// features that notes on them speak of.
type family struct {
	venue      bool // a place that one visits, not a thing that one owns
	categories []*term
	features   []*term
}

// A kind is a kind of setting.
type kind uint8

const (
	place kind = iota
	season
	brand
	price
	kinds // the number of kinds
)

var kindNames = [kinds]string{"place", "time", "brand", "price"}

// A wish is one setting that a query can ask for: the words for it, and the
// facts that satisfy it.
type wish struct {
	kind    kind
	asked   string
	accepts []string
}

// Features that more than one family has.
var (
	parking = words("parking|a garage")
	wifi    = words("wifi|internet")
	terrace = words("a terrace|a patio")
	straps  = words("straps|belts")
	zip     = words("a zip|a zipper")
)

func terms(forms ...string) []*term {
	ts := make([]*term, len(forms))
	for i, f := range forms {
		ts[i] = words(f)
	}
	return ts
}

var families = []*family{
	{ // places to stay
		venue:      true,
		categories: terms("cabin|lodge", "hotel|inn", "hostel|dorm", "villa|cottage"),
		features:   append(terms("a pool|swimming", "a gym|fitness"), parking, wifi, terrace),
	},
	{ // places to eat and drink
		venue:      true,
		categories: terms("cafe|coffeehouse", "bakery|patisserie", "bar|pub", "steakhouse|grill"),
		features:   append(terms("music|songs", "a fireplace|a hearth"), parking, wifi, terrace),
	},
	{ // camping gear
		categories: terms("tent|shelter", "stove|burner", "lantern|lamp", "backpack|rucksack"),
		features:   append(terms("a handle|a grip", "hooks", "a case|a pouch"), straps, zip),
	},
	{ // shoes
		categories: terms("boots|wellies", "sneakers|trainers", "sandals|flipflops", "slippers|houseshoes"),
		features:   append(terms("laces|shoelaces", "heels", "leather|hide"), straps, zip),
	},
}

// facts lists what a note can state about each kind of setting.
var facts = [kinds][]string{
	place:  {"oslo", "bergen", "lisbon", "porto", "osaka", "kyoto"},
	season: {"january", "april", "july", "october"},
	brand:  {"norvel", "tamko", "ulmora", "keldan"},
	price:  {"low", "high"},
}

// wishes lists every setting that a query can ask for.
var wishes = makeWishes()

func makeWishes() []wish {
	ws := []wish{
		{place, "norway", []string{"oslo", "bergen"}},
		{place, "portugal", []string{"lisbon", "porto"}},
		{place, "japan", []string{"osaka", "kyoto"}},
		{season, "winter", []string{"january"}},
		{season, "spring", []string{"april"}},
		{season, "summer", []string{"july"}},
		{season, "autumn", []string{"october"}},
		{price, "cheap", []string{"low"}},
		{price, "luxury", []string{"high"}},
	}
	for _, k := range []kind{place, season, brand} {
		for _, f := range facts[k] {
			ws = append(ws, wish{k, f, []string{f}})
		}
	}
	return ws
}

// category is one category with its family.
type category struct {
	*term
	family *family
}

var categories = func() (cs []category) {
	for _, f := range families {
		for _, t := range f.categories {
			cs = append(cs, category{t, f})
		}
	}
	return cs
}()

// typo returns the way in which writers misspell a word: its last letter but
// one is left out.
func typo(word string) string { n := len(word); return word[:n-2] + word[n-1:] }

// heldOut reports whether a category together with a feature or a setting is
// kept out of training. The choice is fixed, whatever the seed: about one
// pair in eight.
func heldOut(category, other string) bool {
	h := fnv.New32a()
	h.Write([]byte(category + " " + other))
	return h.Sum32()>>7%8 == 0
}

// HeldOut lists all pairs (category, feature or setting) that no training
// example contains, sorted.
func HeldOut() [][2]string {
	var pairs [][2]string
	for _, c := range categories {
		for _, f := range c.family.features {
			if heldOut(c.name(), f.name()) {
				pairs = append(pairs, [2]string{c.name(), f.name()})
			}
		}
		for _, w := range wishes {
			if heldOut(c.name(), w.asked) {
				pairs = append(pairs, [2]string{c.name(), w.asked})
			}
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	return pairs
}
