package model

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// EncoderOf returns a classifier whose body begins with the weights of the embedding,
// the first layers (0 = all) and the last norm of a decoder, and whose score is drawn
// at random. The same tokens see each other in both directions from then on. It panics
// if d has adapters.
func EncoderOf(d *Decoder, layers, classes int, seed uint64) (*Encoder, error) {
	d.mustBePlain("EncoderOf")
	cfg, err := d.first(layers)
	if err != nil {
		return nil, err
	}
	cfg.TieEmbeddings = false
	e, err := NewEncoder(d.b, EncoderConfig{Config: cfg, Classes: classes}, seed)
	if err != nil {
		return nil, err
	}
	copyByName(d.b, e.params, d.params)
	e.origin = d.origin
	return e, nil
}

// First returns a decoder of its own with the weights of the first layers (0 = all), to
// be trained. It panics if d has adapters.
func (d *Decoder) First(layers int) (*Decoder, error) {
	d.mustBePlain("First")
	cfg, err := d.first(layers)
	if err != nil {
		return nil, err
	}
	m := &maker{b: d.b}
	c, err := newDecoder(cfg, m)
	if err == nil {
		err = m.failed()
	}
	if err != nil {
		return nil, err
	}
	copyByName(d.b, c.params, d.params)
	c.origin = d.origin
	return c, nil
}

// first is the configuration with the first layers alone.
func (d *Decoder) first(layers int) (Config, error) {
	cfg := d.cfg
	if layers < 0 || layers > cfg.Layers {
		return cfg, fmt.Errorf("model: the first %d layers of a decoder that has %d", layers, cfg.Layers)
	}
	if layers > 0 {
		cfg.Layers = layers
	}
	return cfg, nil
}

// copyByName sets the parameters that src has, too.
func copyByName(b tensor.Backend, dst, src []*tensor.Param) {
	from := map[string]*tensor.Param{}
	for _, p := range src {
		from[p.Name] = p
	}
	for _, p := range dst {
		if s := from[p.Name]; s != nil {
			b.Copy(p.Value, s.Value)
		}
	}
}
