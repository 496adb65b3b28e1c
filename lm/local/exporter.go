package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/gguf"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// ExporterConfig says how a policy's weights reach engines outside of this process, after
// each training step. A folder to keep, in the end, is model.Decoder.Export's.
type ExporterConfig struct {
	// Form is what the engines load: a whole model as a Hugging Face folder
	// (vLLM, SGLang) or a GGUF file (llama.cpp), or LoRA adapters (vLLM).
	Form rollout.Form
	// Dir is where they find it, on a disk that they share with this process, at the
	// same path; for llama.cpp its --models-dir. NewExporter makes it if need be.
	Dir string
	// Model is the Hugging Face folder that training began with; for a model from nothing,
	// one that model.Decoder.Export has written before, with its tokenizer. Its tokenizer and
	// generation settings are part of what is exported, but texts end where a decoder in
	// this process ends them (model.Decoder.EOS). Adapters are merged into its weights if a
	// whole model is wanted; if they were added to others, Publish returns an error.
	Model string
	// DType is the type of the weights in a folder: F32 (also if empty), F16 or BF16.
	// Adapters are merged in float32; then each weight is rounded to the nearest value, to
	// even in the middle. One that the type cannot hold is an error of Publish. Servers
	// that compute in BF16 round a folder in F32 so themselves: for them BF16 halves what is
	// written and read, and what they compute stays the same.
	DType safetensors.DType
	// Backend is needed to merge adapters.
	Backend tensor.Backend
}

// Validate returns an error that names the first invalid setting. It reads no files.
func (c ExporterConfig) Validate() error {
	switch {
	case c.Form != rollout.FormFolder && c.Form != rollout.FormGGUF && c.Form != rollout.FormAdapter:
		return fmt.Errorf("local: ExporterConfig.Form is %v, want folder, gguf or adapter", c.Form)
	case c.Dir == "":
		return errors.New("local: ExporterConfig.Dir is missing")
	case c.Model == "" && c.Form != rollout.FormAdapter:
		return errors.New("local: ExporterConfig.Model is missing")
	case c.DType != "" && c.Form != rollout.FormFolder:
		return fmt.Errorf("local: ExporterConfig.DType is %q, want none with Form %v: those are written in float32", c.DType, c.Form)
	case c.DType != "" && c.DType != safetensors.F32 && c.DType != safetensors.F16 && c.DType != safetensors.BF16:
		return fmt.Errorf("local: ExporterConfig.DType is %q, want F32 (also if empty), F16 or BF16", c.DType)
	}
	return nil
}

// Exporter is a policy whose Publish writes the weights to a shared disk. It
// implements rl.Policy, rl.Publisher and rl.Supporter. A version is written once, when
// it is first asked for; the one before stays until the next, because servers may still
// be reading it, and older ones are deleted. An export that fails leaves nothing behind
// and deletes none.
type Exporter struct {
	rl.Policy
	c       ExporterConfig
	id      string          // of this process; no later run may take its files for its own
	n       int             // exports so far
	last    rollout.Weights // what was published last
	written []string        // paths that are still there, oldest first
}

var (
	_ rl.Publisher = (*Exporter)(nil)
	_ rl.Supporter = (*Exporter)(nil)
)

// NewExporter returns an exporter of a *Policy, of a *DataParallel, or of any policy that
// publishes adapters (rollout.FormAdapter), such as one on a training server. Adapters
// alone can be exported only of a policy that has them. That Dir can be written to, and
// that Model has what will be read, is checked here and not after the first training step.
func NewExporter(p rl.Policy, c ExporterConfig) (*Exporter, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	ours, ok := inProcess(p)
	adapters := !ok || ours.decoder.LoRA() != nil
	switch _, publishes := p.(rl.Publisher); {
	case !publishes:
		return nil, fmt.Errorf("local: a %T publishes no weights", p)
	case !adapters && c.Form == rollout.FormAdapter:
		return nil, errors.New("local: ExporterConfig.Form is adapter, but the policy trains the whole model")
	case adapters && c.Form != rollout.FormAdapter && c.Backend == nil:
		return nil, errors.New("local: ExporterConfig.Backend is nil, but adapters have to be merged")
	}
	if err := c.checkFiles(adapters); err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	return &Exporter{Policy: p, c: c, id: rand.Text()[:8]}, nil
}

