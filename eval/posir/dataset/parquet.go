package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

// parquetRows yields the rows of a Parquet file.
func parquetRows[T any](path string, yield func(numbered[T], error) bool) {
	stopped := false
	err := readParquet(path, func(r numbered[T]) bool {
		stopped = !yield(r, nil)
		return !stopped
	})
	if err != nil && !stopped {
		yield(numbered[T]{}, fmt.Errorf("%s: %w", path, err))
	}
}

func readParquet[T any](path string, do func(numbered[T]) bool) (err error) {
	inside := false // do
	defer func() {
		// The module panics on some damaged files.
		if p := recover(); p != nil {
			if inside {
				panic(p)
			}
			err = fmt.Errorf("damaged Parquet file: %v", p)
		}
	}()
	f, size, err := infile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// A damaged footer may claim gigabytes, which the module would allocate.
	var tail [8]byte
	if _, err := f.ReadAt(tail[:], size-8); err != nil || string(tail[4:]) != "PAR1" || int64(binary.LittleEndian.Uint32(tail[:])) > size-8 {
		return errors.New("not a Parquet file: it does not end in its footer")
	}
	file, err := parquet.OpenFile(f, size)
	if err != nil {
		return fmt.Errorf("not a Parquet file: %w", err)
	}
	reader := parquet.NewGenericReader[T](file)
	defer reader.Close()
	batch := make([]T, 64)
	for number := 1; ; {
		clear(batch)
		n, err := reader.Read(batch)
		for _, row := range batch[:n] {
			inside = true
			more := do(numbered[T]{number, row})
			inside = false
			if !more {
				return nil
			}
			number++
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("after row %d: %w", number-1, err)
		}
	}
}
