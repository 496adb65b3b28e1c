// Package infile reads files without trusting them. It never waits for a pipe or
// reads a device without end, allocates nothing before it knows the size, and bounds
// the length of files and lines. Its errors name what Python writes as JSON although
// JSON does not allow it.
package infile
