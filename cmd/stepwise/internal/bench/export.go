package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/gguf"
)

// seed is that of the models' weights.
const seed = 1

// Export writes the models that Run samples from, with the same weights, to
// folder/NAME.gguf in float32 and folder/NAME-bf16.gguf with bfloat16 matrices:
// for other engines to be measured with.
func Export(ctx context.Context, folder string, o Options) error {
	r, err := newRunner(ctx, o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	for _, s := range r.shapes() {
		if err := ctx.Err(); err != nil {
			return err
		}
		d, err := model.NewDecoder(r.b, s.Config, seed)
		if err != nil {
			return err
		}
		name := filepath.Join(folder, s.name)
		err = errors.Join(
			gguf.Export(name+".gguf", d, gguf.Options{Name: s.name}),
			gguf.Export(name+"-bf16.gguf", d, gguf.Options{Name: s.name, Type: gguf.BF16}),
		)
		d.Free()
		if err != nil {
			return err
		}
		r.measured("%s.gguf, %s-bf16.gguf", name, name)
	}
	return nil
}
