package checkpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/rl/internal/toy"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

// table is policytest's, which is its own engine, but saves to disk: a directory
// of two files, as a policy of real weights does.
type table struct {
	*policytest.TablePolicy
	dir string
}

// newTable returns a random table whose checkpoints are in dir.
func newTable(dir string) *table {
	p := &table{policytest.NewTablePolicy(toy.Vocab, nil, -1), dir}
	p.Randomize(1, 0.5)
	return p
}

// state is all that training changes.
func (p *table) state() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (p *table) Save(_ context.Context, name string) (string, error) {
	ref, text := filepath.Join(p.dir, name), []byte(p.state())
	half := len(text) / 2
	return ref, errors.Join(os.MkdirAll(ref, 0o777),
		os.WriteFile(filepath.Join(ref, "first"), text[:half], 0o666), os.WriteFile(filepath.Join(ref, "second"), text[half:], 0o666))
}

func (p *table) Load(_ context.Context, ref string) error {
	first, err1 := os.ReadFile(filepath.Join(ref, "first"))
	second, err2 := os.ReadFile(filepath.Join(ref, "second"))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return json.Unmarshal(append(first, second...), p)
}
