package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/gguf"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

func TestExportGGUFHelp(t *testing.T) { checkHelp(t, "export-gguf") }

// The file has the folder's weights, and its special tokens without being told.
func TestExportGGUF(t *testing.T) {
	dir, file := modelFolder(t, tinyModel, map[string]string{"generation_config.json": `{"eos_token_id": [256, 0]}`}), filepath.Join(t.TempDir(), "start.gguf")
	status, out, errs := stepwise("", "export-gguf", dir, file)
	require.Zero(t, status, errs)
	require.Empty(t, out)
	f, err := gguf.Open(file)
	require.NoError(t, err)
	defer f.Close()
	require.EqualValues(t, 256, f.Value("tokenizer.ggml.eos_token_id"))
	require.Len(t, f.Value("tokenizer.ggml.tokens"), 260)
	require.Equal(t, chatTemplate, f.Value("tokenizer.chat_template"))
	d, err := model.LoadDecoder(reference.New(), dir)
	require.NoError(t, err)
	want := make([]float32, d.Params()[0].Len())
	require.NoError(t, d.Backend().Read(want, d.Params()[0].Value))
	got := make([]float32, len(want))
	require.NoError(t, f.Read(got, "token_embd.weight"))
	require.Equal(t, want, got)
}

func TestExportGGUFErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "start.gguf")
	for want, args := range map[string][]string{
		"1 argument, want DIR FILE": {"start.gguf"},
		"no model's folder":         {t.TempDir(), file},
		"no tokenizer.json":         {modelFolder(t, tinyModel, map[string]string{"tokenizer.json": ""}), file},
		"no token ends a text":      {modelFolder(t, tinyModel, nil), file},
	} {
		status, out, errs := stepwise("", append([]string{"export-gguf"}, args...)...)
		require.NotZero(t, status, want)
		require.Empty(t, out)
		require.Contains(t, errs, want)
		require.NoFileExists(t, file)
	}
}
