// Package taskfile reads task files: which labels there are, where the judged pairs
// stand, what the model sees of a pair, in which steps it reasons and who judges them.
// docs/taskfile.md explains the form.
//
// [Open] reads a file and its data and returns a [Task], whose Source is all that a
// training run needs. [Parse] reads the file alone. A [File] can also be made in Go.
//
// The truth of a step comes from a column of the data, from a criterion of package
// criteria, from an expression over the pair and the earlier answers, or from a judge
// that the caller brings along.
package taskfile
