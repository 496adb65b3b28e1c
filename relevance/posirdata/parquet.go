package posirdata

import (
	"fmt"

	"github.com/parquet-go/parquet-go"

	"github.com/stepwise-rl/stepwise/internal/infile"
	"github.com/stepwise-rl/stepwise/internal/parquetfile"
)

// parquetRows yields the rows of a Parquet file.
func parquetRows[T any](path string, yield func(numbered[T], error) bool) {
	f, size, err := infile.Open(path)
	if err != nil {
		yield(numbered[T]{}, fmt.Errorf("%s: %w", path, err))
		return
	}
	defer f.Close()
	stopped := false
	err = parquetfile.Each(f, size, func(number int, row T, _ *parquet.Schema) bool {
		stopped = !yield(numbered[T]{number, row}, nil)
		return !stopped
	})
	if err != nil && !stopped {
		yield(numbered[T]{}, fmt.Errorf("%s: %w", path, err))
	}
}
