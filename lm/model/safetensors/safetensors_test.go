package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
)

func open(t *testing.T, path string) *safetensors.Reader {
	t.Helper()
	r, err := safetensors.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func read(t require.TestingT, r *safetensors.Reader, name string) []float32 {
	info, ok := r.Lookup(name)
	require.True(t, ok, name)
	v := make([]float32, info.Len())
	require.NoError(t, r.Read(v, name, 0))
	return v
}

func write(t require.TestingT, tensors []safetensors.Tensor, values map[string][]float32) []byte {
	var buf bytes.Buffer
	w, err := safetensors.NewWriter(&buf, tensors, nil)
	require.NoError(t, err)
	for _, info := range tensors {
		require.NoError(t, w.Write(values[info.Name]))
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// parse reads a file held in memory.
func parse(file []byte) (*safetensors.Reader, error) {
	return safetensors.NewReader(bytes.NewReader(file), int64(len(file)))
}

func TestReadsWhatTheReferenceWrites(t *testing.T) {
	r := open(t, "testdata/golden.safetensors")
	require.Equal(t, map[string]string{"format": "pt", "note": "naïve"}, r.Metadata())
	require.Len(t, r.Tensors(), 7)

	info, _ := r.Lookup("exact")
	require.Equal(t, safetensors.Tensor{Name: "exact", DType: safetensors.F32, Shape: []int{2, 3}}, info)
	require.Equal(t, []float32{1, -2.5, 0, 65280, float32(math.Copysign(0, -1)), 1e-40}, read(t, r, "exact"))
	require.Equal(t, []float32{1, -2.5, 0, 65280}, read(t, r, "exact.bf16")[:4])
	require.Equal(t, []float32{7}, read(t, r, "scalar"))
	require.Empty(t, read(t, r, "none"))
	require.ErrorContains(t, r.Read(make([]float32, 3), "ids", 0), `tensor "ids" is I64, want F32, F16, BF16 or F64`)

	part := make([]float32, 2)
	require.NoError(t, r.Read(part, "exact", 1))
	require.Equal(t, []float32{-2.5, 0}, part)
	require.ErrorContains(t, r.Read(part, "exact", 5), `tensor "exact" has 6 elements, want 2 from 5 on`)
	require.ErrorContains(t, r.Read(part, "absent", 0), `no tensor "absent"`)
}

func TestRoundsToBF16AsTorchDoes(t *testing.T) {
	r := open(t, "testdata/golden.safetensors")
	for _, name := range []string{"exact", "rounding"} {
		v, want := read(t, r, name), read(t, r, name+".bf16")
		for i := range v {
			if math.IsInf(float64(want[i]), 0) { // torch overflows; the writer refuses
				v[i] = want[i]
			}
		}
		file := write(t, []safetensors.Tensor{{Name: "x", DType: safetensors.BF16, Shape: []int{len(v)}}}, map[string][]float32{"x": v})
		got, err := parse(file)
		require.NoError(t, err)
		require.Equal(t, want, read(t, got, "x"))
	}
	nan := math.Float32frombits(0x7f800001) // its upper half alone would be +Inf
	file := write(t, []safetensors.Tensor{{Name: "x", DType: safetensors.BF16, Shape: []int{1}}}, map[string][]float32{"x": {nan}})
	got, err := parse(file)
	require.NoError(t, err)
	require.True(t, math.IsNaN(float64(read(t, got, "x")[0])))
}

var dtypes = rapid.SampledFrom([]safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16})

// values16 are exact in all types.
var values16 = []float32{0, 1, -2.5, 65280, 0.0078125, float32(math.Inf(-1))}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringN(1, 8, -1), 0, 5, rapid.ID[string]).Draw(t, "names")
		var tensors []safetensors.Tensor
		values := map[string][]float32{}
		for _, name := range names {
			info := safetensors.Tensor{Name: name, DType: dtypes.Draw(t, "dtype"), Shape: rapid.SliceOfN(rapid.IntRange(0, 4), 0, 3).Draw(t, "shape")}
			tensors = append(tensors, info)
			v := make([]float32, info.Len())
			for i := range v {
				v[i] = rapid.SampledFrom(values16).Draw(t, "value")
				if info.DType == safetensors.F32 {
					v[i] = rapid.Float32().Draw(t, "value")
				}
			}
			values[name] = v
		}
		file := write(t, tensors, values)
		require.Zero(t, (8+binary.LittleEndian.Uint64(file))%8, "the data is aligned")
		r, err := parse(file)
		require.NoError(t, err)
		require.Len(t, r.Tensors(), len(tensors))
		for _, info := range tensors {
			require.Equal(t, values[info.Name], read(t, r, info.Name))
		}
	})
}

