package local_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// pretrained writes the model that newPolicy and newLoRAPolicy begin with.
func pretrained(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	d := newDecoder(t, reference.New(), 5)
	require.NoError(t, d.Export(dir, model.ExportOptions{Generation: &model.Generation{EOS: model.TokenIDs{end}}}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte("{}"), 0o666))
	return dir
}

func publish(t *testing.T, p rl.Policy) rollout.Weights {
	t.Helper()
	w, err := p.(rl.Publisher).Publish(t.Context())
	require.NoError(t, err)
	return w
}

// What is exported computes what the policy computes, whichever way it travels.
func TestExporter(t *testing.T) {
	base := pretrained(t)
	b := reference.New()
	// remote stands for a policy on a training server: it publishes adapters.
	remote := func(t *testing.T) rl.Policy {
		p, _ := newLoRAPolicy(t, reference.New(), 0)
		e, err := local.NewExporter(p, local.ExporterConfig{Form: rollout.FormAdapter, Dir: t.TempDir()})
		require.NoError(t, err)
		return e
	}
	adapters := func(t *testing.T) rl.Policy { p, _ := newLoRAPolicy(t, reference.New(), 0); return p }
	parallel := func(lora bool) func(t *testing.T) rl.Policy {
		return func(t *testing.T) rl.Policy {
			decoders := []*model.Decoder{newDecoder(t, reference.New(), 5), newDecoder(t, reference.New(), 5)}
			for _, d := range decoders {
				if lora {
					_, err := d.AddLoRA(tinyLoRA, 6)
					require.NoError(t, err)
				}
			}
			p, err := local.NewDataParallel(local.PolicyConfig{Decoder: decoders[0], Dir: t.TempDir()}, decoders[1])
			require.NoError(t, err)
			return p
		}
	}
	whole := func(t *testing.T) rl.Policy { return newPolicy(t, reference.New(), 0) }
	for name, c := range map[string]struct {
		open func(t *testing.T) rl.Policy
		form rollout.Form
	}{
		"folder":                {whole, rollout.FormFolder},
		"folder, merged":        {adapters, rollout.FormFolder},
		"folder, remote policy": {remote, rollout.FormFolder},
		"adapter":               {adapters, rollout.FormAdapter},
		"adapter, remote":       {remote, rollout.FormAdapter},
		"folder, two backends":  {parallel(false), rollout.FormFolder},
		"merged, two backends":  {parallel(true), rollout.FormFolder},
		"adapter, two backends": {parallel(true), rollout.FormAdapter},
	} {
		t.Run(name, func(t *testing.T) {
			inner := c.open(t)
			p, err := local.NewExporter(inner, local.ExporterConfig{Form: c.form, Dir: t.TempDir(), Model: base, Backend: b})
			require.NoError(t, err)
			require.Equal(t, rl.CapAll, p.Supports(), "the policy's own")
			first := publish(t, p)
			require.Equal(t, first, publish(t, p), "once per version")

			train(t, p)
			w := publish(t, p)
			require.NotEqual(t, first.Ref, w.Ref)
			require.EqualValues(t, 2, w.Version)
			require.Equal(t, c.form, w.Form)
			want := logProbs(t, p, batch())
			var got *model.Decoder
			if c.form == rollout.FormFolder {
				got, err = model.LoadDecoder(b, w.Ref)
			} else {
				got, err = model.LoadDecoder(b, base)
				require.NoError(t, err)
				_, err = got.LoadLoRA(w.Ref)
			}
			require.NoError(t, err)
			for i, row := range logProbs(t, local.NewLogProber(got, 0), batch()) {
				require.InDeltaSlice(t, want[i], row, 1e-5)
			}

			require.DirExists(t, first.Ref, "servers may still be reading it")
			train(t, p)
			publish(t, p)
			require.NoDirExists(t, first.Ref)

			ref, err := p.Save(t.Context(), "again")
			require.NoError(t, err)
			before := publish(t, p)
			require.NoError(t, p.Load(t.Context(), ref))
			require.NotEqual(t, before.Ref, publish(t, p).Ref, "a version may have other weights after Load")

			require.NoError(t, p.Close())
			left, err := os.ReadDir(filepath.Dir(w.Ref))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// An engine samples with the adapters that a remote policy publishes.
func TestRefreshWithAdapters(t *testing.T) {
	p, _ := newLoRAPolicy(t, reference.New(), 0)
	remote, err := local.NewExporter(p, local.ExporterConfig{Form: rollout.FormAdapter, Dir: t.TempDir()})
	require.NoError(t, err)
	e := newEngine(t, newDecoder(t, reference.New(), 5), local.EngineConfig{})
	for range 2 {
		train(t, remote)
		w := publish(t, remote)
		require.NoError(t, e.Refresh(t.Context(), w))
		c := sampleOne(t, e)
		require.Equal(t, w.Version, c.FirstVersion)
		own := newEngine(t, p.Decoder(), local.EngineConfig{})
		require.InDeltaSlice(t, sampleOne(t, own).LogP, c.LogP, 1e-5)
	}
	require.ErrorContains(t, e.Refresh(t.Context(), rollout.Weights{Version: 7, Form: rollout.FormAdapter, Ref: "nowhere"}), "version 7")
}

func sampleOne(t *testing.T, e *local.Engine) (c rollout.Completion) {
	t.Helper()
	r := rollout.Request{ID: "one", Prompt: []int32{1, 2}, N: 1, Params: rollout.Params{Temperature: 1, MaxTokens: 8}}
	require.NoError(t, e.Generate(t.Context(), []rollout.Request{r}, func(got rollout.Completion) error { c = got; return got.Err }))
	return c
}

type unpublished struct{ rl.Policy }

func TestExporterRefuses(t *testing.T) {
	whole := newPolicy(t, reference.New(), 0)
	adapters, _ := newLoRAPolicy(t, reference.New(), 0)
	noTokenizer := filepath.Join(t.TempDir(), "m")
	require.NoError(t, os.Mkdir(noTokenizer, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(noTokenizer, "config.json"), []byte("{}"), 0o666))
	for want, c := range map[string]struct {
		policy rl.Policy
		config local.ExporterConfig
	}{
		"Form is own":      {whole, local.ExporterConfig{Dir: "d", Model: "m"}},
		"Dir is missing":   {whole, local.ExporterConfig{Form: rollout.FormFolder, Model: "m"}},
		"Model is missing": {whole, local.ExporterConfig{Form: rollout.FormGGUF, Dir: "d"}},
		"trains the whole": {whole, local.ExporterConfig{Form: rollout.FormAdapter, Dir: "d"}},
		"Backend is nil":   {adapters, local.ExporterConfig{Form: rollout.FormFolder, Dir: "d", Model: "m"}},
		`DType is "BF16", want none with Form gguf`:            {whole, local.ExporterConfig{Form: rollout.FormGGUF, Dir: "d", Model: "m", DType: safetensors.BF16}},
		`DType is "BF16", want none with Form adapter`:         {adapters, local.ExporterConfig{Form: rollout.FormAdapter, Dir: "d", DType: safetensors.BF16}},
		`DType is "I8", want F32 (also if empty), F16 or BF16`: {whole, local.ExporterConfig{Form: rollout.FormFolder, Dir: "d", Model: "m", DType: "I8"}},
		"m has no tokenizer file":                              {whole, local.ExporterConfig{Form: rollout.FormFolder, Dir: filepath.Join(noTokenizer, "d"), Model: noTokenizer}},
		"publishes no weig":                                    {unpublished{whole}, local.ExporterConfig{Form: rollout.FormFolder, Dir: "d", Model: "m"}},
	} {
		_, err := local.NewExporter(c.policy, c.config)
		require.ErrorContains(t, err, want)
	}
}

// Servers end texts where the policy's decoder ends them, not where the model did that
// training began with.
func TestExportedModelsEndAsThePolicyDoes(t *testing.T) {
	base := pretrained(t)
	for name, p := range map[string]*local.Policy{
		"whole":  newPolicy(t, reference.New(), 0),
		"merged": func() *local.Policy { p, _ := newLoRAPolicy(t, reference.New(), 0); return p }(),
	} {
		t.Run(name, func(t *testing.T) {
			exporter, err := local.NewExporter(p, local.ExporterConfig{Form: rollout.FormFolder, Dir: t.TempDir(), Model: base, Backend: reference.New()})
			require.NoError(t, err)
			ends := func() []int32 {
				d, err := model.LoadDecoder(reference.New(), publish(t, exporter).Ref)
				require.NoError(t, err)
				return d.EOS()
			}
			d, err := model.LoadDecoder(reference.New(), base)
			require.NoError(t, err)
			require.NotEmpty(t, d.EOS())
			require.Equal(t, d.EOS(), ends(), "nobody has named others")
			require.NoError(t, p.Decoder().SetEOS(7, 8))
			train(t, exporter)
			require.Equal(t, []int32{7, 8}, ends())
		})
	}
}

// Adapters that were added to other weights than Model's, here after a warm-up, are not
// merged into Model's.
func TestAdaptersOfOtherWeightsAreNotMerged(t *testing.T) {
	base := pretrained(t)
	d := newDecoder(t, reference.New(), 5)
	warm, err := d.AddLoRA(tinyLoRA, 6)
	require.NoError(t, err)
	train(t, policyOf(t, d, 0))
	warm.Merge()
	saved := t.TempDir()
	require.NoError(t, d.Export(saved, model.ExportOptions{TokenizerFrom: base}))
	_, err = d.AddLoRA(tinyLoRA, 7)
	require.NoError(t, err)
	p := policyOf(t, d, 0)
	c := local.ExporterConfig{Form: rollout.FormFolder, Dir: t.TempDir(), Model: base, Backend: reference.New()}
	e, err := local.NewExporter(p, c)
	require.NoError(t, err)
	_, err = e.Publish(t.Context())
	require.ErrorContains(t, err, "has not the weights that the adapters were added to")

	c.Model = saved
	e, err = local.NewExporter(p, c)
	require.NoError(t, err)
	train(t, e)
	got, err := model.LoadDecoder(reference.New(), publish(t, e).Ref)
	require.NoError(t, err)
	near(t, logProbs(t, p, batch()), logProbs(t, local.NewLogProber(got, 0), batch()), 1e-5)
}

// An engine on a policy's own decoder does not take its adapters away.
func TestAdaptersThatAreTrainedStay(t *testing.T) {
	p, _ := newLoRAPolicy(t, reference.New(), 0)
	exporter, err := local.NewExporter(p, local.ExporterConfig{Form: rollout.FormAdapter, Dir: t.TempDir()})
	require.NoError(t, err)
	engine, err := p.NewEngine(letters{}, local.EngineConfig{EOS: []int32{end}})
	require.NoError(t, err)
	require.ErrorContains(t, engine.Refresh(t.Context(), publish(t, exporter)), "want what Policy.Publish returns")
	train(t, p)
	require.NoError(t, engine.Refresh(t.Context(), publish(t, p)))
}

// An export that fails, for instance on a full disk, leaves nothing behind, and the
// version that servers may be reading stays until the next but one.
func TestAFailedExport(t *testing.T) {
	base, dir := pretrained(t), t.TempDir()
	p, err := local.NewExporter(newPolicy(t, reference.New(), 0), local.ExporterConfig{Form: rollout.FormFolder, Dir: dir, Model: base})
	require.NoError(t, err)
	first := publish(t, p)
	train(t, p)
	tokenizer := filepath.Join(base, "tokenizer.json")
	require.NoError(t, os.Rename(tokenizer, tokenizer+".away"))
	for range 2 {
		_, err = p.Publish(t.Context())
		require.ErrorContains(t, err, "local: export of version 2: ")
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, left, 1)
	}
	require.NoError(t, os.Rename(tokenizer+".away", tokenizer))
	second := publish(t, p)
	require.DirExists(t, first.Ref)
	require.DirExists(t, second.Ref)
}

// What an export needs of the disk is looked for, or made, before any training.
func TestExporterChecksFiles(t *testing.T) {
	p := newPolicy(t, reference.New(), 0)
	base, dir := pretrained(t), t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	_, err := local.NewExporter(p, local.ExporterConfig{Form: rollout.FormFolder, Dir: dir, Model: "nowhere"})
	require.ErrorContains(t, err, "local: ExporterConfig.Model, want the Hugging Face folder that training began with: ")
	require.ErrorContains(t, err, "nowhere")
	_, err = local.NewExporter(p, local.ExporterConfig{Form: rollout.FormFolder, Dir: filepath.Join(file, "d"), Model: base})
	require.ErrorContains(t, err, "local: ExporterConfig.Dir: ")

	made := filepath.Join(dir, "shared", "weights")
	e, err := local.NewExporter(p, local.ExporterConfig{Form: rollout.FormFolder, Dir: made, Model: base})
	require.NoError(t, err)
	left, err := os.ReadDir(made)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, e.Close())

	require.NoError(t, os.Remove(filepath.Join(base, "tokenizer.json")))
	_, err = local.NewExporter(p, local.ExporterConfig{Form: rollout.FormGGUF, Dir: dir, Model: base})
	require.ErrorContains(t, err, "tokenizer.json")
}

// A folder in BF16 holds each weight rounded to the nearest, to even in the middle, by the
// bits below. Adapters are merged before that.
func TestExporterRounds(t *testing.T) {
	golden := [][2]uint32{ // float32, and the upper half of what is written
		{0x3f800000, 0x3f80}, {0x80000000, 0x8000}, // 1 and -0
		{0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, // about the middle above an even one
		{0x3f817fff, 0x3f81}, {0x3f818000, 0x3f82}, {0x3f818001, 0x3f82}, // and above an odd one
		{0xbf818000, 0xbf82}, {0x3fffffff, 0x4000}, {0x7f7f7fff, 0x7f7f}, // to the next exponent, and the largest
		{0x00000001, 0x0000}, {0x00008000, 0x0000}, {0x00018000, 0x0002}, // below the smallest normal one
	}
	const name = "model.layers.0.mlp.up_proj.weight"
	write := func(d *model.Decoder, name string, values ...float32) {
		for _, p := range d.Params() {
			if p.Name == name {
				d.Backend().Write(d.Backend().Slice(p.Value, 0, len(values)), values)
				return
			}
		}
		t.Fatal("no tensor ", name)
	}
	// read returns the tensor's first bits in a folder in BF16.
	read := func(dir string, n int) []uint32 {
		config, err := os.ReadFile(filepath.Join(dir, "config.json"))
		require.NoError(t, err)
		require.Contains(t, string(config), `"torch_dtype": "bfloat16"`)
		r, err := safetensors.Open(filepath.Join(dir, "model.safetensors"))
		require.NoError(t, err)
		defer r.Close()
		for _, x := range r.Tensors() {
			require.Equal(t, safetensors.BF16, x.DType, x.Name)
		}
		v := make([]float32, n)
		require.NoError(t, r.Read(v, name, 0))
		bits := make([]uint32, n)
		for i, x := range v {
			require.Zero(t, math.Float32bits(x)&0xffff)
			bits[i] = math.Float32bits(x) >> 16
		}
		return bits
	}
	base := pretrained(t)
	export := func(p *local.Policy, base string) (rollout.Weights, error) {
		e, err := local.NewExporter(p, local.ExporterConfig{
			Form: rollout.FormFolder, Dir: t.TempDir(), Model: base, DType: safetensors.BF16, Backend: reference.New(),
		})
		require.NoError(t, err)
		return e.Publish(t.Context())
	}

	p := newPolicy(t, reference.New(), 0)
	var values []float32
	var want []uint32
	for _, g := range golden {
		values, want = append(values, math.Float32frombits(g[0])), append(want, g[1])
	}
	write(p.Decoder(), name, values...)
	w, err := export(p, base)
	require.NoError(t, err)
	require.Equal(t, want, read(w.Ref, len(want)))
	write(p.Decoder(), name, math.MaxFloat32) // nearer to 2^128 than to the largest of BF16
	_, err = export(p, base)
	require.ErrorContains(t, err, name)

	// 1 + 2^-9 is the weight, and 2·(2^-10 + 2^-13) the adapter's part. The sum is rounded up
	// to 1 + 2^-7; the rounded weight, 1, and the rounded sum of that would both be 1.
	d := newDecoder(t, reference.New(), 5)
	write(d, name, 1+0x1p-9)
	dir := t.TempDir()
	require.NoError(t, d.Export(dir, model.ExportOptions{TokenizerFrom: base}))
	_, err = d.AddLoRA(tinyLoRA, 6)
	require.NoError(t, err)
	write(d, "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight", 0x1p-10+0x1p-13, 0, 0, 0)
	write(d, "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", 1)
	w, err = export(policyOf(t, d, 0), dir)
	require.NoError(t, err)
	require.Equal(t, []uint32{0x3f81}, read(w.Ref, 1))
}
