// Package explain computes the value that step credit optimises. It lists all
// groups of a small [World] instead of sampling them.
//
// The gradient that an estimator and a credit give a step is that of the mean of
// some value of the completion, with that value held fixed. [Credit] finds the
// value for every combination of a right or wrong answer and a right or wrong
// step, for the credits of package sam and for custom ones:
//
//	report, err := explain.Credit(advantage.PerGroup(advantage.RLOO{}), sam.Mask{}, explain.Typical())
//	if err != nil { … }
//	fmt.Print(report)
//
// Groups is the enumeration itself, for custom worlds.
//
// Examples are in example_test.go.
package explain
