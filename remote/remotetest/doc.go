// Package remotetest has servers for the tests of programs that talk to inference,
// training and judge servers. Both run in the test's own process.
//
// A [Replay] answers from a recording of a real server: JSON lines, one [Exchange]
// each, that [ReadRecording] reads. Recordings of llama.cpp, vLLM and SkyRL are in
// testdata, made by its script excerpt.py.
//
// A [Proxy] stands before any http.Handler, a Replay or httputil.ReverseProxy for
// example, and does to some requests what happens to requests: connections that
// are refused or reset, 429 and 500, answers that are cut off, malformed, slow, wrong
// or never come, requests that arrive twice, a server that dies ([Fault] lists them).
// Which requests are hit is drawn from a seed, or written down by number. The same
// seed hits the same requests whatever order they arrive in, and [Proxy.Counts] says
// what was done, so a test can check that a run's numbers are those of a run without
// faults, and that nothing was lost or counted twice.
//
// Examples are in example_test.go.
package remotetest
