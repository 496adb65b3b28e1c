// Package local is a rollout engine that samples from a decoder in the same
// process, with a KV cache and continuous batching.
//
// # How it samples
//
// One forward pass after the other computes the next token of every running
// completion and, with what room is left in the pass, rows of the prompts that
// come next. A completion that ends leaves at once and one that waits takes
// its place, so a long one holds up nobody.
//
// A prompt is computed once, whatever the size of its group: its keys and
// values stay in the cache until the last of its completions has ended, and
// each of these attends to them and to rows of its own. Nothing is copied.
//
// Memory is bounded by [Options]: the sequences that run at once, the rows of
// a pass, and the rows of the cache. Requests that do not fit wait; one that
// can never fit is an error. A row of the cache takes 8 bytes for each layer,
// key head and element of a head. During a call, or until Refresh if
// [Options.Static] says so, the decoder's weights are laid out for decoding
// (model.Decoder.Pack), if the backend can, which takes their memory once more.
//
// Tokens are drawn by as many goroutines as GOMAXPROCS allows.
//
// # What the same seed gives
//
// Each sample draws from a random stream of its own, and every completion is
// computed from its own rows alone. So a request gives the same samples
// whatever it is batched with, provided that the backend computes a row of a
// matrix product the same way whatever the number of rows; where it rounds
// differently, log-probs differ in their last bits, and a draw that falls
// between them can differ.
package local
