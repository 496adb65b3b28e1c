package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

const chatTemplate = `{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`

var tinyModel = model.Config{Vocab: 260, Dim: 16, Layers: 2, Heads: 4, KVHeads: 2, FF: 24, MaxSeq: 64, TieEmbeddings: true}

// modelFolder makes a folder with a random model, its tokenizer and a chat
// template; files are added to it, or with an empty text taken from it.
func modelFolder(t *testing.T, cfg model.Config, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	d, err := model.NewDecoder(reference.New(), cfg, 1)
	require.NoError(t, err)
	require.NoError(t, d.Save(dir))
	tokens, err := tokenizer.Train(slices.Values([]string{"the cat sat on the mat", "ünïcödé 日本語"}), tokenizer.TrainOptions{VocabSize: 260, Special: []string{"<end>"}})
	require.NoError(t, err)
	require.NoError(t, tokens.Save(filepath.Join(dir, tokenizerFile)))
	config, err := json.Marshal(map[string]string{"eos_token": "<end>", "chat_template": chatTemplate})
	require.NoError(t, err)
	all := map[string]string{"tokenizer_config.json": string(config)}
	maps.Copy(all, files)
	for name, text := range all {
		path := filepath.Join(dir, name)
		if text == "" {
			require.NoError(t, os.RemoveAll(path))
			continue
		}
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
	}
	return dir
}

// checkHelp compares a command's help with testdata/<command>.help.
func checkHelp(t *testing.T, command ...string) {
	status, help, errs := stepwise("", append(command, "-h")...)
	require.Zero(t, status)
	require.Empty(t, errs)
	golden := filepath.Join("testdata", strings.Join(command, "-")+".help")
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(golden, []byte(help), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), help, "run the test with UPDATE=1 if this is meant")
}

func TestGenerateHelp(t *testing.T) { checkHelp(t, "generate") }

// Greedy text is the same every time and on every backend; sampled text is
// that of its seed.
func TestGenerate(t *testing.T) {
	dir := modelFolder(t, tinyModel, nil)
	run := func(flags ...string) string {
		status, out, errs := stepwise("the mat", append([]string{"generate", "-model", dir, "-max-tokens", "12"}, flags...)...)
		require.Zero(t, status, errs)
		require.Empty(t, errs)
		require.True(t, strings.HasSuffix(out, "\n"))
		return out
	}
	greedy := run("-prompt", "the cat")
	require.Greater(t, len(greedy), 1)
	require.Equal(t, greedy, run("-prompt", "the cat", "-temperature", "0", "-seed", "7"))
	require.Equal(t, greedy, run("-prompt", "the cat", "-backend", "reference"))
	require.Equal(t, greedy, run("-prompt", "the cat", "-temperature", "1", "-top-k", "1"))
	require.Equal(t, run("-prompt", "-"), run("-prompt", "the mat"))
	sampled := func(seed string) string { return run("-prompt", "the cat", "-temperature", "2", "-seed", seed) }
	require.Equal(t, sampled("1"), sampled("1"))
	require.NotEqual(t, sampled("1"), sampled("2"))
	require.Equal(t, run("-prompt", "<user>hello<end><assistant>"), run("-prompt", "hello", "-chat"))
	require.Equal(t, run("-prompt", "<system>be brief<end><user>hello<end><assistant>"), run("-prompt", "hello", "-chat", "-system", "be brief"))
}

// Adapters change the text as they do when they are merged into the weights.
func TestGenerateWithAdapters(t *testing.T) {
	dir, adapters, merged := modelFolder(t, tinyModel, nil), t.TempDir(), modelFolder(t, tinyModel, nil)
	b := reference.New()
	d, err := model.LoadDecoder(b, dir)
	require.NoError(t, err)
	l, err := d.AddLoRA(model.LoRAConfig{Rank: 2, Alpha: 64, Targets: model.QProj | model.DownProj}, 3)
	require.NoError(t, err)
	for _, p := range l.Params() {
		b.Fill(p.Value, .1)
	}
	require.NoError(t, l.Save(adapters))
	l.Merge()
	require.NoError(t, d.Save(merged))
	run := func(flags ...string) string {
		status, out, errs := stepwise("", append([]string{"generate", "-max-tokens", "12", "-prompt", "the cat"}, flags...)...)
		require.Zero(t, status, errs)
		return out
	}
	require.Equal(t, run("-model", merged), run("-model", dir, "-lora", adapters))
	require.NotEqual(t, run("-model", dir), run("-model", dir, "-lora", adapters))
	status, _, errs := stepwise("", "generate", "-model", dir, "-prompt", "x", "-lora", dir)
	require.Equal(t, exitInput, status)
	require.Contains(t, errs, model.LoRAConfigFile)
}

