package model

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/durable"
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
	saved   []saved
	params  []*tensor.Param
}

// saved is a parameter of the decoder that is trained itself (modules_to_save):
// a copy stands in its place.
type saved struct {
	slot
	original, copy *tensor.Param
}

// AddLoRA gives the decoder's layers adapters that change nothing yet: A is
// uniform in ±1/√in, as in PEFT, and B is 0. It frees the gradients of the
// decoder's own weights, so call it before an optimiser is made. The error is
// c.Validate's, or names what c selects and cannot be trained, or is the backend's as
// far as it is known by then, such as tensor.ErrOutOfMemory; after that the decoder has
// no adapters but is frozen. It panics if there are adapters already, or if c has
// modules_to_save and the decoder is packed.
func (d *Decoder) AddLoRA(c LoRAConfig, seed uint64) (*LoRA, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c, err := c.asRead()
	if err != nil {
		return nil, err
	}
	plan, err := d.plan(c)
	if err != nil {
		return nil, err
	}
	l := d.attach(c, plan, false)
	if err := tensor.Err(d.b); err != nil {
		n := 0
		for _, p := range l.params {
			n += p.Len()
		}
		l.Free()
		_ = d.b.Sync() // clears the error
		return nil, fmt.Errorf("model: adapters of %d parameters: %w", n, err)
	}
	for _, s := range l.saved {
		d.b.Copy(s.copy.Value, s.original.Value)
	}
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
// is frozen. It panics if there are adapters already, or if there are
// modules_to_save and the decoder is packed.
func (d *Decoder) LoadLoRA(dir string, options ...LoadOption) (*LoRA, error) {
	c, err := ReadLoRAConfig(dir)
	if err != nil {
		return nil, err
	}
	from := newLoader(options)
	if err := from.openFile(filepath.Join(dir, LoRAWeightsFile)); err != nil {
		return nil, err
	}
	defer from.close()
	plan, err := d.plan(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, LoRAConfigFile), err)
	}
	_, err = from.check(len(plan.targets), func(m *maker) []*tensor.Param {
		plan.make(m)
		return m.params
	})
	if err != nil {
		return nil, err
	}
	l := d.attach(c, plan, from.frozen)
	if err := from.read(d.b, l.params); err != nil {
		l.Free()
		return nil, err
	}
	return l, nil
}

// LoRA returns the decoder's adapters; nil if it has none.
func (d *Decoder) LoRA() *LoRA { return d.lora }

// attach freezes the decoder and adds adapters, and copies of the saved
// parameters, all of zeros.
func (d *Decoder) attach(c LoRAConfig, plan *loraPlan, frozen bool) *LoRA {
	if d.lora != nil {
		panic("model: the decoder has adapters already")
	}
	if len(plan.saved) > 0 {
		d.mustBeUnpacked("AddLoRA or LoadLoRA with modules_to_save")
	}
	d.Freeze()
	d.targets = 0 // a Backward would lack the adapters' activations
	m := &maker{b: d.b, frozen: frozen}
	l := &LoRA{cfg: c, d: d}
	adapters, copies := plan.make(m)
	for i, t := range plan.targets {
		t.layer.LoRA = adapters[i]
		l.targets = append(l.targets, t.layer)
	}
	for i, s := range plan.saved {
		l.saved = append(l.saved, saved{slot: s, original: *s.at, copy: copies[i]})
		*s.at = copies[i]
	}
	l.params = m.params
	d.lora = l
	return l
}

// loraPlan is what a LoRAConfig selects of a decoder.
type loraPlan struct {
	targets []loraTarget
	saved   []slot
}

// loraTarget is a layer that gets an adapter.
type loraTarget struct {
	module string
	layer  *linear
	rank   int
	scale  float64
}

// plan returns what a valid configuration selects.
func (d *Decoder) plan(c LoRAConfig) (*loraPlan, error) {
	s, err := c.selection()
	if err != nil {
		return nil, err
	}
	layers := map[string]*linear{}
	for i, block := range d.trunk.Blocks {
		for _, p := range projections {
			layers[fmt.Sprintf("model.layers.%d.%s.%s", i, p.parent, p.name)] = p.layer(block)
		}
	}
	plan := &loraPlan{}
	for _, slot := range d.slots() {
		saved := s.isSaved(slot.module)
		if saved {
			plan.saved = append(plan.saved, slot)
		}
		if slot.name != "weight" {
			continue
		}
		target, err := s.isTarget(&c, slot.module)
		layer := layers[slot.module]
		switch {
		case err != nil:
			return nil, fmt.Errorf("model: module %q: %w", slot.module, err)
		case !target:
			continue
		case layer == nil:
			return nil, fmt.Errorf("model: target_modules select %q, want only some of %s", slot.module, AllProjections)
		case saved:
			return nil, fmt.Errorf("model: target_modules and modules_to_save both select %q", slot.module)
		}
		t := loraTarget{module: slot.module, layer: layer}
		rank, err := find(s.ranks, slot.module, float64(c.Rank))
		if err != nil {
			return nil, fmt.Errorf("model: rank_pattern: module %q: %w", slot.module, err)
		}
		alpha, err := find(s.alphas, slot.module, c.Alpha)
		if err != nil {
			return nil, fmt.Errorf("model: alpha_pattern: module %q: %w", slot.module, err)
		}
		t.rank, t.scale = int(rank), alpha/rank
		if c.RSLoRA {
			t.scale = alpha / math.Sqrt(rank)
		}
		plan.targets = append(plan.targets, t)
	}
	if len(plan.targets) == 0 {
		return nil, errors.New("model: target_modules select no layer of the decoder")
	}
	return plan, nil
}