func TestReadsABF16Checkpoint(t *testing.T) {
	const path = "../../../../shared/models/verl_arith/model.safetensors"
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Skip("shared/models/verl_arith is not here")
	}
	r := open(t, path)
	v := read(t, r, "model.embed_tokens.weight")
	require.Len(t, v, 16*128)
	for _, x := range v {
		require.False(t, math.IsNaN(float64(x)) || math.Abs(float64(x)) > 10)
	}
}

// file puts a header and data together.
func file(header string, data int) []byte {
	f := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(f, header...), make([]byte, data)...)
}

const (
	entryA = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	entryB = `"b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}`
)

func TestHeadersThatMustBeRefused(t *testing.T) {
	_, err := parse(file("{"+entryA+","+entryB+"}   ", 10))
	require.NoError(t, err)

	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"short file":      {[]byte("abc"), "too few"},
		"long header":     {append([]byte{255, 0, 0, 0, 0, 0, 0, 0}, "{}"...), "header length is 255, want at most 2"},
		"huge header":     {[]byte{0, 0, 0, 0, 0, 0, 0, 128}, "header length"},
		"header of 2^60":  {append([]byte{0, 0, 0, 0, 0, 0, 0, 16}, "{}"...), "header length is 1152921504606846976, want at most 2"},
		"no object":       {file("[]", 0), "where an object was expected"},
		"byte order mark": {file("\ufeff{}", 0), "byte order mark"},
		"NaN":             {file(`{"a":NaN}`, 0), "NaN is not JSON"},
		"metadata twice":  {file(`{"__metadata__":{},"__metadata__":{}}`, 0), `"__metadata__" twice`},
		"metadata null":   {file(`{"__metadata__":{"n":null}}`, 0), `"n" is null, want a string`},
		"null in shape":   {file(`{"a":{"dtype":"F32","shape":[null],"data_offsets":[0,8]}}`, 8), "shape has null, want integers"},
		"half a byte":     {file(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2), "need 12 bits, want whole bytes"},
		"trailing null":   {file("{"+entryA+"}\x00", 8), "goes on"},
		"cut":             {file("{"+entryA, 8), "ends in the middle"},
		"trailing":        {file("{"+entryA+"}x", 8), "goes on"},
		"not UTF-8":       {file("{\"\xff\":1}", 0), "UTF-8"},
		"missing key":     {file(`{"a":{"dtype":"F32","shape":[2]}}`, 8), `no "data_offsets"`},
		"repeated key":    {file(`{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8), `"dtype" appears twice`},
		"unknown dtype":   {file(`{"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}`, 8), `unknown dtype "F31"`},
		"null shape":      {file(`{"a":{"dtype":"F32","shape":null,"data_offsets":[0,8]}}`, 8), "shape is null"},
		"negative shape":  {file(`{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, 8), "negative"},
		"overflow":        {file(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, 0), "too large"},
		"wrong size":      {file(`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8), "need 12"},
		"backward":        {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, 8), "data_offsets are [8 0]"},
		"fraction":        {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0.5,8]}}`, 8), "data_offsets"},
		"gap":             {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "begins at byte 4 of the data, want 0"},
		"overlap":         {file(`{`+entryA+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "begins at byte 4 of the data, want 8"},
		"data too long":   {file("{"+entryA+"}", 9), "end at byte 8 of the data, which has 9"},
		"data too short":  {file("{"+entryA+"}", 7), "end at byte 8 of the data, which has 7"},
		"metadata number": {file(`{"__metadata__":{"n":1}}`, 0), `__metadata__: json: cannot unmarshal number`},
		"entry no object": {file(`{"a":3}`, 0), "where an object was expected"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(c.file)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// What safetensors 0.8.0 (the Rust code, through Python) reads.
func TestHeadersThatTheReferenceReads(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		data   int
		want   []safetensors.Tensor
	}{
		"white space":       {" \n\t\r{ " + entryA + " } \r\n\t", 8, []safetensors.Tensor{{Name: "a", DType: "F32", Shape: []int{2}}}},
		"metadata null":     {`{"__metadata__":null,` + entryA + `}`, 8, []safetensors.Tensor{{Name: "a", DType: "F32", Shape: []int{2}}}},
		"metadata repeated": {`{"__metadata__":{"k":"1","k":"2"}}`, 0, nil},
		"other keys":        {`{"a":{"x":{"y":[1]},"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, []safetensors.Tensor{{Name: "a", DType: "F32", Shape: []int{2}}}},
		"name twice":        {`{"a":{"dtype":"I8","shape":[3],"data_offsets":[4,7]},` + entryA + `}`, 8, []safetensors.Tensor{{Name: "a", DType: "F32", Shape: []int{2}}}},
		"empty name":        {`{"":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, []safetensors.Tensor{{DType: "F32", Shape: []int{2}}}},
		"nothing":           {"{}", 0, nil},
		"no elements":       {`{"a":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}}`, 0, []safetensors.Tensor{{Name: "a", DType: "F32", Shape: []int{0, 7}}}},
	} {
		r, err := parse(file(c.header, c.data))
		require.NoError(t, err, name)
		require.ElementsMatch(t, c.want, r.Tensors(), name)
	}
	bytes := map[safetensors.DType]int{
		"F4": 2, "F6_E2M3": 3, "F6_E3M2": 3, "BOOL": 4, "U8": 4, "I8": 4, "F8_E5M2": 4, "F8_E4M3": 4, "F8_E8M0": 4, "F8_E4M3FNUZ": 4,
		"F8_E5M2FNUZ": 4, "I16": 8, "U16": 8, "F16": 8, "BF16": 8, "I32": 16, "U32": 16, "F32": 16, "I64": 32, "U64": 32, "F64": 32, "C64": 32,
	}
	for dtype, n := range bytes {
		r, err := parse(file(fmt.Sprintf(`{"a":{"dtype":%q,"shape":[2,2],"data_offsets":[0,%d]}}`, dtype, n), n))
		require.NoError(t, err, dtype)
		require.EqualValues(t, n, r.Tensors()[0].Bytes())
		if err := r.Read(make([]float32, 4), "a", 0); dtype.CheckFloat() != nil {
			require.ErrorContains(t, err, fmt.Sprintf(`tensor "a" is %s, want F32, F16, BF16 or F64`, dtype))
			require.Equal(t, strings.HasPrefix(string(dtype), "F8"), strings.Contains(err.Error(), "without their scales"))
		} else {
			require.NoError(t, err)
		}
	}
}

// Doubles are rounded to the nearest float32, ties to even.
func TestReadsDoubles(t *testing.T) {
	var data []byte
	for _, v := range []float64{1. / 3, 1 + 0x1p-24, 1 + 0x1.8p-24, -1e300, 1e-46, 2.5} {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
	}
	header := `{"a":{"dtype":"F64","shape":[6],"data_offsets":[0,48]}}`
	r, err := parse(append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...))
	require.NoError(t, err)
	require.Equal(t, []float32{0x1.555556p-2, 1, 1 + 0x1p-23, float32(math.Inf(-1)), 0, 2.5}, read(t, r, "a"))
	part := make([]float32, 1)
	require.NoError(t, r.Read(part, "a", 5))
	require.Equal(t, []float32{2.5}, part)
	_, err = safetensors.NewWriter(io.Discard, []safetensors.Tensor{{Name: "a", DType: safetensors.F64}}, nil)
	require.ErrorContains(t, err, "want F32, F16 or BF16")
}

func TestWriterRefuses(t *testing.T) {
	var buf bytes.Buffer
	a := safetensors.Tensor{Name: "a", DType: safetensors.F32, Shape: []int{2}}
	_, err := safetensors.NewWriter(&buf, []safetensors.Tensor{a, a}, nil)
	require.ErrorContains(t, err, `"a" is empty, reserved or repeated`)
	_, err = safetensors.NewWriter(&buf, []safetensors.Tensor{{Name: "a", DType: "I64"}}, nil)
	require.ErrorContains(t, err, "want F32, F16 or BF16")

	w, err := safetensors.NewWriter(&buf, []safetensors.Tensor{a}, nil)
	require.NoError(t, err)
	require.ErrorContains(t, w.Write(make([]float32, 3)), `3 values for the last 2 elements of tensor "a"`)
	require.NoError(t, w.Write(make([]float32, 1)))
	require.ErrorContains(t, w.Close(), `tensor "a" got 1 of 2 elements`)
	require.NoError(t, w.Write(make([]float32, 1)))
	require.NoError(t, w.Close())
	require.ErrorContains(t, w.Write(make([]float32, 1)), "after the end")

	for dtype, v := range map[safetensors.DType]float32{safetensors.F16: 70000, safetensors.BF16: -3.4e38} {
		w, err = safetensors.NewWriter(&buf, []safetensors.Tensor{{Name: "a", DType: dtype, Shape: []int{1}}}, nil)
		require.NoError(t, err)
		require.ErrorContains(t, w.Write([]float32{v}), fmt.Sprintf(`tensor "a": %v is too large for %s`, v, dtype))
	}
}

func FuzzReader(f *testing.F) {
	f.Add(file("{"+entryA+","+entryB+"}   ", 10))
	f.Add(file(`{"__metadata__":{"k":"v"},`+entryA+`}`, 8))
	f.Add(file("{}", 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
		if err != nil {
			return
		}
		for _, info := range r.Tensors() {
			if info.DType.CheckFloat() == nil {
				require.NoError(t, r.Read(make([]float32, info.Len()), info.Name, 0))
			}
		}
	})
}
