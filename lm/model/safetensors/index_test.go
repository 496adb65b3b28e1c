package safetensors_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
)

// shards writes files that each hold one tensor [1] of the name given, and an
// index, and returns the index's path.
func shards(t testing.TB, index string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for file, tensor := range files {
		data := write(t, []safetensors.Tensor{{Name: tensor, DType: safetensors.F32, Shape: []int{1}}}, map[string][]float32{tensor: {7}})
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), data, 0o666))
	}
	path := filepath.Join(dir, "model.safetensors.index.json")
	require.NoError(t, os.WriteFile(path, []byte(index), 0o666))
	return path
}

func TestOpensTheFilesOfAnIndex(t *testing.T) {
	path := shards(t, `{"metadata":{"total_size":8},"weight_map":{"x":"a.safetensors","y":"b.safetensors"}} `,
		map[string]string{"a.safetensors": "x", "b.safetensors": "y"})
	r, err := safetensors.OpenIndex(path)
	require.NoError(t, err)
	require.Len(t, r.Tensors(), 2)
	require.Equal(t, []float32{7}, read(t, r, "x"))
	require.Equal(t, []float32{7}, read(t, r, "y"))
	require.Nil(t, r.Metadata())
	require.NoError(t, r.Close())
}

// As transformers 5.23 reads them.
func TestIndexesWithSurplus(t *testing.T) {
	files := map[string]string{"a": "x", "b": "y", "c": "z"}
	for index, want := range map[string][]string{
		`{"metadata":null,"weight_map":{"x":"a","absent":"b"}}`:             {"x", "y"}, // "absent" is in no file, y in no index
		`{"weight_map":{"x":"b","y":"b","z":"a"},"other":[1]}`:              {"x", "y"}, // x and y are elsewhere
		`{"weight_map":{"x":"c","x":"a"},"metadata":{"total_size":"many"}}`: {"x"},
		`{"weight_map":{"x":"b"},"weight_map":{"x":"a"}}`:                   {"x"},
		`{"weight_map":{}}`: nil,
	} {
		r, err := safetensors.OpenIndex(shards(t, index, files))
		require.NoError(t, err, index)
		var got []string
		for _, info := range r.Tensors() {
			got = append(got, info.Name)
			require.Equal(t, []float32{7}, read(t, r, info.Name))
		}
		require.Equal(t, want, got)
		require.NoError(t, r.Close())
	}
	// Of two tensors of one name the one in the last file counts.
	path := shards(t, `{"weight_map":{"x":"a","y":"b"}}`, map[string]string{"a": "x"})
	data := write(t, []safetensors.Tensor{{Name: "x", DType: safetensors.F32, Shape: []int{2}}}, map[string][]float32{"x": {8, 9}})
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "b"), data, 0o666))
	r, err := safetensors.OpenIndex(path)
	require.NoError(t, err)
	require.Len(t, r.Tensors(), 1)
	require.Equal(t, []float32{8, 9}, read(t, r, "x"))
	require.NoError(t, r.Close())
}

func TestIndexesThatMustBeRefused(t *testing.T) {
	files := map[string]string{"a": "x", "b": "y"}
	for want, index := range map[string]string{
		"no such file": `{"weight_map":{"x":"c"}}`,
		`tensor "x" is said to be in "../a", want a plai`: `{"weight_map":{"x":"../a"}}`,
		`tensor "x" is said to be in ".."`:                `{"weight_map":{"x":".."}}`,
		`tensor "x" is said to be in ""`:                  `{"weight_map":{"x":null}}`,
		`no "weight_map"`:                                 `{"metadata":{},"Weight_Map":{}}`,
		"unexpected end of JSON input":                    `{"weight_map":{"x":"a"`,
		"after top-level value":                           `{"weight_map":{"x":"a"}}{}`,
		"weight_map: json: cannot unmarshal number":       `{"weight_map":{"x":3}}`,
		"byte order mark":                                 "\ufeff{}",
		"Infinity is not JSON":                            `{"metadata":{"total_size":Infinity}}`,
	} {
		_, err := safetensors.OpenIndex(shards(t, index, files))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "safetensors: ")
	}
	_, err := safetensors.OpenIndex(filepath.Join(t.TempDir(), "nothing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestFilesThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	require.NoError(t, os.Symlink("loop", loop))
	for _, path := range []string{loop, dir, filepath.Join(dir, "nothing")} {
		_, err := safetensors.Open(path)
		require.ErrorContains(t, err, filepath.Base(path))
		_, err = safetensors.OpenIndex(path)
		require.ErrorContains(t, err, filepath.Base(path))
	}
	whole := write(t, []safetensors.Tensor{{Name: "x", DType: safetensors.F32, Shape: []int{5}}}, map[string][]float32{"x": make([]float32, 5)})
	cut := filepath.Join(dir, "cut")
	for n := range whole {
		require.NoError(t, os.WriteFile(cut, whole[:n], 0o666))
		_, err := safetensors.Open(cut)
		require.ErrorContains(t, err, cut, "cut after %d bytes", n)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(`{"metadata":{},"weight_map":{"x":"a"}}`)
	f.Add(`{"weight_map":{}}`)
	f.Add(`{"weight_map":{"x":"/a"}}`)
	path := shards(f, "", map[string]string{"a": "x"})
	f.Fuzz(func(t *testing.T, index string) {
		require.NoError(t, os.WriteFile(path, []byte(index), 0o666))
		r, err := safetensors.OpenIndex(path)
		if err != nil {
			return
		}
		for _, info := range r.Tensors() {
			require.Equal(t, []float32{7}, read(t, r, info.Name))
		}
		require.NoError(t, r.Close())
	})
}