// make makes the parameters of a plan.
func (p *loraPlan) make(m *maker) (adapters []*adapter, copies []*tensor.Param) {
	const base = "base_model.model."
	for _, t := range p.targets {
		name := base + t.module
		adapters = append(adapters, &adapter{
			A:     m.add(name+".lora_A.weight", t.rank, t.layer.in()),
			B:     m.add(name+".lora_B.weight", t.layer.out(), t.rank),
			Scale: float32(t.scale),
		})
	}
	for _, s := range p.saved {
		original := *s.at
		c := m.add(base+s.module+"."+s.name, original.Shape...)
		c.NoDecay = original.NoDecay
		copies = append(copies, c)
	}
	return adapters, copies
}

// Config returns the adapters' configuration in the form in which ReadLoRAConfig reads
// it from what Save writes.
func (l *LoRA) Config() LoRAConfig { return l.cfg }

// Backend returns the decoder's backend.
func (l *LoRA) Backend() tensor.Backend { return l.d.b }

// Params returns the adapters' parameters in a fixed order, named as in PEFT's
// files: A [rank×in] and B [out×rank] of every target, then the parameters that
// are trained themselves.
func (l *LoRA) Params() []*tensor.Param { return l.params }

// Save writes the adapters in float32 and their configuration into a directory,
// which it makes if need be, in PEFT's format.
func (l *LoRA) Save(dir string) error {
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	if err := writeParams(l.d.b, l.params, filepath.Join(dir, LoRAWeightsFile), safetensors.F32); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, LoRAConfigFile), l.cfg.peft())
}

// Merge makes the adapters part of the decoder's weights, W += Scale·B·A with
// Scale Alpha/Rank (RSLoRA: Alpha/√Rank), and so the parameters that are trained
// themselves; then it frees them. The decoder is then a plain, frozen one that
// computes the same up to float rounding. If its output projection was tied to
// the embedding and one of the two was trained, they are no longer tied. It
// panics if the decoder is packed, or a LoRA.Base: its weights are another decoder's.
func (l *LoRA) Merge() {
	d := l.d
	if d.head.Out.packed != nil {
		panic("model: LoRA.Merge into a decoder that is packed")
	}
	d.mustOwnWeights("LoRA.Merge")
	for _, t := range l.targets {
		a := t.LoRA
		d.b.MatMul(tensor.OpN, tensor.OpN, a.out(), a.in(), a.rank(), a.Scale, a.B.Value, a.A.Value, 1, t.W.Value)
	}
	if d.cfg.TieEmbeddings && d.head.Out.W != d.trunk.Embed.W {
		d.untie(l)
	}
	for _, s := range l.saved {
		d.b.Copy(s.original.Value, s.copy.Value)
	}
	l.Free()
}

// untie gives the decoder an output projection of its own, with the values of the
// present one.
func (d *Decoder) untie(l *LoRA) {
	head := (&maker{b: d.b, frozen: true}).add(headName, d.cfg.Vocab, d.cfg.Dim)
	d.b.Copy(head.Value, d.head.Out.W.Value)
	d.params = append(d.params, head)
	d.cfg.TieEmbeddings = false
	d.head.Out.W = head
	l.saved = slices.DeleteFunc(l.saved, func(s saved) bool { return s.module == "lm_head" })
}

// Free removes the adapters from the decoder, which stays frozen, and releases
// their memory. Do not use l afterwards.
func (l *LoRA) Free() {
	for _, t := range l.targets {
		t.LoRA = nil
	}
	for _, s := range l.saved {
		*s.at = s.original
	}
	for _, p := range l.params {
		if p.Grad != nil {
			l.d.b.Free(p.Grad)
		}
		l.d.b.Free(p.Value)
	}
	l.targets, l.saved, l.params = nil, nil, nil
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
	base.b, base.arena, base.shared, base.origin = l.d.b, newArena(l.d.b), true, l.d.origin
	return base
}
