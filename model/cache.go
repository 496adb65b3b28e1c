package model

import "github.com/stepwise-rl/stepwise/tensor"

// Cache holds the keys and values of rows that a decoder has computed, so
// that decoding computes each row once. What its rows stand for is the
// caller's affair: a prompt's rows can serve all the completions of its group.
type Cache struct {
	rows int
	k, v []tensor.Buffer // per layer, [rows×kvHeads·headDim]
}

// Step is a number of tokens to run through a decoder with a cache: whole
// prompts, one next token of many sequences, or both. All slices but
// LogitRows have one entry per token.
type Step struct {
	// Tokens are the token ids, and Pos their positions in their sequences.
	Tokens, Pos []int32
	// Slots[i] is the cache row that receives token i's keys and values.
	Slots []int32
	// Spans[i] lists the cache rows that token i attends to, its own slot
	// included, as do the slots of tokens before it in the same step.
	Spans [][]tensor.Span
	// LogitRows are the indices of the tokens whose logits are wanted.
	LogitRows []int32
}

// NewCache returns a cache of the given number of rows (tokens). It lives
// until Free.
func (d *Decoder) NewCache(rows int) *Cache { panic("model: NewCache: not built yet") }

// Free releases the cache's buffers.
func (c *Cache) Free() { panic("model: Cache.Free: not built yet") }

// Rows is the number of rows that the cache can hold.
func (c *Cache) Rows() int { return c.rows }

// Append runs the step's tokens through the decoder: it stores their keys and
// values at their slots, and writes the logits that predict the token after
// each of LogitRows into logits [len(LogitRows)×Vocab] (at temperature 1).
// Slots that are used again are overwritten. A token, position, slot or span
// out of range is an error that names the entry; nothing is computed then.
func (d *Decoder) Append(c *Cache, s *Step, logits []float32) error {
	panic("model: Append: not built yet")
}
