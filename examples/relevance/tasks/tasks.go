// Package tasks holds the task files of the main job: generated notes, Chorus and a
// Chinese shop.
package tasks

import _ "embed" // notes.yaml

// Notes is notes.yaml. Its data come from a generator in Go, which has to be given to
// the task; see package notes beside this one.
//
//go:embed notes.yaml
var Notes []byte
