package criteria

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// little are words that say nothing about a kind of thing.
var little = map[string]bool{
	"for": true, "with": true, "without": true, "and": true, "or": true, "of": true, "in": true, "to": true, "by": true,
	"from": true, "the": true, "a": true, "an": true, "on": true, "at": true, "w": true, "x": true, "no": true, "not": true,
	"pc": true, "pcs": true, "set": true, "incl": true, "including": true, "per": true, "via": true, "is": true,
}

// vocabulary is what a collection teaches about words without a label.
type vocabulary struct {
	// small: the titles name the kind of thing in small letters, beside names with
	// capitals. See namesKindsSmall.
	small bool
	// noun is how often a word of titles is the name of a kind of thing, 0 to 1: the
	// last of a title's type run or, in titles with capitals throughout, of the title's
	// name, the last before "for", or the last of the type field.
	noun map[string]float64
	// goes is how often the things of that name go with another: the share of
	// their documents that have a compatible field or a "for", 0 to 1.
	goes map[string]float64
	// lower is the share of a word's places in titles where it is in small letters, and
	// counted of those where a number stands before it.
	lower, counted map[string]float64
}

// typeRun returns where a title names the kind of thing in catalogues that write
// names with capitals: its first run of words in small letters that has a word
// other than little ones and units. It returns 0, 0 if the title is all small or
// has no such run.
func (t *Text) typeRun() (start, end int) {
	if !slices.Contains(t.small, false) {
		return 0, 0
	}
	for i := 0; i < len(t.Words); i++ {
		if t.namesKind(i) {
			start = i
			for i < len(t.Words) && t.namesKind(i) {
				i++
			}
			return start, i
		}
	}
	return 0, 0
}

func (t *Text) namesKind(i int) bool {
	_, unit := units[t.Words[i]]
	return t.small[i] && !little[t.Words[i]] && !unit && len(t.Words[i]) > 1
}

// namesKindsSmall reports whether titles that mix capitals and small letters name the
// kind of thing in small letters: "HP LaserJet 1020 laser printer". In "Acme stainless
// steel Circular Saw" the small words are an adjective, which the capitalised name
// follows. It is so where that follows at most half of the type runs.
func namesKindsSmall(documents []*Document) bool {
	runs, followed := 0, 0
	for _, d := range documents {
		if _, end := d.Text(FieldTitle).typeRun(); end > 0 {
			runs++
			if words := cased(d.Title); end < len(words) && capitalised(words[end]) {
				followed++
			}
		}
	}
	return runs > 0 && 2*followed <= runs
}

// capitalised reports whether a word is a capital and then small letters.
func capitalised(word string) bool {
	first, size := utf8.DecodeRuneInString(word)
	rest := word[size:]
	return unicode.IsUpper(first) && rest != "" && strings.IndexFunc(rest, func(r rune) bool { return !unicode.IsLower(r) }) < 0
}

// nameEnd returns the place after the name of the thing in a title with capitals
// throughout: after the last capitalised word before the first little word that follows
// one. It returns 0 if there is none.
func nameEnd(title string) int {
	end := 0
	for i, w := range cased(title) {
		if capitalised(w) {
			end = i + 1
		} else if end > 0 && little[strings.ToLower(w)] {
			break
		}
	}
	return end
}

// goesWith reports whether a document says that it goes with another thing.
func (d *Document) goesWith() bool {
	if len(d.Text(FieldCompatible).Words) > 0 {
		return true
	}
	title := d.Text(FieldTitle)
	return slices.Index(title.Words, "for") > 0 || slices.Contains(title.Words, "compatible")
}

