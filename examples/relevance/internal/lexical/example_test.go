package lexical_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/examples/relevance/internal/lexical"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

func ExampleNew() {
	train := []rows.Example{{
		ID: "1", Query: "laptop", Truth: []string{"0"},
		Document: rows.Document{Title: "Sleeve for 15\" Laptops", Fields: []rows.Field{{Name: "brand", Value: "Acme"}}},
	}}
	test := []rows.Example{{ID: "2", Query: "mouse", Truth: []string{"3"}, Document: rows.Document{Title: "Mouse"}}}
	task := lexical.Task{Labels: []string{"0", "1", "2", "3"}, Relevant: "2"}
	src, err := lexical.New(task, train, test)
	if err != nil {
		fmt.Println(err)
		return
	}
	e := src.Train(0)
	fmt.Println(src.Input(e))
	for k, step := range src.Steps {
		fmt.Println(step.Name, "=", e.Truth[k])
	}
	// Output:
	// query: laptop
	// title: Sleeve for 15" Laptops
	// facts: brand Acme
	// head = yes
	// coverage = title
	// accessory = yes
	// supplier = none
	// grade = 0
}
