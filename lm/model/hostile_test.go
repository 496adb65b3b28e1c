//go:build unix

package model_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// Each file of a folder may be a pipe, a device or a terabyte: that is an error,
// at once and without memory.
func TestFilesThatAreNotRegular(t *testing.T) {
	full := func(t *testing.T) string {
		dir := changed(t, "testdata/qwen3", nil)
		for name, text := range map[string]string{
			model.GenerationFile: "{}", "tokenizer.json": "{}", "1_Pooling/config.json": "{}",
			model.LoRAConfigFile: `{"peft_type":"LORA","target_modules":["q_proj"]}`, model.LoRAWeightsFile: "",
		} {
			path := filepath.Join(dir, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		}
		return dir
	}
	b := reference.New()
	d := newDecoder(t, b, tiny)
	load := func(dir string) error { _, err := model.LoadDecoder(b, dir); return err }
	lora := func(dir string) error { _, err := newDecoder(t, b, tiny).LoadLoRA(dir); return err }
	uses := map[string][]func(dir string) error{
		model.ConfigFile:     {load, func(dir string) error { _, err := model.Inspect(dir); return err }},
		model.WeightsFile:    {load, func(dir string) error { _, err := model.Inspect(dir); return err }},
		model.IndexFile:      {func(dir string) error { _ = os.Remove(filepath.Join(dir, model.WeightsFile)); return load(dir) }},
		model.GenerationFile: {func(dir string) error { _, err := model.ReadGeneration(dir); return err }},
		"tokenizer.json":     {func(dir string) error { return d.Export(t.TempDir(), model.ExportOptions{TokenizerFrom: dir}) }},
		"1_Pooling/config.json": {func(dir string) error {
			copyFile(t, dir, "testdata/bert/config.json")
			_, err := model.PretrainedEncoder(b, dir, 2, 1)
			return err
		}},
		"modules.json": {func(dir string) error {
			copyFile(t, dir, "testdata/bert/config.json")
			_, err := model.PretrainedEncoder(b, dir, 2, 1)
			return err
		}},
		"sentence_bert_config.json": {func(dir string) error {
			copyFile(t, dir, "testdata/bert/config.json")
			require.NoError(t, os.WriteFile(filepath.Join(dir, "modules.json"), []byte("[]"), 0o666))
			_, err := model.PretrainedEncoder(b, dir, 2, 1)
			return err
		}},
		model.LoRAConfigFile:  {lora},
		model.LoRAWeightsFile: {lora},
	}
	for name, all := range uses {
		for _, use := range all {
			for what, put := range map[string]func(path string) error{
				"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o666) },
				"a device":    func(path string) error { return os.Symlink("/dev/zero", path) },
				"a directory": func(path string) error { return os.Mkdir(path, 0o777) },
			} {
				dir := full(t)
				path := filepath.Join(dir, name)
				require.NoError(t, os.RemoveAll(path))
				require.NoError(t, put(path))
				done := make(chan error, 1)
				go func() { done <- use(dir) }()
				select {
				case err := <-done:
					require.ErrorContains(t, err, path)
					require.ErrorContains(t, err, what+", want a regular file")
				case <-time.After(20 * time.Second):
					t.Fatalf("%s that is %s: no answer", name, what)
				}
			}
		}
	}
	for _, name := range []string{model.ConfigFile, model.GenerationFile, model.LoRAConfigFile} {
		dir := full(t)
		path := filepath.Join(dir, name)
		require.NoError(t, os.Truncate(path, 1<<40))
		for _, use := range uses[name] {
			err := use(dir)
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, "want at most 16777216")
		}
	}
}

func TestWhatIsNoJSONIsNamed(t *testing.T) {
	const json = `"model_type":"llama","vocab_size":11}`
	for text, want := range map[string]string{
		"\ufeff{" + json:                           "begins with a byte order mark, want JSON in UTF-8 without one",
		"{\n\"rms_norm_eps\":NaN," + json:          "line 2: NaN is not JSON, want a finite number or null",
		`{"rope_theta": Infinity,` + json:          "line 1: Infinity is not JSON",
		`{"initializer_range":[-Infinity],` + json: "line 1: -Infinity is not JSON",
		"null": "null, want an object",
		"[]":   "array, want an object",
		"":     "unexpected end of JSON input",
	} {
		dir := t.TempDir()
		for _, name := range []string{model.ConfigFile, model.GenerationFile, model.LoRAConfigFile} {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
			read := map[string]func(string) error{
				model.ConfigFile:     func(dir string) error { _, err := model.ReadConfig(dir); return err },
				model.GenerationFile: func(dir string) error { _, err := model.ReadGeneration(dir); return err },
				model.LoRAConfigFile: func(dir string) error { _, err := model.ReadLoRAConfig(dir); return err },
			}[name]
			require.ErrorContains(t, read(dir), "model: "+path+": "+want)
		}
	}
}
