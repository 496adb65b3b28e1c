package notes

import (
	"math/rand/v2"
	"slices"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Teacher writes reasoning traces by the rules, and errs on purpose. Each
// field is the probability of one kind of error where it can happen.
type Teacher struct {
	// Synonym: two words for one thing are taken for two things, and a place
	// or time is not seen to lie in the one asked for.
	Synonym float64
	// Typo: a misspelt word is taken for an unknown one.
	Typo float64
	// Negation: a "no" is overlooked, in the query or in the note.
	Negation float64
	// Confuse: a related category passes for the same.
	Confuse float64
	// Noise: a step states one of its other answers, whatever it reasoned.
	Noise float64
	// Glance: the label is a direct look at the pair rather than what follows
	// from the steps as written. GlanceError: that look then is wrong, and
	// sees one of the other labels.
	Glance, GlanceError float64
}

// DefaultTeacher errs often enough that a policy that copies it has much to
// repair: three times in four it has looked at the pair before it reasons, so
// its labels are right for about three pairs in four, but nearly half of its
// traces are right with a wrong step.
func DefaultTeacher() Teacher {
	return Teacher{
		Synonym: .6, Typo: .55, Negation: .4, Confuse: .4, Noise: .02,
		Glance: .75, GlanceError: .15,
	}
}

// trace writes one trace, one thought per step. The reasoning quotes what the
// teacher read: "cabin, note hotel". Where it resolved a synonym or a
// typo it names the thing itself, where it did not it quotes the word.
func (t Teacher) trace(rng *rand.Rand, in *intent, f *note) []rows.Thought {
	thoughts := make([]rows.Thought, numSteps)
	blind := chance(rng, t.Negation) // to the query's "no"
	thoughts[stepCategory] = t.category(rng, in, f)
	thoughts[stepAttribute] = t.attribute(rng, in, f, blind)
	thoughts[stepSetting] = t.setting(rng, in, f)
	thoughts[stepExclusion] = t.exclusion(rng, in, f, blind)
	for i := range stepLabel {
		thoughts[i].Answer = t.noisy(rng, i, thoughts[i].Answer)
	}

	label := Label(thoughts[stepCategory].Answer, thoughts[stepAttribute].Answer,
		thoughts[stepSetting].Answer, thoughts[stepExclusion].Answer)
	if chance(rng, t.Glance) {
		label = judge(in, f)[stepLabel]
		if chance(rng, t.GlanceError) {
			label = another(rng, answers[stepLabel], label)
		}
	}
	thoughts[stepLabel] = rows.Thought{Reasoning: because[label], Answer: label}
	return thoughts
}

// because gives the reason for each label.
var because = map[string]string{
	"-1": "excluded",
	"0":  "other category",
	"1":  "related category",
	"2":  "something unmet",
	"3":  "all met",
}

func (t Teacher) noisy(rng *rand.Rand, step int, answer string) string {
	if chance(rng, t.Noise) {
		return another(rng, answers[step], answer)
	}
	return answer
}

// another returns one of the other answers.
func another(rng *rand.Rand, list []string, answer string) string {
	return list[(slices.Index(list, answer)+1+rng.IntN(len(list)-1))%len(list)]
}

// read decides whether the teacher sees through a pair of wordings of terms,
// and returns the words as it quotes them.
func (t Teacher) read(rng *rand.Rand, query, note mention) (q, n string, ok bool) {
	switch {
	case query.typo != "" && chance(rng, t.Typo):
		return query.written(), note.term.name(), false
	case query.form != note.form && chance(rng, t.Synonym):
		return query.form.word(), note.form.word(), false
	}
	return query.term.name(), note.term.name(), true
}

func (t Teacher) category(rng *rand.Rand, in *intent, f *note) rows.Thought {
	truth := judge(in, f)[stepCategory]
	q, n, ok := t.read(rng, in.as, f.as)
	answer := truth
	switch {
	case !ok && truth == Same:
		answer = Related
	case !ok:
		answer = Other
	case truth == Related && chance(rng, t.Confuse):
		answer = Same
	}
	return rows.Thought{Reasoning: q + ", note " + n, Answer: answer}
}

// feature looks a term of the query up in the note, and returns the
// quotation of what it found and whether it thinks that the note has it.
func (t Teacher) feature(rng *rand.Rand, m *mention, f *note) (quote string, has bool) {
	s, said := f.about(m.term)
	if !said {
		return m.term.name() + ", note silent", false
	}
	q, n, ok := t.read(rng, *m, s.mention)
	switch {
	case !ok:
		return q + ", note silent", false
	case s.has || chance(rng, t.Negation):
		return q + ", note " + n, true
	default:
		return q + ", note no " + n, false
	}
}

func (t Teacher) attribute(rng *rand.Rand, in *intent, f *note, blind bool) rows.Thought {
	wanted := in.wanted
	if wanted == nil && blind {
		wanted = in.banned
	}
	if wanted == nil {
		return rows.Thought{Reasoning: "nothing asked", Answer: None}
	}
	quote, has := t.feature(rng, wanted, f)
	if has {
		return rows.Thought{Reasoning: quote, Answer: Met}
	}
	return rows.Thought{Reasoning: quote, Answer: Unmet}
}

func (t Teacher) exclusion(rng *rand.Rand, in *intent, f *note, blind bool) rows.Thought {
	if in.banned == nil || blind {
		return rows.Thought{Reasoning: "nothing excluded", Answer: None}
	}
	quote, has := t.feature(rng, in.banned, f)
	if has {
		return rows.Thought{Reasoning: quote, Answer: Violated}
	}
	return rows.Thought{Reasoning: quote, Answer: Clear}
}

func (t Teacher) setting(rng *rand.Rand, in *intent, f *note) rows.Thought {
	w := in.setting
	if w == nil {
		return rows.Thought{Reasoning: "nothing asked", Answer: None}
	}
	fact := f.settings[w.kind]
	if fact == "" {
		return rows.Thought{Reasoning: w.asked + ", note silent", Answer: Unmet}
	}
	answer := Unmet
	if w.satisfiedBy(fact) && (w.asked == fact || !chance(rng, t.Synonym)) {
		answer = Met
	}
	return rows.Thought{Reasoning: w.asked + ", note " + fact, Answer: answer}
}
