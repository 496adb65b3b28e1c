package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// LoRA holds the low-rank adapters of a decoder (Hu et al., arXiv:2106.09685),
// the only part of it that is trained. The decoder uses them in Forward,
// Backward and sampling. Its own weights are frozen: they have no gradients, and
// so no moments in an optimiser.
//
//	decoder, err := model.LoadDecoder(backend, "Qwen3-0.6B", model.Frozen())
//	lora, err := decoder.AddLoRA(model.LoRAConfig{Rank: 16, Alpha: 32, Targets: model.AllProjections}, seed)
//	// ... train those of decoder.Params() that have a gradient ...
//	err = lora.Save("adapter") // a few MB, in PEFT's format
//	lora.Merge()               // the decoder is a plain one again, to save whole
type LoRA struct {
	cfg     LoRAConfig
	d       *Decoder
	targets []*linear // those with an adapter
	params  []*tensor.Param
}

// AddLoRA gives the decoder's layers adapters that change nothing yet: A is
// uniform in ±1/√in, as in PEFT, and B is 0. It frees the gradients of the
// decoder's own weights, so call it before an optimiser is made. The error is
// c.Validate's. It panics if there are adapters already.
func (d *Decoder) AddLoRA(c LoRAConfig, seed uint64) (*LoRA, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l := d.attach(c, false)
	for i, t := range l.targets {
		a := t.LoRA.A
		bound := 1 / math.Sqrt(float64(a.Shape[1]))
		// Another stream than that of any parameter of the decoder.
		r := rand.New(rand.NewPCG(seed, 1<<32+uint64(i)))
		_ = writeValues(d.b, a.Value, func(part []float32) error {
			for j := range part {
				part[j] = float32(bound * (2*r.Float64() - 1))
			}
			return nil
		})
	}
	return l, nil
}

// LoadLoRA gives the decoder's layers the adapters that LoRA.Save or PEFT saved
// in a directory, in F32, F16 or BF16. Unknown settings, and missing, unknown or
// misshapen tensors, are errors that name them, and then the decoder is
// unchanged. After an error of reading or of the backend it has no adapters but
// is frozen. It panics if there are adapters already.
func (d *Decoder) LoadLoRA(dir string, options ...LoadOption) (*LoRA, error) {
	c, err := ReadLoRAConfig(dir)
	if err != nil {
		return nil, err
	}
	from := newLoader(options)
	if err := from.open(filepath.Join(dir, LoRAWeightsFile)); err != nil {
		return nil, err
	}
	defer from.close()
	_, err = from.check(d.cfg.Layers, func(m *maker) []*tensor.Param {
		d.adapters(c, m)
		return m.params
	})
	if err != nil {
		return nil, err
	}
	l := d.attach(c, from.frozen)
	if err := from.read(d.b, l.params); err != nil {
		l.Free()
		return nil, err
	}
	return l, nil
}

// LoRA returns the decoder's adapters; nil if it has none.
func (d *Decoder) LoRA() *LoRA { return d.lora }

// attach freezes the decoder and adds adapters of zeros.
func (d *Decoder) attach(c LoRAConfig, frozen bool) *LoRA {
	if d.lora != nil {
		panic("model: the decoder has adapters already")
	}
	d.Freeze()
	d.targets = 0 // a Backward would lack the adapters' activations
	m := &maker{b: d.b, frozen: frozen}
	l := &LoRA{cfg: c, d: d}
	for _, a := range d.adapters(c, m) {
		a.layer.LoRA = a.adapter
		l.targets = append(l.targets, a.layer)
	}
	l.params = m.params
	d.lora = l
	return l
}

// target is a layer and the adapter to give it.
type target struct {
	layer *linear
	*adapter
}

// adapters makes the adapters that c describes.
func (d *Decoder) adapters(c LoRAConfig, m *maker) (all []target) {
	for i, block := range d.trunk.Blocks {
		for j, module := range projections {
			if c.Targets&(1<<j) == 0 {
				continue
			}
			layer := module.layer(block)
			name := fmt.Sprintf("base_model.model.model.layers.%d.%s.%s.", i, module.parent, module.name)
			all = append(all, target{layer, &adapter{
				A:     m.add(name+"lora_A.weight", c.Rank, layer.in()),
				B:     m.add(name+"lora_B.weight", layer.out(), c.Rank),
				Scale: float32(c.Alpha / float64(c.Rank)),
			}})
		}
	}
	return all
}

// Config returns the adapters' configuration.
func (l *LoRA) Config() LoRAConfig { return l.cfg }

// Backend returns the decoder's backend.
func (l *LoRA) Backend() tensor.Backend { return l.d.b }

// Params returns the adapters' parameters in a fixed order, named as in PEFT's
// files: A [rank×in] and B [out×rank] of every target.
func (l *LoRA) Params() []*tensor.Param { return l.params }

// Save writes the adapters in float32 and their configuration into a directory,
// which it makes if need be, in PEFT's format.
func (l *LoRA) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := writeParams(l.d.b, l.params, filepath.Join(dir, LoRAWeightsFile), safetensors.F32); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, LoRAConfigFile), l.cfg.peft())
}

// Merge adds the adapters to the decoder's weights, W += Alpha/Rank·B·A, and
// frees them. The decoder is then a plain, frozen one that computes the same up
// to float rounding. It panics if the decoder is packed.
func (l *LoRA) Merge() {
	for _, t := range l.targets {
		if t.packed != nil {
			panic("model: LoRA.Merge into a decoder that is packed")
		}
		a := t.LoRA
		l.d.b.MatMul(tensor.OpN, tensor.OpN, a.out(), a.in(), a.rank(), a.Scale, a.B.Value, a.A.Value, 1, t.W.Value)
	}
	l.Free()
}

// Free removes the adapters from the decoder, which stays frozen, and releases
// their memory. Do not use l afterwards.
func (l *LoRA) Free() {
	for _, t := range l.targets {
		t.LoRA = nil
	}
	for _, p := range l.params {
		if p.Grad != nil {
			l.d.b.Free(p.Grad)
		}
		l.d.b.Free(p.Value)
	}
	l.targets, l.params = nil, nil
	l.d.targets = 0
	l.d.lora = nil
}

// Base returns the decoder without its adapters: the model before training, for
// instance as the reference policy of a KL term. It shares the decoder's weights
// and takes memory for activations only. It is valid until Merge or until the
// decoder is freed; free it before.
func (l *LoRA) Base() *Decoder {
	base, err := newDecoder(l.d.cfg, &maker{}) // names and shapes only
	if err != nil {
		panic("model: Base: " + err.Error()) // the configuration was valid once
	}
	for i, p := range base.params {
		p.Value = l.d.params[i].Value
	}
	base.b, base.arena, base.shared = l.d.b, newArena(l.d.b), true
	return base
}
