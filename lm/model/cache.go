package model

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Cache holds the keys and values of rows (tokens) that a decoder has computed,
// so that decoding computes each row once. The caller decides what its rows
// stand for: a prompt's rows can serve all the completions of its group.
type Cache struct {
	b    tensor.Backend
	k, v []tensor.Buffer // per layer, of the backend's CacheLen

	decode tensor.Decode // holds the cache's shape
	arena  *arena
	pass   pass
	slot   []bool // scratch: the slots that a batch writes
}

// CacheBatch is a batch of tokens to run through a decoder with a cache: whole
// prompts, the next tokens of many sequences, or both. All slices but LogitRows
// have one entry per token.
type CacheBatch struct {
	// Tokens are the token ids, and Pos their positions in their sequences.
	Tokens, Pos []int32
	// Slots[i] is the cache row that receives token i's keys and values; no
	// two are equal.
	Slots []int32
	// Ranges[i] are the ranges of cache rows that token i attends to. They
	// include its own slot, and may include slots of other tokens of the same
	// batch.
	Ranges [][]tensor.Range
	// LogitRows are the indices of the tokens whose logits are wanted.
	LogitRows []int32
}

// NewCache returns a cache of the given number of rows (tokens), at least 1,
// on the decoder's backend. It holds memory until Free. If there is none, the backend's
// error sticks, and the next pass returns it.
func (d *Decoder) NewCache(rows int) *Cache {
	if rows < 1 {
		panic(fmt.Sprintf("model: NewCache(%d)", rows))
	}
	c := &Cache{b: d.b, arena: newArena(d.b), slot: make([]bool, rows)}
	c.decode.Cache = tensor.CacheShape{Rows: rows, KVHeads: d.cfg.KVHeads, HeadDim: d.cfg.HeadDim}
	size, alloc := tensor.CacheLen(d.b, c.decode.Cache), d.b.Alloc
	if halves(d.b) {
		alloc = func(n int) tensor.Buffer { return tensor.Alloc16(d.b, n) }
	}
	for range d.trunk.Blocks {
		c.k = append(c.k, alloc(size))
		c.v = append(c.v, alloc(size))
	}
	return c
}

// Free releases the cache's buffers.
func (c *Cache) Free() {
	for i := range c.k {
		c.b.Free(c.k[i])
		c.b.Free(c.v[i])
	}
	c.k, c.v = nil, nil
	c.arena.Free()
}

// Rows returns how many rows the cache can hold.
func (c *Cache) Rows() int { return c.decode.Cache.Rows }

// Append runs a batch's tokens through the decoder. It stores their keys and
// values in their slots, overwriting what was there, and writes the logits at
// temperature 1 for the token after each of LogitRows into logits
// [len(LogitRows)×Vocab]. A token, position, slot or range out of bounds is an
// error that names the entry, and then nothing is computed. After Append no
// Backward can follow an earlier Forward. It panics if logits does not fit.
func (d *Decoder) Append(c *Cache, s *CacheBatch, logits []float32) error {
	if len(logits) != len(s.LogitRows)*d.cfg.Vocab {
		panic(fmt.Sprintf("model: %d rows of %d logits, but room for %d logits", len(s.LogitRows), d.cfg.Vocab, len(logits)))
	}
	x, err := d.append(c, s)
	if err != nil {
		return err
	}
	if len(s.LogitRows) == 0 {
		return d.b.Sync()
	}
	return appended(s, d.head.Logits(&c.pass, x, s.LogitRows, logits))
}

// AppendDraw is Append that draws tokens in place of reading logits: draws.Rows are
// indices of s.LogitRows, and drawn [len(draws.Rows)×3] is as tensor.Sampler writes
// it: token, log-prob at its temperature, log-prob at temperature 1. It panics if the
// backend is no tensor.Sampler.
func (d *Decoder) AppendDraw(c *Cache, s *CacheBatch, draws *tensor.Draws, drawn []float32) error {
	sampler, ok := d.b.(tensor.Sampler)
	if !ok {
		panic("model: AppendDraw on backend " + d.b.Name() + ", which draws no tokens (tensor.Sampler)")
	}
	if len(drawn) != 3*len(draws.Rows) {
		panic(fmt.Sprintf("model: %d tokens to draw, but room for %d values, want 3 of each", len(draws.Rows), len(drawn)))
	}
	for i, r := range draws.Rows {
		if r < 0 || int(r) >= len(s.LogitRows) {
			return fmt.Errorf("model: token %d is drawn from logits %d, want 0 to %d", i, r, len(s.LogitRows)-1)
		}
	}
	x, err := d.append(c, s)
	if err != nil {
		return err
	}
	if len(draws.Rows) == 0 {
		return d.b.Sync()
	}
	return appended(s, d.b.Read(drawn, d.head.Draw(&c.pass, sampler, x, s.LogitRows, draws)))
}

// appended names the pass in an error.
func appended(s *CacheBatch, err error) error {
	if err != nil {
		return fmt.Errorf("model: decoding pass over %d tokens: %w", len(s.Tokens), err)
	}
	return nil
}

// append computes the hidden states of a batch's tokens.
func (d *Decoder) append(c *Cache, s *CacheBatch) (x tensor.Buffer, err error) {
	if err := s.check(c, &d.cfg); err != nil {
		return nil, err
	}
	d.targets = 0
	c.arena.Reset()
	p := &c.pass
	p.Backend, p.Arena, p.Rows, p.Pos, p.Causal = d.b, c.arena, len(s.Tokens), s.Pos, true
	x = c.arena.Take(p.Rows * d.cfg.Dim)
	d.trunk.Embed.Forward(p, x, s.Tokens)
	for i, l := range d.trunk.Blocks {
		x = l.Append(p, x, c, i, s)
	}
	return x, nil
}

// check returns an error that names the first invalid entry.
func (s *CacheBatch) check(c *Cache, cfg *Config) error {
	n := len(s.Tokens)
	if n == 0 || len(s.Pos) != n || len(s.Slots) != n || len(s.Ranges) != n {
		return fmt.Errorf("model: a batch of %d tokens has %d positions, %d slots and %d lists of ranges", n, len(s.Pos), len(s.Slots), len(s.Ranges))
	}
	if err := checkTokens(s.Tokens, s.Pos, cfg); err != nil {
		return err
	}
	for i, r := range s.LogitRows {
		if r < 0 || int(r) >= n {
			return fmt.Errorf("model: logits %d are of row %d, want 0 to %d", i, r, n-1)
		}
	}
	clear(c.slot)
	for i, r := range s.Slots {
		if r < 0 || int(r) >= c.Rows() {
			return fmt.Errorf("model: row %d has slot %d, want 0 to %d", i, r, c.Rows()-1)
		}
		if c.slot[r] {
			return fmt.Errorf("model: row %d has slot %d, which an earlier row has", i, r)
		}
		c.slot[r] = true
		own := false
		for _, sp := range s.Ranges[i] {
			if sp.Start < 0 || sp.End > c.Rows() || sp.Start > sp.End {
				return fmt.Errorf("model: row %d has range [%d, %d), want one within [0, %d)", i, sp.Start, sp.End, c.Rows())
			}
			own = own || int(r) >= sp.Start && int(r) < sp.End
		}
		if !own {
			return fmt.Errorf("model: row %d attends to no range that holds its own slot %d", i, r)
		}
	}
	return nil
}
