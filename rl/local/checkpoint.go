package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/model"
	"github.com/stepwise-rl/stepwise/model/safetensors"
	"github.com/stepwise-rl/stepwise/optim"
)

// The files of a checkpoint: the decoder's own, and these.
const (
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
)

// The optimiser's moments are stored under these prefixes and the parameters'
// names.
const (
	firstPrefix  = "exp_avg."
	secondPrefix = "exp_avg_sq."
)

// stateFormat counts the changes of a checkpoint's layout.
const stateFormat = 1

// state is what stateFile holds.
type state struct {
	Format int `json:"format"`
	// Version is the policy's, Steps the optimiser's.
	Version int64 `json:"version"`
	Steps   int   `json:"optimizer_steps"`
	// SHA256 holds the checksums of the other files.
	SHA256 map[string]string `json:"sha256"`
}

// Save writes the checkpoint Dir/name: the decoder as model.Decoder.Save
// writes it, the optimiser's state, and the version with checksums of it all.
// It appears whole or not at all, and replaces one of the same name. The
// reference is its path. A name that is no plain file name is an error.
func (p *Policy) Save(ctx context.Context, name string) (ref string, err error) {
	if p.dir == "" {
		return "", errors.New("local: Save needs Config.Dir")
	}
	if name == "" || name[0] == '.' || name != filepath.Base(name) {
		return "", fmt.Errorf("local: checkpoint name %q is no plain file name", name)
	}
	if err := os.MkdirAll(p.dir, 0o777); err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	tmp, err := os.MkdirTemp(p.dir, "."+name+".*")
	if err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	defer os.RemoveAll(tmp) // whatever is left of it
	if err := p.write(ctx, tmp); err != nil {
		return "", fmt.Errorf("local: saving checkpoint %q: %w", name, err)
	}
	ref = filepath.Join(p.dir, name)
	if err := replaceDir(ref, tmp); err != nil {
		return "", fmt.Errorf("local: saving checkpoint %q: %w", name, err)
	}
	return ref, nil
}

// write writes the files of a checkpoint into dir.
func (p *Policy) write(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.decoder.Save(dir); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	moments, err := p.opt.Export()
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, optimizerFile), func(w io.Writer) error { return p.writeMoments(w, moments) }); err != nil {
		return err
	}
	s := state{Format: stateFormat, Version: p.version, Steps: moments.Steps, SHA256: map[string]string{}}
	for _, name := range []string{model.ConfigFile, model.WeightsFile, optimizerFile} {
		if s.SHA256[name], err = checksum(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return writeFile(filepath.Join(dir, stateFile), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	})
}

func (p *Policy) writeMoments(w io.Writer, s optim.State) error {
	shapes := map[string][]int{}
	for _, param := range p.decoder.Params() {
		shapes[param.Name] = param.Shape
	}
	var infos []safetensors.Tensor
	for _, m := range s.Moments {
		infos = append(infos,
			safetensors.Tensor{Name: firstPrefix + m.Name, DType: safetensors.F32, Shape: shapes[m.Name]},
			safetensors.Tensor{Name: secondPrefix + m.Name, DType: safetensors.F32, Shape: shapes[m.Name]})
	}
	sw, err := safetensors.NewWriter(w, infos, nil)
	if err != nil {
		return err
	}
	for _, m := range s.Moments {
		if err := sw.Write(m.First); err != nil {
			return err
		}
		if err := sw.Write(m.Second); err != nil {
			return err
		}
	}
	return sw.Close()
}

// Load restores the checkpoint at the path that Save returned, of a decoder
// of the same configuration, and clears the accumulated gradient. A missing or
// damaged file, and a field or tensor that does not fit, are errors that name
// it; the policy is then as it was.
func (p *Policy) Load(ctx context.Context, ref string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := readState(ref)
	if err != nil {
		return fmt.Errorf("local: loading checkpoint: %w", err)
	}
	c, err := model.ReadConfig(ref)
	if err != nil {
		return fmt.Errorf("local: loading checkpoint: %w", err)
	}
	if c != p.decoder.Config() {
		return fmt.Errorf("local: loading checkpoint %s: it is of a model %+v, want %+v", ref, c, p.decoder.Config())
	}
	moments, err := p.readMoments(filepath.Join(ref, optimizerFile))
	if err != nil {
		return fmt.Errorf("local: loading checkpoint: %w", err)
	}
	moments.Steps = s.Steps
	// Either reads its header before it changes anything, and the header's
	// file has the right checksum.
	if err := p.decoder.LoadWeights(filepath.Join(ref, model.WeightsFile)); err != nil {
		return fmt.Errorf("local: loading checkpoint: %w", err)
	}
	if err := p.opt.Import(moments); err != nil {
		return fmt.Errorf("local: loading checkpoint %s: %w", ref, err)
	}
	p.version = s.Version
	p.opt.ZeroGrad()
	return nil
}

// readState reads a checkpoint's stateFile and checks the other files' sums.
func readState(dir string) (state, error) {
	path := filepath.Join(dir, stateFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return state{}, fmt.Errorf("%s: %w", path, err)
	}
	if s.Format != stateFormat {
		return state{}, fmt.Errorf("%s: format is %d, want %d", path, s.Format, stateFormat)
	}
	for _, name := range []string{model.ConfigFile, model.WeightsFile, optimizerFile} {
		sum, err := checksum(filepath.Join(dir, name))
		if err != nil {
			return state{}, err
		}
		if sum != s.SHA256[name] {
			return state{}, fmt.Errorf("%s is damaged: its SHA-256 is not the one in %s", filepath.Join(dir, name), stateFile)
		}
	}
	return s, nil
}

func (p *Policy) readMoments(path string) (optim.State, error) {
	r, err := safetensors.Open(path)
	if err != nil {
		return optim.State{}, err
	}
	defer r.Close()
	var s optim.State
	for _, param := range p.decoder.Params() {
		m := optim.Moments{Name: param.Name, First: make([]float32, param.Len()), Second: make([]float32, param.Len())}
		if err := r.Read(m.First, firstPrefix+param.Name, 0); err != nil {
			return optim.State{}, err
		}
		if err := r.Read(m.Second, secondPrefix+param.Name, 0); err != nil {
			return optim.State{}, err
		}
		s.Moments = append(s.Moments, m)
	}
	return s, nil
}

// replaceDir gives the directory tmp the name dir, in place of one that has it.
func replaceDir(dir, tmp string) error {
	old := tmp + ".old"
	switch err := os.Rename(dir, old); {
	case err == nil:
		defer os.RemoveAll(old)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	return nil
}

// writeFile makes a file of what write writes and syncs it to disk.
func writeFile(path string, write func(w io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// checksum is the SHA-256 of a file in hexadecimal.
func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
