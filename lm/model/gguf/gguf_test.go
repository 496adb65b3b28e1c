package gguf_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/lm/model/gguf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t require.TestingT, metadata []gguf.KV, tensors []gguf.Tensor, values map[string][]float32) []byte {
	var buf bytes.Buffer
	w, err := gguf.NewWriter(&buf, metadata, tensors)
	require.NoError(t, err)
	for _, info := range tensors {
		require.NoError(t, w.Write(values[info.Name]))
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func parse(file []byte) (*gguf.Reader, error) {
	return gguf.NewReader(bytes.NewReader(file), int64(len(file)))
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	name := rapid.StringN(1, 8, -1)
	value := rapid.OneOf(
		rapid.Map(rapid.Uint32(), func(v uint32) any { return v }),
		rapid.Map(rapid.Uint64(), func(v uint64) any { return v }),
		rapid.Map(rapid.Int32(), func(v int32) any { return v }),
		rapid.Map(rapid.Float32(), func(v float32) any { return v }),
		rapid.Map(rapid.Bool(), func(v bool) any { return v }),
		rapid.Map(rapid.String(), func(v string) any { return v }),
		rapid.Map(rapid.SliceOfN(rapid.Int32(), 0, 4), func(v []int32) any { return v }),
		rapid.Map(rapid.SliceOfN(rapid.Float32(), 0, 4), func(v []float32) any { return v }),
		rapid.Map(rapid.SliceOfN(rapid.String(), 0, 4), func(v []string) any { return v }),
	)
	rapid.Check(t, func(t *rapid.T) {
		var metadata []gguf.KV
		for _, key := range rapid.SliceOfNDistinct(name, 0, 5, rapid.ID[string]).Draw(t, "keys") {
			metadata = append(metadata, gguf.KV{Key: key, Value: value.Draw(t, key)})
		}
		var tensors []gguf.Tensor
		values := map[string][]float32{}
		for _, n := range rapid.SliceOfNDistinct(name, 0, 5, rapid.ID[string]).Draw(t, "tensors") {
			info := gguf.Tensor{
				Name:  n,
				Type:  rapid.SampledFrom([]gguf.Type{gguf.F32, gguf.F16, gguf.BF16}).Draw(t, "type"),
				Shape: rapid.SliceOfN(rapid.IntRange(1, 5), 1, 4).Draw(t, "shape"),
			}
			v := make([]float32, info.Len())
			for i := range v {
				v[i] = rapid.SampledFrom([]float32{0, 1, -2.5, 0.0078125, float32(math.Inf(1))}).Draw(t, "value")
			}
			tensors, values[n] = append(tensors, info), v
		}
		file := write(t, metadata, tensors, values)
		require.Zero(t, len(file)%32)
		r, err := parse(file)
		require.NoError(t, err)
		require.Equal(t, metadata, r.Metadata())
		require.Equal(t, tensors, r.Tensors())
		for _, info := range tensors {
			got := make([]float32, info.Len())
			require.NoError(t, r.Read(got, info.Name))
			require.Equal(t, values[info.Name], got)
		}
	})
}

// TestReadsWhatTheReferenceWrites reads testdata/golden.gguf, which
// testdata/golden.py wrote with the gguf package of llama.cpp.
func TestReadsWhatTheReferenceWrites(t *testing.T) {
	r, err := gguf.Open("testdata/golden.gguf")
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, "llama", r.Value("general.architecture"))
	require.Equal(t, uint32(7), r.Value("llama.block_count"))
	require.Equal(t, float32(1e-5), r.Value("llama.attention.layer_norm_rms_epsilon"))
	require.Equal(t, true, r.Value("tokenizer.ggml.add_bos_token"))
	require.Equal(t, []string{"a", "ß", ""}, r.Value("tokenizer.ggml.tokens"))
	require.Equal(t, []int32{1, -3, 6}, r.Value("tokenizer.ggml.token_type"))
	require.Equal(t, []float32{0, -1.5, 1e30}, r.Value("tokenizer.ggml.scores"))
	require.Nil(t, r.Value("nothing"))
	require.Equal(t, []gguf.Tensor{
		{Name: "a", Type: gguf.F32, Shape: []int{2, 3}},
		{Name: "b", Type: gguf.BF16, Shape: []int{3}},
		{Name: "c", Type: gguf.F16, Shape: []int{1, 2, 2}},
	}, r.Tensors())
	for name, want := range map[string][]float32{
		"a": {0, 1, 2, 3, 4, 5}, "b": {1, -2.5, 65280}, "c": {0.5, -0.25, 65504, 0},
	} {
		got := make([]float32, len(want))
		require.NoError(t, r.Read(got, name))
		require.Equal(t, want, got)
	}
	require.ErrorContains(t, r.Read(make([]float32, 5), "a"), `tensor "a" has 6 elements, want 5`)
	require.ErrorContains(t, r.Read(nil, "d"), `no tensor "d"`)

	// What is written is, byte for byte, what the reference writes.
	values := map[string][]float32{}
	for _, info := range r.Tensors() {
		values[info.Name] = make([]float32, info.Len())
		require.NoError(t, r.Read(values[info.Name], info.Name))
	}
	want, err := os.ReadFile("testdata/golden.gguf")
	require.NoError(t, err)
	require.Equal(t, want, write(t, r.Metadata(), r.Tensors(), values))
}

func TestFilesThatMustBeRefused(t *testing.T) {
	tensors := []gguf.Tensor{{Name: "aa", Type: gguf.F32, Shape: []int{3}}, {Name: "bb", Type: gguf.BF16, Shape: []int{2}}}
	whole := write(t, []gguf.KV{{Key: "k", Value: "v"}, {Key: "n", Value: true}}, tensors,
		map[string][]float32{"aa": {1, 2, 3}, "bb": {4, 5}})
	_, err := parse(whole)
	require.NoError(t, err)
	put := func(after string, skip int, b ...byte) []byte {
		file := bytes.Clone(whole)
		copy(file[bytes.Index(file, []byte(after))+len(after)+skip:], b)
		return file
	}
	huge := binary.LittleEndian.AppendUint64(nil, 1<<60)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":            {nil, "the file ends in the middle"},
		"other":            {[]byte("GGML............"), `begins with "GGML", want "GGUF"`},
		"version":          {put("GGUF", 0, 2), "of version 2, want 3"},
		"many tensors":     {put("GGUF", 4, huge...), "1152921504606846976 elements, but the rest of the file has room for"},
		"many keys":        {put("GGUF", 12, huge...), "1152921504606846976 elements"},
		"long key":         {put("GGUF", 20, huge...), "1152921504606846976 elements"},
		"kind of value":    {put("k", 0, 99), "k: at byte "},
		"repeated key":     {bytes.Replace(whole, []byte("n\x07"), []byte("k\x07"), 1), `key "k" is empty or appears twice`},
		"empty key":        {bytes.Replace(whole, []byte("\x01\x00\x00\x00\x00\x00\x00\x00k"), make([]byte, 8), 1), `key "" is empty`},
		"bool":             {put("n\x07\x00\x00\x00", 0, 2), "a bool that is 2"},
		"repeated tensor":  {bytes.Replace(whole, []byte("bb"), []byte("aa"), 1), `tensor name "aa" is empty or appears twice`},
		"empty tensor":     {bytes.Replace(whole, []byte("\x02\x00\x00\x00\x00\x00\x00\x00bb"), make([]byte, 8), 1), `tensor name "" is empty`},
		"dimensions":       {put("bb", 0, 5), `tensor "bb" has 5 dimensions, want 1 to 4`},
		"huge dimension":   {put("bb", 4, huge...), `tensor "bb" of 2305843009213693952 bytes reaches beyond the end`},
		"beyond the file":  {put("bb", 4, 200), `tensor "bb" of 400 bytes reaches beyond the end of the file`},
		"type":             {put("bb", 12, 12), `tensor "bb" is of type 12, want F32, F16 or BF16`},
		"overlap":          {put("bb", 16, 0), `tensor "bb" begins at byte 0 of the data, want 32`},
		"gap":              {put("bb", 16, 64), `tensor "bb" begins at byte 64 of the data, want 32`},
		"more data":        {append(bytes.Clone(whole), make([]byte, 32)...), "the tensors end at byte"},
		"without the rest": {whole[:len(whole)-32], "beyond the end of the file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(c.file)
			require.ErrorContains(t, err, c.want)
		})
	}
	dir := t.TempDir()
	for n := range whole {
		_, err := parse(whole[:n])
		require.Error(t, err, "cut after %d bytes", n)
	}
	_, err = gguf.Open(filepath.Join(dir, "nothing"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = gguf.Open(dir)
	require.ErrorContains(t, err, dir)
}

func TestWriterRefuses(t *testing.T) {
	a := gguf.Tensor{Name: "a", Type: gguf.F16, Shape: []int{2}}
	for want, c := range map[string]struct {
		kv      []gguf.KV
		tensors []gguf.Tensor
	}{
		`key "k" is empty or repeated`:               {[]gguf.KV{{Key: "k", Value: true}, {Key: "k", Value: true}}, nil},
		`key "" is empty or repeated`:                {[]gguf.KV{{Key: "", Value: true}}, nil},
		"k: a value of type int":                     {[]gguf.KV{{Key: "k", Value: 1}}, nil},
		`tensor name "a" is empty or repeated`:       {nil, []gguf.Tensor{a, a}},
		`tensor "b" is of type 7`:                    {nil, []gguf.Tensor{{Name: "b", Type: 7, Shape: []int{1}}}},
		`tensor "b" has 0 dimensions`:                {nil, []gguf.Tensor{{Name: "b"}}},
		`tensor "b" has shape [0], want positive di`: {nil, []gguf.Tensor{{Name: "b", Shape: []int{0}}}},
	} {
		_, err := gguf.NewWriter(&bytes.Buffer{}, c.kv, c.tensors)
		require.ErrorContains(t, err, want)
	}
	w, err := gguf.NewWriter(&bytes.Buffer{}, nil, []gguf.Tensor{a})
	require.NoError(t, err)
	require.ErrorContains(t, w.Write(make([]float32, 3)), `3 values for the last 2 elements of tensor "a"`)
	require.ErrorContains(t, w.Close(), `tensor "a" got 0 of 2 elements`)
	require.ErrorContains(t, w.Write([]float32{1e6}), `tensor "a": 1e+06 is too large for F16`)
}

func FuzzReader(f *testing.F) {
	f.Add(write(f, []gguf.KV{{Key: "s", Value: []string{"a", "b"}}, {Key: "i", Value: []int32{1}}, {Key: "f", Value: float32(1)}},
		[]gguf.Tensor{{Name: "a", Type: gguf.BF16, Shape: []int{2, 3}}}, map[string][]float32{"a": make([]float32, 6)}))
	f.Add(write(f, nil, nil, nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := parse(file)
		if err != nil {
			return
		}
		for _, info := range r.Tensors() {
			require.NoError(t, r.Read(make([]float32, info.Len()), info.Name))
		}
	})
}
