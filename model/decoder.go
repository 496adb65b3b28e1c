package model

import "github.com/stepwise-rl/stepwise/tensor"

// Decoder is a causal language model of the Llama family.
type Decoder struct {
	cfg Config
	b   tensor.Backend
}

// NewDecoder returns a decoder with random weights: the same seed gives the
// same bits on every backend. An error names the field of cfg that is wrong.
func NewDecoder(b tensor.Backend, cfg Config, seed uint64) (*Decoder, error) {
	panic("model: NewDecoder: not built yet")
}

// Config returns the decoder's configuration, with defaults filled in.
func (d *Decoder) Config() Config { return d.cfg }

// Backend returns the backend that the decoder computes on.
func (d *Decoder) Backend() tensor.Backend { return d.b }

// Params returns the decoder's parameters in a fixed order, named as in
// Hugging Face checkpoints. A tied embedding stands in it once.
func (d *Decoder) Params() []*tensor.Param { panic("model: Params: not built yet") }
