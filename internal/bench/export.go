package bench

import (
	"context"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/model"
	"github.com/stepwise-rl/stepwise/model/gguf"
)

// seed is that of the models' weights.
const seed = 1

// Export writes the models that Run samples from, with the same weights, to
// folder/NAME.gguf in float32: for other engines to be measured with.
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
		err = gguf.Export(filepath.Join(folder, s.name+".gguf"), d, gguf.Options{Name: "stepwise-bench-" + s.name})
		d.Free()
		if err != nil {
			return err
		}
	}
	return nil
}
