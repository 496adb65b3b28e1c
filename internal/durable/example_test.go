package durable_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

func ExampleReplaceFile() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "position.json")
	for _, text := range []string{`{"step":1}`, `{"step":2}`} { // a crash leaves the one or the other
		if err := durable.ReplaceFile(path, []byte(text)); err != nil {
			panic(err)
		}
	}
	text, err := os.ReadFile(path)
	fmt.Println(string(text), err)
	// Output: {"step":2} <nil>
}
