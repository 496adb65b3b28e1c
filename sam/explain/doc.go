// Package explain says what a credit rule optimises, by listing all groups of a
// small world instead of sampling them.
//
// The gradient that an estimator and a credit rule give a step is that of the
// mean of some value of the completion, if the advantages' factors are held
// fixed. [Rule] finds this value for every combination of a right or wrong
// answer and a right or wrong step, for a rule of package sam or of one's own:
//
//	report, err := explain.Rule(advantage.PerGroup(advantage.RLOO{}), sam.Mask{}, explain.Typical())
//	if err != nil { … }
//	fmt.Print(report)
//
// [Groups] is the enumeration itself, for worlds of one's own.
package explain
