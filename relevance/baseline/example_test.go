package baseline_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/relevance/baseline"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

func ExampleTrain() {
	train := []rows.Example{
		{Query: "tent", Document: rows.Document{Title: "tent"}, Truth: []string{"3"}},
		{Query: "tent", Document: rows.Document{Title: "boots"}, Truth: []string{"0"}},
	}
	c, err := baseline.Train(train, []string{"0", "3"}, baseline.BagOfWords, 1e-2)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The words alone decide, whatever was asked.
	fmt.Println(c.Predict(rows.Example{Query: "boots", Document: rows.Document{Title: "boots"}}))
	// Output: 0
}
