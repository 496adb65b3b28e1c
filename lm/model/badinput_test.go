package model_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// copyFile copies a file into dir.
func copyFile(t *testing.T, dir, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o666))
}

// changed returns a copy of a checkpoint whose config.json is changed.
func changed(t *testing.T, from string, change map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	copyFile(t, dir, filepath.Join(from, model.WeightsFile))
	text, err := os.ReadFile(filepath.Join(from, model.ConfigFile))
	require.NoError(t, err)
	config := map[string]any{}
	require.NoError(t, json.Unmarshal(text, &config))
	maps.Copy(config, change)
	text, err = json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, model.ConfigFile), text, 0o666))
	return dir
}

func TestDamagedWeightsAreRefused(t *testing.T) {
	dir := changed(t, "testdata/llama", nil)
	path := filepath.Join(dir, model.WeightsFile)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	header := int(binary.LittleEndian.Uint64(whole))

	long := bytes.Clone(whole)
	binary.LittleEndian.PutUint64(long, 1<<60)
	overlap := bytes.Replace(whole, []byte(`[3712,3776]`), []byte(`[3648,3712]`), 1)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":              {nil, "too few"},
		"truncated header":   {whole[:8+header/2], "header length"},
		"truncated data":     {whole[:len(whole)-4], "the tensors end at byte"},
		"more data":          {append(bytes.Clone(whole), 0), "the tensors end at byte"},
		"header of 2^60":     {long, "header length is 1152921504606846976"},
		"overlapping":        {overlap, "begins at byte"},
		"other file entire":  {[]byte("<html>404 Not Found</html>"), "header length"},
		"integers":           {bytes.Replace(whole, []byte(`"F32"`), []byte(`"I32"`), 1), "is I32, want F32, F16, BF16 or F64"},
		"type it lacks":      {bytes.Replace(whole, []byte(`"F32"`), []byte(`"Q4K"`), 1), `unknown dtype "Q4K"`},
		"name it lacks":      {bytes.Replace(whole, []byte("model.norm"), []byte("model.form"), 1), `no tensor "model.norm.weight"`},
		"rotated dimensions": {bytes.Replace(whole, []byte("[29,16]"), []byte("[16,29]"), 1), "has shape [16 29], want [29 16]"},
	} {
		t.Run(name, func(t *testing.T) {
			require.False(t, bytes.Equal(whole, c.file))
			require.NoError(t, os.WriteFile(path, c.file, 0o666))
			_, err := model.LoadDecoder(reference.New(), dir)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, path)
		})
	}
}

func TestFoldersThatAreNoCheckpoint(t *testing.T) {
	load := func(dir string) error {
		_, err := model.LoadDecoder(reference.New(), dir)
		return err
	}
	dir := t.TempDir()
	require.ErrorIs(t, load(dir), fs.ErrNotExist, "no config.json")
	require.ErrorContains(t, load(dir), filepath.Join(dir, "config.json"))
	copyFile(t, dir, "testdata/llama/config.json")
	require.ErrorIs(t, load(dir), fs.ErrNotExist, "no weights")
	require.ErrorContains(t, load(dir), dir+" has neither model.safetensors nor model.safetensors.index.json")

	require.NoError(t, os.Symlink("model.safetensors", filepath.Join(dir, "model.safetensors")))
	require.ErrorContains(t, load(dir), filepath.Join(dir, "model.safetensors"), "a symlink loop")
	require.NoError(t, os.Remove(filepath.Join(dir, "config.json")))
	require.NoError(t, os.Symlink("config.json", filepath.Join(dir, "config.json")))
	require.ErrorContains(t, load(dir), filepath.Join(dir, "config.json"), "a symlink loop")
	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	require.ErrorContains(t, load(filepath.Join(dir, "loop")), "loop", "the folder itself")
	require.Error(t, load(filepath.Join("testdata", "llama", "config.json")), "a file")
}

func TestWeightsThatAreNotFiniteAreNamed(t *testing.T) {
	dir := changed(t, "testdata/qwen2", nil)
	b := reference.New()
	d, err := model.LoadDecoder(b, dir)
	require.NoError(t, err)
	for _, p := range d.Params() {
		switch p.Name {
		case "model.norm.weight":
			b.Fill(b.Slice(p.Value, 3, 5), float32(math.NaN()))
		case "model.layers.1.mlp.up_proj.weight":
			b.Fill(b.Slice(p.Value, 0, 1), float32(math.Inf(-1)))
		}
	}
	require.NoError(t, d.Save(dir))
	var log bytes.Buffer
	_, err = model.LoadDecoder(b, dir, model.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err, "they are loaded nevertheless")
	lines := bytes.Split(bytes.TrimSpace(log.Bytes()), []byte("\n"))
	require.Len(t, lines, 2)
	require.Contains(t, string(lines[0]), `level=WARN msg="weights are not finite"`)
	require.Contains(t, string(lines[0]), "tensor=model.layers.1.mlp.up_proj.weight values=1 of=384")
	require.Contains(t, string(lines[1]), "tensor=model.norm.weight values=2 of=16")
}

func TestTargetsThatCannotBeWritten(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	require.ErrorContains(t, d.Save(filepath.Join(file, "x")), file, "a folder under a file")

	// What a failed save leaves is what was there.
	kept := filepath.Join(dir, "kept")
	require.NoError(t, d.Save(kept))
	require.NoError(t, os.MkdirAll(filepath.Join(kept, model.GenerationFile, "x"), 0o777))
	other := newDecoder(t, reference.New(), tiny)
	require.ErrorContains(t, other.Export(kept, model.ExportOptions{Generation: &model.Generation{}}), filepath.Join(kept, model.GenerationFile))
	require.NoError(t, os.RemoveAll(filepath.Join(kept, model.GenerationFile)))
	_, err := model.LoadDecoder(reference.New(), kept)
	require.NoError(t, err)
	leftovers, err := filepath.Glob(filepath.Join(kept, ".*"))
	require.NoError(t, err)
	require.Empty(t, leftovers)

	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	readOnly := filepath.Join(dir, "readonly")
	require.NoError(t, os.Mkdir(readOnly, 0o555))
	require.ErrorIs(t, d.Save(readOnly), fs.ErrPermission)
}

func TestValuesThatTheTypeCannotHoldAreRefused(t *testing.T) {
	b := reference.New()
	d := newDecoder(t, b, tiny)
	b.Fill(d.Params()[0].Value, 1e5)
	dir := t.TempDir()
	err := d.Export(dir, model.ExportOptions{DType: safetensors.F16})
	require.ErrorContains(t, err, `tensor "model.embed_tokens.weight": 100000 is too large for F16`)
	require.NoFileExists(t, filepath.Join(dir, model.WeightsFile))
	require.ErrorContains(t, d.Export(dir, model.ExportOptions{DType: "I8"}), `ExportOptions.DType is "I8"`)
	require.ErrorContains(t, d.Export(dir, model.ExportOptions{ShardBytes: -1}), "ExportOptions.ShardBytes is -1")
}

func TestATokenizerWithMoreTokensThanEmbeddings(t *testing.T) {
	cfg := newDecoder(t, reference.New(), tiny).Config()
	require.NoError(t, cfg.CheckTokenizer(cfg.Vocab))
	require.NoError(t, cfg.CheckTokenizer(3))
	require.EqualError(t, cfg.CheckTokenizer(12), "model: the tokenizer has 12 tokens, but the model has embeddings for 11 (vocab_size)")
}
