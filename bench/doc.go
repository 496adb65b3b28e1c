// Package bench measures work that spans several packages; its programs under
// peers measure the same work in the Python trainers. docs/performance.md has
// results.
package bench