func learnWords(documents []*Document) vocabulary {
	ends, goes, all := make(map[string]float64), make(map[string]float64), make(map[string]float64)
	places, lower, counted := make(map[string]float64), make(map[string]float64), make(map[string]float64)
	small := namesKindsSmall(documents)
	var total, withOther float64
	for _, d := range documents {
		title, kind := d.Text(FieldTitle), d.Text(FieldType)
		last := make(map[string]bool)
		end := 0
		if small {
			_, end = title.typeRun()
		} else {
			end = nameEnd(d.Title)
		}
		if end > 0 {
			last[title.Stems[end-1]] = true
		}
		if at := slices.Index(title.Words, "for"); at > 0 {
			last[title.Stems[at-1]] = true
		}
		if n := len(kind.Stems); n > 0 && title.Has(kind.Stems[n-1]) {
			last[kind.Stems[n-1]] = true
		}
		with := d.goesWith()
		total++
		withOther += oneIf(with)
		for i, stem := range title.Stems {
			places[stem]++
			lower[stem] += oneIf(title.small[i])
			counted[stem] += oneIf(i > 0 && isNumber(title.Words[i-1]))
		}
		for stem := range distinct(title.Stems) {
			all[stem]++
			goes[stem] += oneIf(with)
			ends[stem] += oneIf(last[stem])
		}
	}
	const prior = 5 // documents
	for stem, n := range places {
		lower[stem] /= n
		counted[stem] /= n
	}
	v := vocabulary{small, make(map[string]float64), make(map[string]float64), lower, counted}
	for stem, n := range all {
		if ends[stem] == 0 {
			continue
		}
		v.noun[stem] = ends[stem] / (n + prior)
		v.goes[stem] = (goes[stem] + prior*withOther/total) / (n + prior)
	}
	return v
}

// Thing is the name of a kind of thing.
type Thing struct {
	// Name is the name in small letters, "toner cartridge", and Head the stem of its last
	// word, which says what it is.
	Name, Head string
}

// longestName is how many words of a thing's name are kept, its last.
const longestName = 3

// Thing returns what a document is, as its title or its type field names it, and whether
// either does. Where the title has several names, it is the one that comes first:
// "Notebook" in "HP Pavilion Notebook Silver with keyboard", which has the type Notebook.
func (c *Collection) Thing(d *Document) (Thing, bool) {
	title := d.Text(FieldTitle)
	start, end := 0, 0
	kind := ""
	for _, f := range d.Fields {
		if !slices.Contains(c.roles.Type, plain(f.Name)) {
			continue
		}
		kind = cmp.Or(kind, f.Value)
		t := NewText(f.Value)
		at, n := title.Find(t.Stems)
		if n > 0 && c.words.isNoun(title.Stems[at+n-1]) && (end == 0 || at < start) {
			start, end = at, at+n
		}
	}
	if c.words.small {
		if from, to := c.words.typeName(d); to > 0 && (end == 0 || from < start) {
			start, end = from, to
		}
	}
	for to := nameEnd(d.Title); to > 0 && end == 0; to-- {
		if stem := title.Stems[to-1]; c.words.noun[stem] >= suspicious && c.words.isNoun(stem) && !c.words.apart(d, stem) {
			start, end = to-1, to
		}
	}
	if at := slices.Index(title.Words, "for"); at > 0 && end == 0 {
		start, end = at-1, at
	}
	if end > 0 {
		return Thing{strings.Join(title.Words[max(start, end-longestName):end], " "), title.Stems[end-1]}, true
	}
	t := NewText(kind)
	if n := len(t.Stems); n > 0 && c.words.isNoun(t.Stems[n-1]) {
		return Thing{strings.ToLower(strings.TrimSpace(kind)), t.Stems[n-1]}, true
	}
	return Thing{}, false
}

// isNoun reports whether a word can name a thing. Where titles name
// things in small letters, one that they nearly always write with a capital is something
// else, such as "Original".
func (v *vocabulary) isNoun(stem string) bool {
	const often = .1
	share, known := v.lower[stem]
	return !v.small || !known || share >= often
}

// apart reports whether a word is a part of the maker's name, "StarTech.com", or what
// titles count, "1440 x 900 pixels".
func (v *vocabulary) apart(d *Document, stem string) bool {
	const often = .8
	return v.counted[stem] >= often || slices.Contains(d.Text(FieldBrand).Stems, stem)
}

// typeName is the title's first run of small letters that name a kind of thing.
func (v *vocabulary) typeName(d *Document) (start, end int) {
	title := d.Text(FieldTitle)
	names := func(i int) bool { return title.namesKind(i) && !v.apart(d, title.Stems[i]) }
	for start = range title.Words {
		for end = start; end < len(title.Words) && names(end); end++ {
		}
		if end > start {
			return start, end
		}
	}
	return 0, 0
}

// isNumber reports whether a word is made of digits and a decimal point.
func isNumber(word string) bool {
	return strings.IndexFunc(word, func(r rune) bool { return r != '.' && !unicode.IsDigit(r) }) < 0
}
