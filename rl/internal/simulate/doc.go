// Package simulate measures asynchronous training without servers and without a
// model: trainer and loop are package rl's, and an engine and a policy only take time.
// In a bubble of testing/synctest that is virtual time, so that hours pass in seconds:
//
//	go test ./rl/internal/simulate -run Table -v -args -table
//
// prints throughput against staleness. The fleet's numbers are flags, for comparison
// with servers that were measured; "-args -h" lists them. Outside of a bubble, Run takes
// real time.
//
// # What limits the throughput
//
// Let W be the time that a collection takes to sample with all slots in use, L the time
// of its longest sample, U that of an update, and s the bound on staleness. When the last
// sample of collection k gets its slot, the s collections behind it are in the queue, and
// keep all slots busy for s·W. The next collection is begun when collection k has ended,
// after at most L, and been trained on. So, with rl.Async.Partial, the servers are never
// idle but for the refreshes if
//
//	L + U ≤ s·W
//
// Both sides can be set: fewer tokens at most, larger collections, or more staleness.
// Beyond that, s training steps take L + U and a refresh each. Without Partial, a training
// step takes the time until all samples have ended, about W + L, or U if that is more.
package simulate
