package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"
)

// parquetRows yields the rows of a Parquet file, a batch of them in memory.
func (t *Table) parquetRows(f *os.File, yield func(row, error) bool) {
	stopped := false
	err := t.readParquet(f, func(r row) bool {
		stopped = !yield(r, nil)
		return !stopped
	})
	if err != nil && !stopped {
		yield(row{}, err)
	}
}

func (t *Table) readParquet(f *os.File, do func(row) bool) (err error) {
	inside := false // do
	defer func() {
		// The module panics on some damaged files.
		if p := recover(); p != nil {
			if inside {
				panic(p)
			}
			err = fmt.Errorf("%s: damaged Parquet file: %v", t.File, p)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// A damaged footer may claim gigabytes, which the module would allocate.
	var tail [8]byte
	if _, err := f.ReadAt(tail[:], info.Size()-8); err != nil || string(tail[4:]) != "PAR1" || int64(binary.LittleEndian.Uint32(tail[:])) > info.Size()-8 {
		return fmt.Errorf("%s: not a Parquet file: it does not end in its footer", t.File)
	}
	file, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		return fmt.Errorf("%s: not a Parquet file: %w", t.File, err)
	}
	reader := parquet.NewGenericReader[any](file)
	defer reader.Close()
	batch := make([]any, 64)
	for line := 1; ; {
		n, err := reader.Read(batch)
		for _, v := range batch[:n] {
			o, _ := fromParquet(v, file.Schema()).(object)
			inside = true
			more := do(row{line, o, true})
			inside = false
			if !more {
				return nil
			}
			line++
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: after row %d: %w", t.File, line-1, err)
		}
	}
}

// fromParquet converts what the module reads, with the members of groups in the order
// of the schema.
func fromParquet(v any, node parquet.Node) value {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		o := object{}
		if node == nil || node.Leaf() {
			for _, name := range slices.Sorted(maps.Keys(v)) {
				o = append(o, member{name, fromParquet(v[name], nil)})
			}
			return o
		}
		for _, f := range node.Fields() {
			o = append(o, member{f.Name(), fromParquet(v[f.Name()], f)})
		}
		return o
	case []any:
		list := make([]value, len(v))
		for i, e := range v {
			list[i] = fromParquet(e, nil)
		}
		return list
	case string:
		return v
	case bool:
		return v
	}
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return number(strconv.FormatInt(r.Int(), 10))
	case r.CanUint():
		return number(strconv.FormatUint(r.Uint(), 10))
	case r.CanFloat():
		return number(strconv.FormatFloat(r.Float(), 'g', -1, r.Type().Bits()))
	}
	return fmt.Sprint(v)
}
