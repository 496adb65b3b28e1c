package local

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/local/internal/checkpoint"
	"github.com/stepwise-rl/stepwise/lm/model"
)

// Save writes the checkpoint Dir/name: the decoder as model.Decoder.Save
// writes it, or of one with adapters these alone as model.LoRA.Save does; the
// optimiser's state; and the version with checksums of it all.
// It appears whole or not at all, and replaces one of the same name (a crash
// in that very moment can leave the old one under a hidden name beside it).
// The reference is its path. A name that is no plain file name is an error.
func (p *Policy) Save(ctx context.Context, name string) (ref string, err error) {
	if ref, err = p.training().Save(ctx, p.dir, name, p.version); err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	return ref, nil
}

// Load restores the checkpoint at the path that Save returned, of a decoder
// of the same configuration, or of adapters of the same configuration on the
// same decoder, and clears the accumulated gradient. A missing or
// damaged file, and a field or tensor that does not fit, are errors that name
// it; the policy is then as it was.
func (p *Policy) Load(ctx context.Context, ref string) error {
	version, err := p.training().Load(ctx, ref)
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	p.version = version
	return nil
}

// training is a checkpoint.Training of what is trained.
type training interface {
	Save(ctx context.Context, dir, name string, version int64) (path string, err error)
	Load(ctx context.Context, path string) (version int64, err error)
}

func (p *Policy) training() training {
	if l := p.decoder.LoRA(); l != nil {
		return &checkpoint.Training[model.LoRAConfig]{
			Model: l, ReadConfig: model.ReadLoRAConfig, Optimizer: p.opt,
			ConfigFile: model.LoRAConfigFile, WeightsFile: model.LoRAWeightsFile,
		}
	}
	return &checkpoint.Training[model.Config]{Model: p.decoder, ReadConfig: model.ReadConfig, Optimizer: p.opt}
}
