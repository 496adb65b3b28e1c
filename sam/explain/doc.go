// Package explain says what step credit optimises, by listing all groups of a
// small world instead of sampling them.
//
// The gradient that an estimator and a credit give a step is that of the mean of
// some value of the completion, if the advantages' factors are held fixed.
// [Credit] finds this value for every combination of a right or wrong answer and
// a right or wrong step, for the credit of package sam or a custom one:
//
//	report, err := explain.Credit(advantage.PerGroup(advantage.RLOO{}), sam.Mask{}, explain.Typical())
//	if err != nil { … }
//	fmt.Print(report)
//
// [Groups] is the enumeration itself, for worlds of your own.
package explain
