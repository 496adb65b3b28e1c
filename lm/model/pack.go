package model

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Pack is a batch of sequences laid end to end, without padding. Completions of
// a prompt share its rows: they name the prompt's segment as their Prefix, and
// it is in the pack once.
type Pack struct {
	// Tokens are the token ids of all rows, and Pos their positions in their
	// sequences.
	Tokens, Pos []int32
	// Types are the token types of all rows, for an encoder that has them
	// (BERT's two sentences of a pair); empty = all 0. Add does not set them.
	Types []int32
	// Segments cover the rows without gaps, in order.
	Segments []tensor.Segment
}

// Reset empties the pack and keeps its memory.
func (p *Pack) Reset() {
	p.Tokens, p.Pos, p.Types, p.Segments = p.Tokens[:0], p.Pos[:0], p.Types[:0], p.Segments[:0]
}

// Rows returns the number of rows, which are tokens.
func (p *Pack) Rows() int { return len(p.Tokens) }

// Add appends tokens as a segment that continues the segment prefix (-1 = none)
// and returns the index of the new segment. It panics if there are no tokens, or
// if prefix is not the index of a segment that has no prefix itself.
func (p *Pack) Add(tokens []int32, prefix int) int {
	if len(tokens) == 0 {
		panic("model: Pack.Add: no tokens")
	}
	first := 0
	if prefix >= 0 {
		if prefix >= len(p.Segments) || p.Segments[prefix].Prefix >= 0 {
			panic(fmt.Sprintf("model: Pack.Add: segment %d cannot be a prefix", prefix))
		}
		first = p.Segments[prefix].End - p.Segments[prefix].Start
	}
	start := p.Rows()
	p.Tokens = append(p.Tokens, tokens...)
	for i := range tokens {
		p.Pos = append(p.Pos, int32(first+i))
	}
	p.Segments = append(p.Segments, tensor.Segment{Start: start, End: p.Rows(), Prefix: max(prefix, -1)})
	return len(p.Segments) - 1
}

// check returns an error that names the first row or segment that does not fit
// c or the number of token types.
func (p *Pack) check(c *Config, types int) error {
	if len(p.Tokens) == 0 {
		return fmt.Errorf("model: the pack is empty")
	}
	if len(p.Pos) != len(p.Tokens) {
		return fmt.Errorf("model: the pack has %d positions for %d tokens", len(p.Pos), len(p.Tokens))
	}
	if err := checkTokens(p.Tokens, p.Pos, c); err != nil {
		return err
	}
	if len(p.Types) != 0 && len(p.Types) != len(p.Tokens) {
		return fmt.Errorf("model: the pack has %d token types for %d tokens", len(p.Types), len(p.Tokens))
	}
	for i, id := range p.Types {
		if id < 0 || int(id) >= types {
			return fmt.Errorf("model: row %d has token type %d, but the model has %d types", i, id, types)
		}
	}
	row := 0
	for i, s := range p.Segments {
		if s.Start != row || s.End <= s.Start {
			return fmt.Errorf("model: segment %d of the pack is rows [%d, %d), want a non-empty run from row %d", i, s.Start, s.End, row)
		}
		if s.Prefix >= i || s.Prefix >= 0 && p.Segments[s.Prefix].Prefix >= 0 {
			return fmt.Errorf("model: segment %d of the pack has prefix %d, want -1 or an earlier segment that has none", i, s.Prefix)
		}
		row = s.End
	}
	if row != len(p.Tokens) {
		return fmt.Errorf("model: the segments of the pack end at row %d of %d", row, len(p.Tokens))
	}
	return nil
}

// checkTokens returns an error that names the first token id or position that
// does not fit c.
func checkTokens(tokens, pos []int32, c *Config) error {
	for i, id := range tokens {
		if id < 0 || int(id) >= c.Vocab {
			return fmt.Errorf("model: row %d has token id %d, want 0 to %d", i, id, c.Vocab-1)
		}
		if pos[i] < 0 || int(pos[i]) >= c.MaxSeq {
			return fmt.Errorf("model: row %d has position %d, want 0 to %d (MaxSeq %d)", i, pos[i], c.MaxSeq-1, c.MaxSeq)
		}
	}
	return nil
}
