// Package parity speaks the JSON lines with which programs in other languages
// use the algorithm core: groups of judged completions in and advantages per
// token out ([Advantages]), log-probs in and a loss with its gradient out
// ([Loss]).
//
// docs/parity-format.md describes the format for those who write it. The
// readers take nothing on trust: a line that is not exactly what the format
// says is a [LineError] with the line's number and the field's path, and there
// is no input on which they panic. They are written by hand because
// encoding/json can neither name the field of every error nor tell a field
// that is missing or given twice.
package parity
