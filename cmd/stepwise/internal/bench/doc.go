// Package bench measures the CPU engine ([Run], which go run ./cmd/stepwise bench
// prints) and other work that spans several packages; its programs under peers
// measure the same work in other systems. docs/performance.md has results.
package bench
