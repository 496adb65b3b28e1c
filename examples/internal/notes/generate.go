package notes

import (
	"math/rand/v2"
	"slices"
)

// statements is the number of features that a note speaks of.
const statements = 2

// usage says how often writers use the unusual words for a term.
type usage struct {
	synonym float64 // instead of the term's name
	typo    float64 // in a query only
}

var (
	everyday = usage{synonym: .3, typo: .12}
	rare     = usage{synonym: .5, typo: .35}
)

// chance returns true with probability p.
func chance(rng *rand.Rand, p float64) bool { return rng.Float64() < p }

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// mention chooses words for a term.
func (u usage) mention(rng *rand.Rand, t *term) mention {
	m := mention{term: t, form: t.forms[0]}
	switch {
	case len(t.forms) > 1 && chance(rng, u.synonym):
		m.form = pick(rng, t.forms[1:])
	case len(t.name()) >= 5 && chance(rng, u.typo):
		m.typo = typo(t.name())
	}
	return m
}

// newQuery draws a query's intent: a category, and at least one of a wanted
// feature, a banned one and a setting.
func newQuery(rng *rand.Rand, u usage) *intent {
	in := &intent{category: pick(rng, categories)}
	in.as = u.mention(rng, in.category.term)
	features := in.category.family.features
	order := rng.Perm(len(features))
	for in.wanted == nil && in.banned == nil && in.setting == nil {
		if chance(rng, .6) {
			m := u.mention(rng, features[order[0]])
			in.wanted = &m
		}
		if chance(rng, .5) {
			m := u.mention(rng, features[order[1]])
			in.banned = &m
		}
		if chance(rng, .6) {
			k := kind(rng.IntN(int(kinds)))
			in.setting = pick(rng, wishesOf[k])
		}
	}
	return in
}

var wishesOf = func() (by [kinds][]*wish) {
	for i := range wishes {
		w := &wishes[i]
		by[w.kind] = append(by[w.kind], w)
	}
	return by
}()

// newNote draws a note that stands in some relation to an intent.
func newNote(rng *rand.Rand, in *intent) *note {
	f := &note{category: relatedCategory(rng, in.category)}
	u := usage{synonym: everyday.synonym}
	f.as = u.mention(rng, f.category.term)

	state := func(t *term, has bool) {
		f.features = append(f.features, statement{u.mention(rng, t), has})
	}
	own := f.category.family.features
	if in.wanted != nil && slices.Contains(own, in.wanted.term) {
		switch x := rng.Float64(); {
		case x < .58:
			state(in.wanted.term, true)
		case x < .8:
			state(in.wanted.term, false)
		}
	}
	if in.banned != nil && slices.Contains(own, in.banned.term) {
		switch x := rng.Float64(); {
		case x < .42:
			state(in.banned.term, true)
		case x < .72:
			state(in.banned.term, false)
		}
	}
	// Other features make up the number, never the two that the query is
	// about: if these are missing, the note is meant to be silent on them.
	for _, i := range rng.Perm(len(own)) {
		if len(f.features) >= statements {
			break
		}
		if t := own[i]; !in.asksAbout(t) {
			state(t, chance(rng, .6))
		}
	}
	rng.Shuffle(len(f.features), func(i, j int) {
		f.features[i], f.features[j] = f.features[j], f.features[i]
	})

	for k := range kinds {
		switch {
		case in.setting != nil && in.setting.kind == k:
			switch x := rng.Float64(); {
			case x < .6:
				f.settings[k] = pick(rng, in.setting.accepts)
			case x < .85:
				f.settings[k] = pick(rng, facts[k])
			}
		case chance(rng, .3):
			f.settings[k] = pick(rng, facts[k])
		}
	}
	return f
}

func (in *intent) asksAbout(t *term) bool {
	return in.wanted != nil && in.wanted.term == t || in.banned != nil && in.banned.term == t
}

// relatedCategory draws the same category, one of the same family, or any
// other one.
func relatedCategory(rng *rand.Rand, c category) category {
	switch x := rng.Float64(); {
	case x < .55:
		return c
	case x < .81:
		for {
			if o := (category{pick(rng, c.family.categories), c.family}); o.term != c.term {
				return o
			}
		}
	default:
		for {
			if o := pick(rng, categories); o.family != c.family {
				return o
			}
		}
	}
}

// rareQuery reports whether the query holds a pair that is held out.
func (in *intent) rareQuery() bool {
	c := in.category.name()
	return in.wanted != nil && heldOut(c, in.wanted.term.name()) ||
		in.banned != nil && heldOut(c, in.banned.term.name()) ||
		in.setting != nil && heldOut(c, in.setting.asked)
}

// rareNote reports whether the note holds a pair that is held out.
func (f *note) rareNote() bool {
	return slices.ContainsFunc(f.features, func(s statement) bool {
		return heldOut(f.category.name(), s.term.name())
	})
}

// rareWords reports whether the query names its category or a feature by a
// synonym or with a typo.
func (in *intent) rareWords() bool {
	return !in.as.plain() ||
		in.wanted != nil && !in.wanted.plain() ||
		in.banned != nil && !in.banned.plain()
}