// Weights of bfloat16 make a text too, and another type is an error.
func TestGenerateWeights(t *testing.T) {
	dir := modelFolder(t, tinyModel, nil)
	for weights, want := range map[string]int{"float32": exitOK, "bfloat16": exitOK, "int4": exitUsage} {
		status, out, errs := stepwise("", "generate", "-model", dir, "-prompt", "the cat", "-max-tokens", "4", "-weights", weights)
		require.Equal(t, want, status, errs)
		require.Equal(t, want == exitOK, len(out) > 1)
	}
}

var firstASCII = regexp.MustCompile(`[!-~]`)

// A stop string, an end-of-text token and the end of the context end the text.
func TestGenerateEnds(t *testing.T) {
	dir := modelFolder(t, tinyModel, nil)
	_, out, _ := stepwise("", "generate", "-model", dir, "-prompt", "the cat", "-max-tokens", "1000")
	g, err := newGeneration(&generateOptions{model: dir, prompt: "the cat", maxTokens: 1000, backend: "cpu"}, os.Stderr)
	require.NoError(t, err)
	require.Equal(t, tinyModel.MaxSeq-len(g.request.Prompt), g.request.Params.MaxTokens)
	g.free()
	stop := firstASCII.FindString(out)
	_, cut, _ := stepwise("", "generate", "-model", dir, "-prompt", "the cat", "-stop", "never", "-stop", stop)
	before, _, _ := strings.Cut(out, stop)
	require.Equal(t, before+stop+"\n", cut)

	// With every token an end-of-text token, nothing is printed.
	ids := make([]int32, tinyModel.Vocab)
	for i := range ids {
		ids[i] = int32(i)
	}
	all, err := json.Marshal(map[string]any{"eos_token_id": ids})
	require.NoError(t, err)
	dir = modelFolder(t, tinyModel, map[string]string{"generation_config.json": string(all)})
	_, one, errs := stepwise("", "generate", "-model", dir, "-prompt", "the cat")
	require.Empty(t, errs)
	require.LessOrEqual(t, len([]rune(one)), 8) // one token
}

// A model without an end-of-text token still writes, and one is told why it does not stop.
func TestGenerateWithoutAnEnd(t *testing.T) {
	status, out, errs := stepwise("", "generate", "-model", modelFolder(t, tinyModel, map[string]string{"tokenizer_config.json": ""}), "-prompt", "the cat", "-max-tokens", "3")
	require.Zero(t, status)
	require.NotEmpty(t, out)
	require.Contains(t, errs, "names an end-of-text token (eos_token_id), so the text runs to -max-tokens")
}

// What generation_config.json advises holds unless a flag says otherwise.
func TestGenerateAdvice(t *testing.T) {
	dir := modelFolder(t, tinyModel, map[string]string{"generation_config.json": `{"do_sample": true, "temperature": 3, "top_k": 0, "repetition_penalty": 1.1}`})
	run := func(flags ...string) (out, errs string) {
		status, out, errs := stepwise("", append([]string{"generate", "-model", dir, "-prompt", "the cat", "-max-tokens", "12"}, flags...)...)
		require.Zero(t, status, errs)
		return out, errs
	}
	advised, errs := run()
	require.Equal(t, "stepwise generate: generation_config.json advises repetition_penalty 1.1, which is not done here\n", errs)
	same, _ := run("-temperature", "3")
	require.Equal(t, advised, same)
	greedy, _ := run("-temperature", "0")
	require.NotEqual(t, advised, greedy)
}

