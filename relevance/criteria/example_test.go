package criteria_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// What criteria say of a laptop case for the query "laptop".
func Example() {
	catalogue := []rows.Document{
		{Title: "Acme X1 laptop 16 GB", Fields: []rows.Field{{Name: "brand", Value: "Acme"}}},
		{Title: "Borel laptop case 39 cm", Fields: []rows.Field{{Name: "brand", Value: "Borel"}}},
		{Title: "Borel phone case"},
		{Title: "Borel camera case"},
	}
	collection := criteria.NewCollection(catalogue, criteria.DefaultRoles())
	query, document := collection.Query("acme laptop 40 cm"), collection.Document(catalogue[1])
	for _, c := range []struct {
		name   string
		params map[string]any
	}{
		{"coverage", map[string]any{"field": "title"}},
		{"head", nil},
		{"accessory", nil},
		{"brand", nil},
		{"attribute", map[string]any{"tolerance": .05}},
	} {
		criterion, err := criteria.New(c.name, c.params)
		if err != nil {
			panic(err)
		}
		finding := criterion.Judge(query, document)
		fmt.Printf("%s: %s (%s)\n", criterion.Name(), finding.Fact, finding.Reason)
	}
	// Output:
	// coverage title: 2/4 (the title lacks acme, 40)
	// head title: yes (the title has laptop)
	// accessory: case after match (case follows laptop)
	// brand: other than acme (the brand is not acme)
	// attribute: 40 cm (the document has 40 cm)
}
