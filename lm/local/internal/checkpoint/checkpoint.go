package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Model is a decoder, an encoder or the adapters of package model, whose
// configuration is C.
type Model[C comparable] interface {
	Config() C
	Backend() tensor.Backend
	Params() []*tensor.Param
	// Save writes a configuration and the parameters.
	Save(dir string) error
}

// Training is a model and its optimiser.
type Training[C comparable] struct {
	Model Model[C]
	// ReadConfig reads the configuration that Model.Save wrote.
	ReadConfig func(dir string) (C, error)
	Optimizer  *optim.AdamW
	// ConfigFile and WeightsFile are the files that Model.Save writes; empty
	// means model.ConfigFile and model.WeightsFile.
	ConfigFile, WeightsFile string
}

// files returns the names of the configuration and of the weights.
func (t *Training[C]) files() (config, weights string) {
	return cmp.Or(t.ConfigFile, model.ConfigFile), cmp.Or(t.WeightsFile, model.WeightsFile)
}

// Save writes the checkpoint dir/name, in place of one of the same name, and
// returns its path. It makes dir if need be. A dir that is empty and a name
// that is no plain file name, or begins with a dot, are errors.
func (t *Training[C]) Save(ctx context.Context, dir, name string, version int64) (path string, err error) {
	if dir == "" {
		return "", errors.New("Save needs Config.Dir")
	}
	if name == "" || name[0] == '.' || name != filepath.Base(name) || !filepath.IsLocal(name) {
		return "", fmt.Errorf("checkpoint name %q is no plain file name", name)
	}
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("saving checkpoint %q: %w", name, err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fail(err)
	}
	tmp, err := os.MkdirTemp(dir, "."+name+".*")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(tmp) // of no effect once it is renamed
	// Others may serve the model, but MkdirTemp lets only its user in.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fail(err)
	}
	if err := t.write(ctx, tmp, version); err != nil {
		return fail(err)
	}
	path = filepath.Join(dir, name)
	if err := durable.ReplaceDir(path, tmp); err != nil {
		return fail(err)
	}
	return path, nil
}

// write writes the files of a checkpoint into dir.
func (t *Training[C]) write(ctx context.Context, dir string, version int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.Model.Save(dir); err != nil {
		return err
	}
	config, weights := t.files()
	if err := durable.Sync(filepath.Join(dir, config)); err != nil { // Save syncs the weights
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	moments, err := t.Optimizer.Export()
	if err != nil {
		return err
	}
	if err := writeMoments(filepath.Join(dir, momentsFile), t.Model.Params(), moments); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := writeState(ctx, dir, state{Version: version, Steps: moments.Steps}, config, weights); err != nil {
		return err
	}
	return durable.Sync(dir)
}

// Load restores the checkpoint at path, of a model of the same configuration,
// clears the gradients, and returns the version. A missing or damaged file,
// and a field or tensor that does not fit, are errors that name it, and then
// nothing was changed; after the backend's error the model may be half loaded.
func (t *Training[C]) Load(ctx context.Context, path string) (version int64, err error) {
	fail := func(err error) (int64, error) {
		return 0, fmt.Errorf("loading checkpoint: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	config, weights := t.files()
	s, err := readState(ctx, path, config, weights)
	if err != nil {
		return fail(err)
	}
	c, err := t.ReadConfig(path)
	if err != nil {
		return fail(err)
	}
	if want := t.Model.Config(); c != want {
		return fail(fmt.Errorf("%s is of a model %+v, want %+v", path, c, want))
	}
	moments, err := readMoments(filepath.Join(path, momentsFile), t.Model.Params())
	if err != nil {
		return fail(err)
	}
	moments.Steps = s.Steps
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// ReadParams looks at all tensors before it changes one, and moments that
	// were read for these parameters are what Import wants.
	if err := model.ReadParams(t.Model.Backend(), t.Model.Params(), filepath.Join(path, weights)); err != nil {
		return fail(err)
	}
	if err := t.Optimizer.Import(moments); err != nil {
		return fail(err)
	}
	t.Optimizer.ZeroGrad()
	if err := t.Model.Backend().Sync(); err != nil {
		return fail(err)
	}
	return s.Version, nil
}
