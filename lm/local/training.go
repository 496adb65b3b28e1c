package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rl"
)

// trainable is what is trained and saved: a decoder, its adapters, or an
// encoder.
type trainable interface {
	Backend() tensor.Backend
	Params() []*tensor.Param
	// Save writes the configuration and the parameters into a directory.
	Save(dir string) error
}

// training is the common part of a policy and a student: a model, its
// optimiser, and its checkpoints.
type training struct {
	kept
	params    []*tensor.Param // that the optimiser trains, or leaves alone; model's are among them
	opt       *optim.AdamW
	dir       string // of checkpoints; empty = none can be saved
	version   int64
	reference *Reference // that follows, of a policy; nil = none
	forgotten bool       // the checkpoint that was loaded holds a reference, and there was none to take it
}

// kept is a model, and how it is kept in a directory.
type kept struct {
	model trainable
	// configFile and weightsFile are the files that model.Save writes.
	configFile, weightsFile string
	// checkConfig returns an error unless the configuration in a directory is
	// the model's.
	checkConfig func(dir string) error
}

// write writes the model's files into dir, and syncs them.
func (k *kept) write(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := k.model.Save(dir); err != nil {
		return err
	}
	return durable.Sync(filepath.Join(dir, k.configFile)) // Save syncs the weights
}

// read reads the weights that write has written into dir. ReadParams looks at all
// tensors before it changes one.
func (k *kept) read(dir string) error {
	return model.ReadParams(k.model.Backend(), k.model.Params(), filepath.Join(dir, k.weightsFile))
}

// checkTraining checks the settings that PolicyConfig and StudentConfig share.
func checkTraining(config string, o optim.Config, maxRows int) error {
	if maxRows < 0 {
		return fmt.Errorf("local: %s.MaxRows is %d, want 0 (for %d) or more", config, maxRows, defaultRows)
	}
	if o == (optim.Config{}) {
		return nil
	}
	if err := o.Validate(); err != nil {
		return fmt.Errorf("local: %s.Optimizer: %w", config, err)
	}
	return nil
}

// decoderTraining lacks its optimiser.
func decoderTraining(d *model.Decoder, dir string) training {
	return training{kept: decoderKept(d), params: d.Params(), dir: dir}
}

// decoderKept is how a decoder is kept: with adapters, these alone.
func decoderKept(d *model.Decoder) kept {
	if l := d.LoRA(); l != nil {
		return kept{l, model.LoRAConfigFile, model.LoRAWeightsFile, configIs(l.Config(), model.ReadLoRAConfig)}
	}
	return kept{d, model.ConfigFile, model.WeightsFile, configIs(d.Config(), model.ReadConfig)}
}

// trained reports whether some parameter has a gradient.
func trained(params []*tensor.Param) bool {
	return slices.ContainsFunc(params, func(p *tensor.Param) bool { return p.Grad != nil })
}

// start makes the optimiser of params, which include model's, with cleared
// gradients. The zero Config means the default.
func (t *training) start(params []*tensor.Param, o optim.Config) (err error) {
	t.params = params
	if o == (optim.Config{}) {
		o = optim.DefaultConfig()
	}
	if t.opt, err = optim.NewAdamW(t.model.Backend(), params, o); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	t.zeroGrad()
	return nil
}

// configIs returns a function that compares the configuration which read finds
// in a directory with want.
func configIs[C comparable](want C, read func(dir string) (C, error)) func(dir string) error {
	return func(dir string) error {
		c, err := read(dir)
		if err == nil && c != want {
			err = fmt.Errorf("%s is of a model %+v, want %+v", dir, c, want)
		}
		return err
	}
}

// Version counts the optimiser steps taken.
func (t *training) Version() int64 { return t.version }

// OptimStep takes an optimiser step with the accumulated gradient and clears it. If
// the gradient is not finite it is dropped, and weights and version stay. The
// gradient is also cleared after an error. A model that is frozen as a whole is one:
// nothing would be trained. So is a policy without a Reference that has loaded a
// checkpoint with one: its checkpoints would lose it.
func (t *training) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	if !trained(t.params) {
		return rl.OptimInfo{}, errors.New("local: the model is frozen, so that nothing would be trained: load it without model.Frozen")
	}
	if err := ctx.Err(); err != nil {
		t.dropGradient()
		return rl.OptimInfo{}, err
	}
	if t.forgotten && t.reference == nil {
		t.dropGradient()
		return rl.OptimInfo{}, errors.New("local: the checkpoint that was loaded holds a Reference, which the policy has not: call NewReference before Load to go on with it, or after Load for a new one; to train without, make the policy of the checkpoint's model")
	}
	info, err := t.opt.Step(o.LR, o.MaxNorm)
	if err != nil {
		t.dropGradient()
		return rl.OptimInfo{}, fmt.Errorf("local: %w", err)
	}
	t.zeroGrad()
	if !info.Skipped {
		t.version++
		if t.reference != nil {
			if err := t.reference.follow(); err != nil {
				return rl.OptimInfo{}, err
			}
		}
	}
	return rl.OptimInfo{Version: t.version, GradNorm: info.GradNorm, Skipped: info.Skipped}, nil
}

