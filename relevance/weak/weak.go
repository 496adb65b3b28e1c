// Package weak makes training pairs of a catalogue that nobody has judged.
//
// A query is made up from what a document says of itself: the kind of thing that its
// title or type field names, alone or with its maker, one of its attributes, or the name
// of its product line. The document fits that query by construction; another thing that
// only mentions it (a bag for it, a part of it), comes from the same maker, or is any
// other, does not; the same kind of thing without the maker or attribute that was asked
// for is in between. A model that is trained on such pairs first has learnt what a title
// is about before it sees a judgement; it is not an answer to what raters think.
//
// Queries that are to be tested on are held out: see [Settings].Held.
package weak

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/split"
)

// Pair is a made-up query with a document.
type Pair struct {
	Query string
	// Document is the document's place in the collection.
	Document int
	// Grade is how well it fits by construction: [Fits], [Partly] or [Misses].
	Grade float64
}

// The grades of pairs, from 0 to 1.
const (
	Misses = 0.      // another kind of thing
	Partly = 1. / 3. // the kind of thing that is asked for, without what else is asked for
	Fits   = 1.
)

// Settings are the settings of Make.
type Settings struct {
	// Pairs is the number of pairs.
	Pairs int
	Seed  uint64
	// Held are queries that no weak query may be equal to after normalising
	// ([split.Key]): those to be tested on.
	Held []string
}

// Validate returns an error that names the first invalid setting.
func (s Settings) Validate() error {
	if s.Pairs < 1 {
		return fmt.Errorf("weak: Settings.Pairs is %d, want at least 1", s.Pairs)
	}
	return nil
}

// Report says what was made.
type Report struct {
	// Documents is how many documents say what they are, of All, and Kinds how many
	// kinds of things two or more of them are.
	Documents, All, Kinds int
	// Fits, Partly and Misses count the pairs of each grade.
	Fits, Partly, Misses int
	// Dropped counts the queries that were made and not used because they are held
	// out, and Held lists them once each, by their key, in order.
	Dropped int
	Held    []string
}

// String is the report in one line.
func (r Report) String() string {
	return fmt.Sprintf("%d weak pairs (%d fit, %d partly, %d do not): %d of %d documents say what they are, of %d kinds; %d queries dropped that are equal to a held one, %d different",
		r.Fits+r.Partly+r.Misses, r.Fits, r.Partly, r.Misses, r.Documents, r.All, r.Kinds, r.Dropped, len(r.Held))
}

// ErrNoKinds is the error of a catalogue in which no two documents are known to be of
// the same kind, and another of another.
var ErrNoKinds = errors.New("weak: fewer than two kinds of things with two documents each are named in titles or type fields")

// Make makes pairs. The same documents and settings give the same pairs. The error is
// that of Settings.Validate, or wraps ErrNoKinds.
func Make(c *criteria.Collection, s Settings) ([]Pair, Report, error) {
	if err := s.Validate(); err != nil {
		return nil, Report{}, err
	}
	m := newMaker(c, s)
	report := Report{All: len(c.Documents()), Documents: len(m.known), Kinds: len(m.kinds)}
	if len(m.kinds) < 2 {
		return nil, report, ErrNoKinds
	}
	held, seen := make(map[string]bool), make(map[string]bool)
	for _, q := range s.Held {
		held[split.Key(q)] = true
	}
	var pairs []Pair
	add := func(q query, document int, grade float64, count *int) {
		if document >= 0 && len(pairs) < s.Pairs {
			pairs = append(pairs, Pair{q.text, document, grade})
			*count++
		}
	}
	// A catalogue whose every query is held out would never end.
	for n := 0; len(pairs) < s.Pairs; n++ {
		if n > 10*s.Pairs+1000 {
			return nil, report, fmt.Errorf("%w that are not held out", ErrNoKinds)
		}
		q := m.query()
		if key := split.Key(q.text); held[key] {
			report.Dropped++
			if !seen[key] {
				seen[key] = true
				report.Held = append(report.Held, key)
			}
			continue
		}
		add(q, q.of, Fits, &report.Fits)
		add(q, m.miss(q), Misses, &report.Misses)
		if len(q.condition) > 0 && m.rng.IntN(2) == 0 {
			add(q, m.part(q), Partly, &report.Partly)
		}
	}
	slices.Sort(report.Held)
	return pairs, report, nil
}

// doubt is the share of a weak label that is spread over all labels.
const doubt = .1

// Belief is a grade from 0 to 1 as a distribution over labels in ascending order: it lies
// between the two labels that are next to it on an even scale, and a tenth is spread over
// all of them, for the label is made up.
func Belief(grade float64, labels int) []float64 {
	p := make([]float64, labels)
	for i := range p {
		p[i] = doubt / float64(labels)
	}
	at := grade * float64(labels-1)
	low := min(int(math.Floor(at)), labels-1)
	share := at - float64(low)
	p[low] += (1 - doubt) * (1 - share)
	if share > 0 {
		p[low+1] += (1 - doubt) * share
	}
	return p
}
