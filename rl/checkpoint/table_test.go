package checkpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

// table is policytest's, which is its own engine, but saves to disk: a directory
// of two files, as a policy of real weights does.
type table struct {
	*policytest.TablePolicy
	dir     string
	version int64
}

// newTable returns a random table whose checkpoints are in dir.
func newTable(dir string) *table {
	p := &table{TablePolicy: policytest.NewTablePolicy(vocab, nil, -1), dir: dir}
	p.Randomize(1, 0.5)
	return p
}

// tableState is all that training changes.
type tableState struct {
	Version int64
	Rows    [vocab][]float64
}

func (p *table) state() tableState {
	s := tableState{Version: p.version}
	for id := range s.Rows {
		s.Rows[id] = p.Logits(int32(id))
	}
	return s
}

func (p *table) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	info, err := p.TablePolicy.OptimStep(ctx, o)
	p.version = info.Version
	return info, err
}

func (p *table) Save(_ context.Context, name string) (string, error) {
	ref, s := filepath.Join(p.dir, name), p.state()
	return ref, errors.Join(os.MkdirAll(ref, 0o777), write(filepath.Join(ref, "rows"), s.Rows), write(filepath.Join(ref, "version"), s.Version))
}

func (p *table) Load(ctx context.Context, ref string) error {
	var s tableState
	if err := errors.Join(read(filepath.Join(ref, "rows"), &s.Rows), read(filepath.Join(ref, "version"), &s.Version)); err != nil {
		return err
	}
	*p = *newTable(p.dir)
	for p.version < s.Version { // without a gradient a step only counts
		if _, err := p.OptimStep(ctx, rl.OptimOptions{}); err != nil {
			return err
		}
	}
	for id, row := range s.Rows {
		copy(p.Logits(int32(id)), row)
	}
	return nil
}

// write stores v in a file as JSON, which gives every float64 back bit for bit.
func write(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o666)
}

func read(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}
