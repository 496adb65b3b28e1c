package posir

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// The words of generated documents: things of eight topics, and what is said of all.
var (
	topics = [][]string{
		strings.Fields("harbour ship anchor crew cargo lighthouse dock sailor captain winch tide pilot"),
		strings.Fields("orchard tree apple farmer harvest fence barn tractor seed field cider ladder"),
		strings.Fields("kitchen oven baker bread flour table spoon recipe guest cellar kettle stove"),
		strings.Fields("museum painting visitor curator statue gallery frame ticket guard archive vase hall"),
		strings.Fields("railway train station engine driver bridge tunnel signal passenger platform timetable carriage"),
		strings.Fields("hospital nurse doctor patient ward ambulance clinic surgeon bandage pharmacy thermometer bed"),
		strings.Fields("theatre actor stage curtain audience costume director ticket orchestra rehearsal balcony script"),
		strings.Fields("mountain hut glacier climber rope summit valley guide storm path goat avalanche"),
	}
	adjectives = strings.Fields("old quiet rusty bright narrow famous heavy empty wooden distant careful broken green early strange large small clean hidden northern cheap noble wet crowded")
	verbs      = strings.Fields("repaired watched moved painted described closed opened found lost crossed visited measured sold cleaned carried reached")
	times      = strings.Fields("yesterday slowly again often twice finally together alone early late carefully silently")
	joins      = strings.Fields("before after behind near above beside without beyond")
)

// Generate draws n documents of simple English sentences about one of eight topics,
// whose lengths are in balance over the length buckets, counted in words. They are for
// tests and examples.
func Generate(n int, seed uint64) []Document {
	random := rand.New(rand.NewPCG(seed, 3))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	documents := make([]Document, n)
	for i := range documents {
		things := topics[i/Buckets%len(topics)]
		thing := func() string { return "the " + pick(adjectives) + " " + pick(things) }
		var text strings.Builder
		for words, length := 0, 512*(i%Buckets)+40+random.IntN(440); words < length; {
			s := thing() + " " + pick(verbs) + " " + thing()
			switch random.IntN(3) {
			case 0:
				s += " " + pick(times)
			case 1:
				s += " " + pick(joins) + " " + thing()
			}
			words += len(strings.Fields(s))
			text.WriteString(strings.ToUpper(s[:1]) + s[1:] + ". ")
		}
		documents[i] = Document{ID: fmt.Sprintf("d%04d", i), Text: strings.TrimSpace(text.String())}
	}
	return documents
}
