package audit_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/stepwise-rl/stepwise/rl/audit"
)

// Draw steps to be labelled by hand: set each truth and read the file again.
func ExampleSample() {
	rows, err := audit.Sample(judged(3, 2), audit.SampleOptions{PerRule: 1, Seed: 2})
	if err != nil {
		panic(err)
	}
	if err := audit.Write(os.Stdout, rows[:2]); err != nil {
		panic(err)
	}
	// Output:
	// {"rule":"a","id":"1#1","completion":"aaBBB.","step":"aa","verdict":"correct","truth":""}
	// {"rule":"b","id":"1#0","completion":"aaBBB.","step":"BBB","verdict":"incorrect","truth":""}
}

// What 200 labelled rows say of a rule.
func Example() {
	var file strings.Builder
	for _, c := range []struct {
		verdict, truth string
		rows           int
	}{{"correct", "correct", 120}, {"correct", "incorrect", 12}, {"incorrect", "incorrect", 50}, {"incorrect", "correct", 3}, {"unknown", "correct", 11}, {"unknown", "unknown", 4}} {
		for range c.rows {
			fmt.Fprintf(&file, `{"rule":"place","verdict":%q,"truth":%q}`+"\n", c.verdict, c.truth)
		}
	}
	rows, err := audit.Read("labels.jsonl", strings.NewReader(file.String()))
	if err != nil {
		panic(err)
	}
	fmt.Print(audit.Format(audit.Tally(rows), .95))
	// Output:
	// rule "place": errors 8.1% (5.0 to 12.9), coverage 94.4% (90.2 to 96.8)
	//   verdict    true correct  incorrect  unknown  precision             recall
	//   correct    120           12         0        90.9% (84.8 to 94.7)  89.6% (83.2 to 93.7)
	//   incorrect  3             50         0        94.3% (84.6 to 98.1)  80.6% (69.1 to 88.6)
	//   unknown    11            0          4
}
