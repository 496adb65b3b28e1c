package prompt_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/prompt"
)

// A template renders the prompt, and its parser takes apart what a model
// answers.
func Example() {
	type pair struct{ Query, Note string }
	template := prompt.Template[pair]{
		System: "You judge how well a note answers a query.",
		Steps: []prompt.Step[pair]{
			{Name: "topic", Instruction: "Is the note about the query's topic?", Answers: []string{"yes", "no"}},
			{Name: "grade", Instruction: "Grade the note.", Answers: []string{"0", "1", "2"}},
		},
		Input: func(p pair) string { return "Query: " + p.Query + "\nNote: " + p.Note },
	}
	fmt.Println(template.Render(pair{"ramen osaka", "Ten bowls of ramen in Osaka"}))

	trace := template.Parser().Parse(`<step name="topic">Ramen, in Osaka. \boxed{yes}</step> <step name="grade">Good. \boxed{3}</step>`, nil)
	for _, step := range trace.Steps {
		fmt.Println(step.Name, step.Bytes, step.Answer, step.Status)
	}
	fmt.Println(trace.Problems)
	// Output:
	// You judge how well a note answers a query.
	//
	// Reason in these steps:
	// 1. topic: Is the note about the query's topic?
	// 2. grade: Grade the note.
	//
	// Write the steps in this order and in exactly this form. State each step's answer once, in its box:
	// <step name="topic">reasoning \boxed{yes or no}</step>
	// <step name="grade">reasoning \boxed{0 or 1 or 2}</step>
	//
	// Query: ramen osaka
	// Note: Ten bowls of ramen in Osaka
	//
	// topic {0 54} yes ok
	// grade {55 96} 3 invalid answer
	// [byte 87: step "grade" answers "3", which is not one of 0, 1, 2]
}

// A teacher's reasoning becomes a completion that the parser reads back.
func ExampleTemplate_Write() {
	template := prompt.Template[string]{
		Steps: []prompt.Step[string]{{Name: "topic"}, {Name: "grade"}},
		Input: func(s string) string { return s },
	}
	text, err := template.Write([]prompt.Written{
		{Reasoning: "The note is about ramen.", Answer: "yes"},
		{Reasoning: "It names the place.", Answer: "2"},
	})
	fmt.Println(text, err)
	// Output:
	// <step name="topic">The note is about ramen. \boxed{yes}</step>
	// <step name="grade">It names the place. \boxed{2}</step> <nil>
}

// Token ranges come from the byte offsets at which the sampled tokens end. The
// third token begins in step a and so belongs to it, though it ends in step b.
func ExampleParser() {
	parser := prompt.Boxed{}.Parser([]prompt.StepSpec{{Name: "a"}, {Name: "b"}})
	tokens := []string{`\boxed{`, `1`, `} so`, ` \boxed{`, `2}`, ""}
	var text string
	var ends []int
	for _, token := range tokens {
		text += token
		ends = append(ends, len(text))
	}
	trace := parser.Parse(text, ends)
	fmt.Println(trace.Steps[0].Tokens, trace.Steps[1].Tokens, trace.Steps[1].AnswerTokens)
	// Output: {0 3} {3 5} {4 5}
}
