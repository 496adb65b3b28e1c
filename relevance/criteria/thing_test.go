package criteria

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// A thing's name is found in small letters, in the type field, before "for", and among
// capitals; what titles count, makers' names and adjectives in the type field are none.
func TestThing(t *testing.T) {
	with := func(title, brand, kind string) rows.Document {
		return rows.Document{Title: title, Fields: []rows.Field{{Name: "brand", Value: brand}, {Name: "type", Value: kind}}}
	}
	all := []rows.Document{
		with("Xerox 006R toner cartridge Original", "Xerox", "Original"),
		with("Xerox 007R toner cartridge Original", "Xerox", "Original"),
		with("HP Pavilion Notebook Silver 1440 x 900 pixels", "HP", "Notebook"),
		with("HP Sleeve notebook case", "HP", ""),
		with("HP DC1 notebook case", "HP", ""),
		with("LG L17 monitor 1280 x 1024 pixels", "LG", ""),
		with("Tripp Lite Patch Cable", "Tripp Lite", ""),
		with("Manhattan USB cable", "Manhattan", ""),
		with("C2G audio cable", "C2G", ""),
		with("StarTech.com 0.5in Cable - Black", "StarTech.com", ""),
		with("Borel K2 strap for Nikon", "Borel", ""),
		with("Philips DLM63086", "Philips", ""),
		with("K12", "Borel", "patch panel"),
	}
	c := NewCollection(all, DefaultRoles())
	want := []Thing{
		{"toner cartridge", "cartridge"}, {"toner cartridge", "cartridge"}, {"notebook", "notebook"}, {"notebook case", "case"}, {"notebook case", "case"},
		{"monitor", "monitor"}, {"cable", "cable"}, {"cable", "cable"}, {"audio cable", "cable"}, {"cable", "cable"}, {"strap", "strap"}, {}, {"patch panel", "panel"},
	}
	for i, d := range c.Documents() {
		got, ok := c.Thing(d)
		assert.Equal(t, want[i], got, d.Title)
		assert.Equal(t, want[i] != Thing{}, ok, d.Title)
	}

	// Where names have capitals throughout, the last of them before a little word.
	c = NewCollection([]rows.Document{
		{Title: "Acme stainless steel Circular Saw"}, {Title: "Acme heavy Saw with Case"}, {Title: "Acme cordless Drill"}, {Title: "Acme small Drill for Wood"},
		{Title: "Borel long Saw"}, {Title: "Borel red Saw"}, {Title: "Borel blue Drill"}, {Title: "Borel green Drill"},
	}, DefaultRoles())
	for i, want := range []string{"saw", "saw", "drill", "drill"} {
		got, ok := c.Thing(c.Documents()[i])
		assert.True(t, ok)
		assert.Equal(t, want, got.Head)
	}
}
