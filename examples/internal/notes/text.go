package notes

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// write renders an intent as a query.
func (in *intent) write(rng *rand.Rand) string {
	head := in.as.written()
	var tail []string
	if w := in.wanted; w != nil {
		tail = append(tail, "with "+pick(rng, []string{w.noun(), w.noun(), w.written()}))
	}
	if b := in.banned; b != nil {
		tail = append(tail, pick(rng, []string{"without " + b.noun(), "without " + b.written(), "no " + b.written()}))
	}
	if s := in.setting; s != nil {
		switch {
		case s.kind == price, s.kind == brand && chance(rng, .5):
			head = s.asked + " " + head
		case s.kind == brand:
			tail = append(tail, "by "+s.asked)
		case s.kind == season && !slices.Contains(facts[season], s.asked):
			tail = append(tail, "for "+s.asked)
		default:
			tail = append(tail, "in "+s.asked)
		}
	}
	rng.Shuffle(len(tail), func(i, j int) { tail[i], tail[j] = tail[j], tail[i] })
	if chance(rng, .25) {
		head = pick(rng, []string{"best ", "good ", "nice "}) + head
	}
	return strings.Join(append([]string{head}, tail...), " ")
}

// noun returns the mention with its article.
func (m mention) noun() string {
	if strings.HasPrefix(string(m.form), "a ") {
		return "a " + m.written()
	}
	return m.written()
}

// write renders what a note states as its title, body and fields. A setting
// stands once: in the title or in a field.
func (f *note) write(rng *rand.Rand, in *intent) rows.Document {
	var d rows.Document
	d.Title = f.as.written()
	if chance(rng, .5) {
		d.Title = pick(rng, []string{"small", "lovely", "simple", "new", "favourite"}) + " " + d.Title
	}
	inTitle := kind(rng.IntN(2 * int(kinds))) // none, half of the time
	for k, v := range f.settings {
		switch k := kind(k); {
		case v == "":
		case k != inTitle || k == price:
			d.Fields = append(d.Fields, rows.Field{Name: kindNames[k], Value: v})
		case k == brand:
			d.Title += " by " + v
		default:
			d.Title += " in " + v
		}
	}

	var b strings.Builder
	if chance(rng, .2) {
		openers := []string{"i use it a lot. ", "a good find. ", "bought it last week. "}
		if f.category.family.venue {
			openers = []string{"we went twice. ", "a good find. ", "stopped by last week. "}
		}
		b.WriteString(pick(rng, openers))
	}
	for i, s := range f.features {
		if i > 0 {
			b.WriteString(pick(rng, []string{", ", ", ", " and "}))
		}
		if s.has {
			b.WriteString(pick(rng, []string{"has ", "has ", "comes with "}) + s.noun())
		} else {
			b.WriteString(pick(rng, []string{"no ", "no ", "without "}) + s.written())
		}
	}
	b.WriteByte('.')
	if chance(rng, .25) {
		b.WriteString(f.aside(rng, in))
	}
	d.Body = b.String()
	return d
}

// aside is a remark on something that the note is not about: half of the time
// on what the query asks for, so that finding its word in the note says little.
func (f *note) aside(rng *rand.Rand, in *intent) string {
	c := in.category
	if chance(rng, .5) {
		c = pick(rng, categories)
	}
	for c.term == f.category.term {
		c = pick(rng, categories)
	}
	word := pick(rng, c.forms).word()
	if c.family.venue {
		return " not far from the " + word + "."
	}
	return " goes well with my " + word + "."
}