func TestGenerateErrors(t *testing.T) {
	good := modelFolder(t, tinyModel, nil)
	with := func(files map[string]string) string { return modelFolder(t, tinyModel, files) }
	small := tinyModel
	small.Vocab = 258
	loop := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(loop, "config.json"), filepath.Join(loop, "config.json")))
	for _, c := range []struct {
		status int
		want   string
		args   []string
	}{
		{exitUsage, "-model and -prompt are needed", []string{"-prompt", "x"}},
		{exitUsage, "-model and -prompt are needed", []string{"-model", good}},
		{exitUsage, `unexpected argument "world"`, []string{"-model", good, "-prompt", "hello", "world"}},
		{exitUsage, "-system needs -chat", []string{"-model", good, "-prompt", "x", "-system", "y"}},
		{exitUsage, "-max-tokens is 0, want at least 1", []string{"-model", good, "-prompt", "x", "-max-tokens", "0"}},
		{exitUsage, `invalid value "hot" for flag -temperature`, []string{"-temperature", "hot"}},
		{exitInput, "no such file or directory", []string{"-model", filepath.Join(good, "none"), "-prompt", "x"}},
		{exitInput, "is a file, want a model's folder", []string{"-model", filepath.Join(good, "config.json"), "-prompt", "x"}},
		{exitInput, "has no config.json: it is no model's folder", []string{"-model", t.TempDir(), "-prompt", "x"}},
		{exitInput, "too many levels of symbolic links", []string{"-model", loop, "-prompt", "x"}},
		{exitInput, "config.json: unexpected end of JSON input", []string{"-model", with(map[string]string{"config.json": "{"}), "-prompt", "x"}},
		{exitInput, `model_type is "gpt_neox", want`, []string{"-model", with(map[string]string{"config.json": `{"model_type": "gpt_neox"}`}), "-prompt", "x"}},
		{exitInput, "has no tokenizer.json, without which there is no text", []string{"-model", with(map[string]string{"tokenizer.json": ""}), "-prompt", "x"}},
		{exitInput, "the tokenizer has 260 tokens, but the model has embeddings for 258", []string{"-model", modelFolder(t, small, nil), "-prompt", "x"}},
		{exitInput, "neither model.safetensors nor", []string{"-model", with(map[string]string{"model.safetensors": ""}), "-prompt", "x"}},
		{exitInput, "has no chat template: leave -chat out", []string{"-model", with(map[string]string{"tokenizer_config.json": ""}), "-prompt", "x", "-chat"}},
		{exitInput, `jinja: template "default": line 2: no chat`, []string{"-model", with(map[string]string{"chat_template.jinja": "\n{{ raise_exception('no chat') }}"}), "-prompt", "x", "-chat"}},
		{exitInput, "tokens, want fewer than the model's context of 64", []string{"-model", good, "-prompt", strings.Repeat("x y ", 64)}},
		{exitInput, "Temperature is -1, want 0 or more", []string{"-model", good, "-prompt", "x", "-temperature", "-1"}},
		{exitInput, "TopP is 2, want 0 to 1", []string{"-model", good, "-prompt", "x", "-top-p", "2"}},
		{exitInput, `unknown backend "abacus"`, []string{"-model", good, "-prompt", "x", "-backend", "abacus"}},
	} {
		status, out, errs := stepwise("", append([]string{"generate"}, c.args...)...)
		require.Contains(t, errs, c.want)
		require.Equal(t, c.status, status, errs)
		require.Empty(t, out)
	}
}

// Cancelling ends the text between tokens with a line end.
func TestGenerateInterrupt(t *testing.T) {
	g, err := newGeneration(&generateOptions{model: modelFolder(t, tinyModel, nil), prompt: "the cat", maxTokens: 50, backend: "cpu"}, os.Stderr)
	require.NoError(t, err)
	defer g.free()
	g.eos = []int32{}
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	err = g.stream(ctx, writerFunc(func(p []byte) (int, error) {
		cancel()
		return out.Write(p)
	}))
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, strings.HasSuffix(out.String(), "\n"))
	require.Less(t, out.Len(), 20)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Characters are written whole wherever pieces end, and bytes that are no
// UTF-8 as U+FFFD.
func TestRuneWriter(t *testing.T) {
	text := "aé日🙂z"
	for n := 1; n <= len(text); n++ {
		var pieces []string
		w := runeWriter{w: writerFunc(func(p []byte) (int, error) {
			pieces = append(pieces, string(p))
			return len(p), nil
		})}
		for piece := range slices.Chunk([]byte(text), n) {
			_, err := w.Write(piece)
			require.NoError(t, err)
		}
		require.NoError(t, w.end())
		require.Equal(t, text+"\n", strings.Join(pieces, ""))
		for _, p := range pieces {
			require.NotContains(t, p, "\ufffd")
		}
	}
	for in, want := range map[string]string{"\xff": "\ufffd\n", "a\xe6\x97": "a\ufffd\n", "\xe6\x97a": "\ufffda\n", "\x80\x80\x80\x80\x80": "\ufffd\n"} {
		var b strings.Builder
		w := runeWriter{w: &b}
		_, err := w.Write([]byte(in))
		require.NoError(t, err)
		require.NoError(t, w.end())
		require.Equal(t, want, b.String(), "%q", in)
	}
}
