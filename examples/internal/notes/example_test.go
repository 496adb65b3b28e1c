package notes_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/examples/internal/notes"
)

func ExampleNew() {
	src := notes.New(notes.Config{Seed: 1, TestSize: 100, Teacher: notes.DefaultTeacher()})
	e := src.Train(6)
	fmt.Println(src.Input(e))
	fmt.Println()
	for k, thought := range e.Teach(rand.New(rand.NewPCG(1, 1))) {
		fmt.Printf("%s: %s: %s (truth: %s)\n", src.Steps[k].Name, thought.Reasoning, thought.Answer, e.Truth[k])
	}
	// Output:
	// query: backpack with a zip for spring
	// title: new hotel
	// body: we went twice. has a terrace, has wifi.
	// facts: price low
	//
	// category: backpack, note hotel: other (truth: other)
	// attribute: zip, note silent: unmet (truth: unmet)
	// setting: spring, note silent: unmet (truth: unmet)
	// exclusion: nothing excluded: none (truth: none)
	// label: other category: 0 (truth: 0)
}