// dropGradient clears the accumulated gradient after an error, so that no later
// optimiser step holds half a batch. A sticky error of the backend, which was
// returned, must go first, because it would prevent that.
func (t *training) dropGradient() {
	_ = t.model.Backend().Sync()
	t.zeroGrad()
}

// zeroGrad clears the accumulated gradient.
func (t *training) zeroGrad() {
	for _, p := range t.params {
		if p.Grad != nil {
			t.model.Backend().Fill(p.Grad, 0)
		}
	}
}

// Save writes the checkpoint Dir/name, in place of one of the same name, and
// returns its path as the reference for Load. It appears whole or not at all;
// see the package comment for its files. It makes Dir if need be. Without a
// Dir, and with a name that is no plain file name or begins with a dot, Save
// returns an error.
func (t *training) Save(ctx context.Context, name string) (ref string, err error) {
	if t.dir == "" {
		return "", errors.New("local: Save needs a Dir in the configuration")
	}
	if name == "" || name[0] == '.' || name != filepath.Base(name) || !filepath.IsLocal(name) {
		return "", fmt.Errorf("local: checkpoint name %q is no plain file name", name)
	}
	ref = filepath.Join(t.dir, name)
	if err := t.save(ctx, ref); err != nil {
		return "", fmt.Errorf("local: saving checkpoint %q: %w", name, err)
	}
	return ref, nil
}

// save writes the files of a checkpoint aside and renames them to path.
func (t *training) save(ctx context.Context, path string) error {
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	tmp, err := durable.TempDir(path)
	if err != nil {
		return err
	}
	defer durable.RemoveAll(tmp) // of no effect once it is renamed
	if err := t.write(ctx, tmp); err != nil {
		return err
	}
	return durable.ReplaceDir(path, tmp)
}

// write writes the files of a checkpoint into dir.
func (t *training) write(ctx context.Context, dir string) error {
	if err := t.kept.write(ctx, dir); err != nil {
		return err
	}
	files := []string{t.configFile, t.weightsFile}
	s := state{Version: t.version}
	if r := t.reference; r != nil {
		if err := r.write(ctx, dir); err != nil {
			return err
		}
		files, s.ReferenceSteps = append(files, r.files()...), &r.steps
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	moments, err := t.opt.Export()
	if err != nil {
		return err
	}
	if err := writeMoments(filepath.Join(dir, momentsFile), t.model.Params(), moments); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.Steps = moments.Steps
	if err := writeState(ctx, dir, s, files...); err != nil {
		return err
	}
	return durable.Sync(dir)
}

// Load restores the checkpoint at the path that Save returned, of a model of
// the same configuration, and clears the accumulated gradient. A missing or
// damaged file, and a field or tensor that does not fit, are errors that name
// it, and then nothing has changed. After an error of the backend the model may
// be half loaded.
func (t *training) Load(ctx context.Context, ref string) error {
	if err := t.load(ctx, ref); err != nil {
		return fmt.Errorf("local: loading checkpoint: %w", err)
	}
	return nil
}

func (t *training) load(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := readState(ctx, path, t.configFile, t.weightsFile)
	if err != nil {
		return err
	}
	if err := t.checkConfig(path); err != nil {
		return err
	}
	if t.reference != nil {
		if err := t.reference.check(ctx, path, &s); err != nil {
			return err
		}
	}
	moments, err := readMoments(filepath.Join(path, momentsFile), t.model.Params())
	if err != nil {
		return err
	}
	moments.Steps = s.Steps
	if err := ctx.Err(); err != nil {
		return err
	}
	// Moments that were read for these parameters are what Import wants.
	if err := t.kept.read(path); err != nil {
		return err
	}
	if err := t.opt.Import(moments); err != nil {
		return err
	}
	if t.reference != nil {
		if err := t.reference.read(path, &s); err != nil {
			return err
		}
	}
	t.zeroGrad()
	if err := t.model.Backend().Sync(); err != nil {
		return err
	}
	t.version, t.forgotten = s.Version, s.ReferenceSteps != nil && t.reference == nil
	return nil
}
