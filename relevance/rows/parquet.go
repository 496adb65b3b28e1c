package rows

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/stepwise-rl/stepwise/internal/parquetfile"
)

// parquetRows yields the rows of a Parquet file, a batch of them in memory.
func (t *Table) parquetRows(f *os.File, yield func(row, error) bool) {
	info, err := f.Stat()
	if err != nil {
		yield(row{}, err)
		return
	}
	stopped := false
	err = parquetfile.Each(f, info.Size(), func(line int, v any, schema *parquet.Schema) bool {
		o, _ := fromParquet(v, schema).(object)
		stopped = !yield(row{line: line, values: o, flat: true}, nil)
		return !stopped
	})
	if err != nil && !stopped {
		yield(row{}, fmt.Errorf("%s: %w", t.File, err))
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
		if text, err := json.Marshal(v); err == nil { // without an exponent as far as that is short
			return number(text)
		}
	}
	return fmt.Sprint(v)
}
