package durabletest_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/internal/durable/durabletest"
)

func ExampleJournal_States() {
	root, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(root)
	journal, stop := durabletest.Record(root)
	f, err := durable.Create(filepath.Join(root, "log"))
	if err != nil {
		panic(err)
	}
	_, err = f.Write([]byte("a line\n"))
	stop()
	fmt.Println(err, f.Close())

	// Nothing was synced yet, so a power failure could lose all of it.
	for n := range journal.Len() {
		fmt.Println(journal.Call(n).Op)
	}
	fmt.Println(len(journal.States(journal.Len())) > 1)
	// Output:
	// <nil> <nil>
	// create
	// write
	// true
}
