package local

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/internal/infile"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

const stateFile = "state.json"

// stateFormat numbers the layout of checkpoints.
const stateFormat = 2

// state is the sealed content of stateFile.
type state struct {
	Format  int   `json:"format"`
	Version int64 `json:"version"`
	Steps   int   `json:"optimizer_steps"`
	// ReferenceSteps is the number of them that the Reference has seen, if there is one.
	ReferenceSteps *int64 `json:"reference_steps,omitempty"`
	// SHA256 holds the checksums of the other files.
	SHA256 map[string]string `json:"sha256"`
}

// writeState writes stateFile into dir, with the checksums of momentsFile and of
// the given files there.
func writeState(ctx context.Context, dir string, s state, files ...string) error {
	s.Format, s.SHA256 = stateFormat, map[string]string{}
	for _, name := range append(files, momentsFile) {
		sum, _, err := durable.Checksum(ctx, filepath.Join(dir, name))
		if err != nil {
			return err
		}
		s.SHA256[name] = sum
	}
	text, err := durable.Seal(s)
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, stateFile), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// readState reads stateFile from dir and checks its checksum and those of momentsFile
// and of the given files there.
func readState(ctx context.Context, dir string, files ...string) (state, error) {
	path := filepath.Join(dir, stateFile)
	text, err := infile.Read(path, infile.NoLimit)
	if err != nil {
		return state{}, err
	}
	var s state
	if err := durable.Unseal(text, &s); err != nil {
		return state{}, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if s.Format != stateFormat {
		return state{}, fmt.Errorf("%s: format is %d, want %d", path, s.Format, stateFormat)
	}
	if n := s.ReferenceSteps; n != nil && *n < 0 {
		return state{}, fmt.Errorf("%s: reference_steps is %d, want it not negative", path, *n)
	}
	if s.Version < 0 || s.Steps < 0 {
		return state{}, fmt.Errorf("%s: version is %d and optimizer_steps is %d, want neither negative", path, s.Version, s.Steps)
	}
	return s, checkSums(ctx, dir, &s, append(files, momentsFile)...)
}

// checkSums returns an error that names the first of the files in dir without the
// checksum in its state.
func checkSums(ctx context.Context, dir string, s *state, files ...string) error {
	for _, name := range files {
		sum, _, err := durable.Checksum(ctx, filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if sum != s.SHA256[name] {
			return fmt.Errorf("%s is damaged: its SHA-256 is not the one in %s", filepath.Join(dir, name), stateFile)
		}
	}
	return nil
}

// momentsFile holds the optimiser's moments. Their names are these prefixes,
// which are PyTorch's words for them, and the parameter's name.
const (
	momentsFile  = "optimizer.safetensors"
	firstPrefix  = "exp_avg."
	secondPrefix = "exp_avg_sq."
)

// writeMoments writes the moments of an optimiser of params.
func writeMoments(path string, params []*tensor.Param, s optim.State) error {
	shapes := map[string][]int{}
	for _, p := range params {
		shapes[p.Name] = p.Shape
	}
	var infos []safetensors.Tensor
	for _, m := range s.Moments {
		infos = append(infos,
			safetensors.Tensor{Name: firstPrefix + m.Name, DType: safetensors.F32, Shape: shapes[m.Name]},
			safetensors.Tensor{Name: secondPrefix + m.Name, DType: safetensors.F32, Shape: shapes[m.Name]})
	}
	return durable.Write(path, func(w io.Writer) error {
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
	})
}

// readMoments reads the moments of those params that have a gradient. The file
// must hold nothing else.
func readMoments(path string, params []*tensor.Param) (optim.State, error) {
	r, err := safetensors.Open(path)
	if err != nil {
		return optim.State{}, err
	}
	defer r.Close()
	read := func(p *tensor.Param, prefix string) ([]float32, error) {
		name := prefix + p.Name
		if t, ok := r.Lookup(name); ok && !slices.Equal(t.Shape, p.Shape) {
			return nil, fmt.Errorf("%s: tensor %q has shape %v, want %v", path, name, t.Shape, p.Shape)
		}
		v := make([]float32, p.Len())
		return v, r.Read(v, name, 0)
	}
	var s optim.State
	for _, p := range params {
		if p.Grad == nil {
			continue
		}
		m := optim.Moments{Name: p.Name}
		if m.First, err = read(p, firstPrefix); err != nil {
			return optim.State{}, err
		}
		if m.Second, err = read(p, secondPrefix); err != nil {
			return optim.State{}, err
		}
		s.Moments = append(s.Moments, m)
	}
	if have, want := len(r.Tensors()), 2*len(s.Moments); have != want {
		return optim.State{}, fmt.Errorf("%s holds %d tensors, want %d: two for each parameter", path, have, want)
	}
	return s, nil
}
