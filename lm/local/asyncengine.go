package local

import (
	"errors"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// AsyncEngine is an engine with weights of its own, which samples while a policy in this
// process or on a training server is trained (rl.Async). Refresh copies the policy's
// weights bit for bit, or loads adapters. The decoder is on a backend of its own, because
// one goroutine uses a backend at a time: on another device, or on the policy's that is
// opened once more. It takes as much memory again as the weights; it needs no gradients
// (model.Frozen, model.Decoder.Freeze).
//
// A policy that trains adapters hands them over as a folder, by an [Exporter] whose Form
// is rollout.FormAdapter.
type AsyncEngine struct{ *Engine }

var _ rollout.Concurrent = (*AsyncEngine)(nil)

// NewAsyncEngine returns an engine at weights version 0 that samples from d, a decoder of
// the policy's configuration, or, where adapters are trained, with the weights that they
// are added to. Arguments and errors are those of NewEngine. Nobody else may use d's
// backend.
func NewAsyncEngine(d *model.Decoder, v sample.Vocab, c EngineConfig) (*AsyncEngine, error) {
	e, err := NewEngine(d, v, c)
	if err != nil {
		return nil, err
	}
	e.own = true
	return &AsyncEngine{e}, nil
}

// RefreshInFlight implements rollout.Concurrent. It is false: Refresh waits for the calls
// before it.
func (*AsyncEngine) RefreshInFlight() bool { return false }

// copy sets the engine's weights to those of d.
func (e *Engine) copy(d *model.Decoder, version int64) error {
	switch {
	case d.Backend() == e.decoder.Backend():
		return errors.New("local: Weights.Local is a decoder on the asynchronous engine's own backend, which one goroutine uses at a time: open a backend for the engine")
	case d.LoRA() != nil || e.decoder.LoRA() != nil:
		return errors.New("local: Weights.Local or the asynchronous engine's decoder has adapters: hand those over as a folder, by an Exporter whose Form is rollout.FormAdapter")
	}
	e.unpack()
	if err := e.decoder.CopyFrom(d); err != nil {
		return fmt.Errorf("local: weights of version %d: %w", version, err)
	}
	e.version = version
	return nil
}
