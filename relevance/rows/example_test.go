package rows_test

import (
	"fmt"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

func ExampleRead() {
	const file = `{"query": "wireless mouse", "document": {"title": "Logi M185", "brand": "Logi"}, "label": 3}
{"query": "wireless mouse", "document": {"title": "Mouse pad"}, "label": "four"}`
	labels := []string{"0", "1", "2", "3"}

	first, _, _ := strings.Cut(file, "\n")
	es, _ := rows.Read(strings.NewReader(first), "pairs.jsonl", labels)
	fmt.Println(rows.Render(es[0]))
	fmt.Println("label", es[0].Label())

	_, err := rows.Read(strings.NewReader(file), "pairs.jsonl", labels)
	fmt.Println(err)
	// Output:
	// query: wireless mouse
	// title: Logi M185
	// facts: brand Logi
	// label 3
	// pairs.jsonl:2: field "label": is "four", want one of 0, 1, 2, 3
}
