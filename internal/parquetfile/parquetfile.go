// Package parquetfile reads the rows of Parquet files from outside, which may be
// damaged.
package parquetfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// batch is the number of rows in memory.
const batch = 64

// Each calls do with each row of a file of the given size, counted from 1, until it
// returns false. T is a struct with parquet tags, or any. schema is the file's. Errors
// do not name the file.
func Each[T any](f io.ReaderAt, size int64, do func(number int, row T, schema *parquet.Schema) bool) (err error) {
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
	rows := make([]T, batch)
	for number := 1; ; {
		clear(rows)
		n, err := reader.Read(rows)
		for _, row := range rows[:n] {
			inside = true
			more := do(number, row, file.Schema())
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
