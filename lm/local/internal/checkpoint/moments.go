package checkpoint

import (
	"fmt"
	"io"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// momentsFile holds the optimiser's moments under these prefixes and the
// parameters' names, which are PyTorch's names for them.
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

// readMoments reads the moments of those params that have a gradient, which
// must be all that the file holds.
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
