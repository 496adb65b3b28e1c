package criteria

import (
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
		for stem := range distinct(title.Stems) {
			all[stem]++
			goes[stem] += oneIf(with)
			ends[stem] += oneIf(last[stem])
		}
	}
	const prior = 5 // documents
	v := vocabulary{small, make(map[string]float64), make(map[string]float64)}
	for stem, n := range all {
		if ends[stem] == 0 {
			continue
		}
		v.noun[stem] = ends[stem] / (n + prior)
		v.goes[stem] = (goes[stem] + prior*withOther/total) / (n + prior)
	}
	return v
}