// inProcess returns the policy of this process whose decoder p trains, if it is one.
func inProcess(p rl.Policy) (*Policy, bool) {
	if d, ok := p.(*DataParallel); ok {
		return d.Policy, true
	}
	ours, ok := p.(*Policy)
	return ours, ok
}

// checkFiles makes Dir and returns an error if it cannot be written to, or if Model
// lacks what an export reads; merge says that adapters are merged into its weights.
func (c ExporterConfig) checkFiles(merge bool) error {
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return fmt.Errorf("ExporterConfig.Dir: %w", err)
	}
	f, err := os.CreateTemp(c.Dir, ".exporter-*")
	if err != nil {
		return fmt.Errorf("ExporterConfig.Dir: %w", err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("ExporterConfig.Dir: %w", err)
	}
	if c.Form == rollout.FormAdapter {
		return nil
	}
	_, err = model.ReadGeneration(c.Model)
	if err == nil {
		err = model.CheckTokenizer(c.Model)
	}
	if err == nil && c.Form == rollout.FormGGUF {
		_, err = os.Stat(filepath.Join(c.Model, "tokenizer.json"))
	}
	if err == nil && merge {
		_, err = model.ReadConfig(c.Model)
	}
	if err != nil {
		return fmt.Errorf("ExporterConfig.Model, want the Hugging Face folder that training began with: %w", err)
	}
	return nil
}

// Supports implements rl.Supporter: what the policy supports.
func (e *Exporter) Supports() rl.Capabilities {
	if s, ok := e.Policy.(rl.Supporter); ok {
		return s.Supports()
	}
	return rl.CapAll
}

// CheckTopLogProbs implements rl.TopLogProbChecker: it is an error if the policy gives no
// most likely tokens, or not so many.
func (e *Exporter) CheckTopLogProbs(k int) error {
	if _, ok := e.Policy.(rl.TopLogProber); !ok {
		return fmt.Errorf("local: a policy of type %T gives no most likely tokens", e.Policy)
	}
	if c, ok := e.Policy.(rl.TopLogProbChecker); ok {
		return c.CheckTopLogProbs(k)
	}
	return nil
}

// BoundTokens implements rl.TokenBounder, if the policy does.
func (e *Exporter) BoundTokens(n int) {
	if b, ok := e.Policy.(rl.TokenBounder); ok {
		b.BoundTokens(n)
	}
}

// TopLogProbs implements rl.TopLogProber: those of the policy, if it has any.
func (e *Exporter) TopLogProbs(ctx context.Context, b *rl.Batch, k int, dst []rl.Top) error {
	if err := e.CheckTopLogProbs(k); err != nil {
		return err
	}
	return e.Policy.(rl.TopLogProber).TopLogProbs(ctx, b, k, dst)
}

// Load implements rl.Policy. What was published before is not published again.
func (e *Exporter) Load(ctx context.Context, ref string) error {
	e.last = rollout.Weights{}
	return e.Policy.Load(ctx, ref)
}

// Publish implements rl.Publisher: it writes the current weights, unless that was done.
func (e *Exporter) Publish(ctx context.Context) (rollout.Weights, error) {
	w, err := e.Policy.(rl.Publisher).Publish(ctx)
	if err != nil || e.last.Ref != "" && e.last.Version == w.Version {
		return e.last, err
	}
	e.n++
	path := filepath.Join(e.c.Dir, fmt.Sprintf("%s-%d-v%d", e.id, e.n, w.Version))
	if e.c.Form == rollout.FormGGUF {
		path += ".gguf"
	}
	if err := e.write(path, w); err != nil {
		return rollout.Weights{}, fmt.Errorf("local: export of version %d: %w", w.Version, errors.Join(err, os.RemoveAll(path)))
	}
	e.written = append(e.written, path)
	e.last = rollout.Weights{Version: w.Version, Form: e.c.Form, Ref: path}
	for ; len(e.written) > 2; e.written = e.written[1:] {
		if err := os.RemoveAll(e.written[0]); err != nil {
			return rollout.Weights{}, fmt.Errorf("local: export: an old version stays: %w", err)
		}
	}
	return e.last, nil
}

// Close deletes what was written. The engines must have been closed, or given other
// weights. A llama.cpp router keeps what it has loaded in memory, and lists it by name:
// name the model to begin with in openai.Server.Model.
func (e *Exporter) Close() error {
	var errs []error
	for _, path := range e.written {
		errs = append(errs, os.RemoveAll(path))
	}
	e.written, e.last = nil, rollout.Weights{}
	return errors.Join(errs...)
}

func (e *Exporter) write(path string, w rollout.Weights) error {
	ours, ok := inProcess(e.Policy)
	if ok && ours.decoder.LoRA() == nil {
		return e.c.whole(path, ours.decoder)
	}
	adapter := w.Ref
	if ok {
		adapter = path
		if e.c.Form != rollout.FormAdapter {
			temp, err := os.MkdirTemp("", "adapter")
			if err != nil {
				return err
			}
			defer os.RemoveAll(temp)
			adapter = temp
		}
		if err := ours.decoder.LoRA().Save(adapter); err != nil {
			return err
		}
	} else if w.Form != rollout.FormAdapter {
		return fmt.Errorf("the policy published weights as %v, want adapter", w.Form)
	}
	if e.c.Form == rollout.FormAdapter {
		if ok {
			return nil
		}
		return os.CopyFS(path, os.DirFS(adapter))
	}
	d, err := model.LoadDecoder(e.c.Backend, e.c.Model, model.Frozen())
	if err != nil {
		return err
	}
	defer d.Free()
	if ok {
		if err := e.c.checkBase(d, ours.decoder); err != nil {
			return err
		}
	}
	l, err := d.LoadLoRA(adapter, model.Frozen())
	if err != nil {
		return err
	}
	l.Merge()
	if ok && len(ours.decoder.EOS()) > 0 {
		if err := d.SetEOS(ours.decoder.EOS()...); err != nil {
			return err
		}
	}
	return e.c.whole(path, d)
}

// checkBase returns an error unless d, which was read from Model, has the weights that
// the adapters of trained were added to, as far as the beginnings of all tensors tell.
func (c ExporterConfig) checkBase(d, trained *model.Decoder) error {
	base := trained.LoRA().Base()
	defer base.Free()
	same := d.Config() == base.Config()
	for i, p := range base.Params() {
		if !same {
			break
		}
		var heads [2][]float32
		for k, from := range []*model.Decoder{base, d} {
			b, value := from.Backend(), from.Params()[i].Value
			heads[k] = make([]float32, min(256, p.Len()))
			if err := b.Read(heads[k], b.Slice(value, 0, len(heads[k]))); err != nil {
				return err
			}
		}
		same = slices.EqualFunc(heads[0], heads[1], func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
	}
	if !same {
		return fmt.Errorf("%s has not the weights that the adapters were added to, and so is not what they are merged into; "+
			"save the decoder before it gets adapters, and name that folder in ExporterConfig.Model", c.Model)
	}
	return nil
}

// whole writes a decoder without adapters, with Model's settings but the decoder's EOS.
func (c ExporterConfig) whole(path string, d *model.Decoder) error {
	generation, err := model.ReadGeneration(c.Model)
	if err != nil {
		return err
	}
	if ends := d.EOS(); len(ends) > 0 {
		generation.EOS = ends
	}
	if c.Form == rollout.FormGGUF {
		return gguf.Export(path, d, gguf.Options{TokenizerFrom: c.Model, Generation: &generation})
	}
	return d.Export(path, model.ExportOptions{DType: c.DType, TokenizerFrom: c.Model, Generation: &generation})
}
