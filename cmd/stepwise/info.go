package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"

	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
)

const infoAbout = `Its argument is a model's folder, as in: stepwise info DIR

Tells what is in the folder: architecture, parameters, the memory that
this library takes to sample from the model and to train it, tokenizer and chat
templates. Weights are not read, only their names and shapes. Memory is that of
float32, in which everything is computed here.`

func runInfo(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise info"
	flags := flag.NewFlagSet(prog, flag.ContinueOnError)
	if status, done := parseFlags(flags, infoAbout, args, out, errs); done {
		return status
	}
	if flags.NArg() != 1 {
		return finish(prog, fmt.Errorf("%d arguments, want a model's folder", flags.NArg()), errs, exitUsage)
	}
	return finish(prog, info(flags.Arg(0), out), errs, exitInput)
}

// info writes what is known of the model in a folder.
func info(dir string, out io.Writer) error {
	f, err := openFolder(dir)
	if err != nil {
		return err
	}
	w, err := countWeights(dir)
	if err != nil {
		return err
	}
	t := &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	t.row("architecture", "%s (%s)", strings.Join(f.header.Architectures, ", "), f.header.ModelType)
	cfg, decoder := model.ReadConfig(dir)
	if decoder == nil {
		t.row("", "%s layers of width %s, %s heads of %s (%s of keys and values), MLP of %s", n(cfg.Layers), n(cfg.Dim), n(cfg.Heads), n(cfg.HeadDim), n(cfg.KVHeads), n(cfg.FF))
		t.row("", "context of %s tokens, vocabulary of %s", n(cfg.MaxSeq), n(cfg.Vocab))
		w.tie(cfg)
	} else if enc, err := model.ReadEncoderConfig(dir); err == nil {
		t.row("", "an encoder: %s layers of width %s, %s heads of %s, MLP of %s, %s classes", n(enc.Layers), n(enc.Dim), n(enc.Heads), n(enc.HeadDim), n(enc.FF), n(enc.Classes))
	} else {
		t.row("", "cannot be loaded here: %v", decoder)
	}
	w.write(t)
	if w.total() > 0 {
		memory(t, cfg, w.total(), decoder == nil)
	}
	f.writeTokenizer(t, cfg, decoder == nil)
	return t.Flush()
}

// table aligns the second column.
type table struct{ *tabwriter.Writer }

func (t *table) row(name, format string, args ...any) {
	fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
}

// census counts the parameters in a folder.
type census struct {
	parts  map[string]int // parameters by part of the model
	stored map[string]int // and by type
	output int            // those of an output projection
	tied   bool           // the output projection is the embedding
	bytes  int64
}

// partNames lists the parts in the order in which they are shown, each with
// what the names of its tensors contain; the first that fits counts.
var partNames = []struct {
	name  string
	marks []string
}{
	{"norms", []string{"norm"}},
	{"attention", []string{"attn", "attention"}},
	{"MLP", []string{"mlp", "intermediate.", "output.dense"}},
	{"embedding", []string{"embed"}},
	{"output", []string{"lm_head", "classifier", "score"}},
	{"others", []string{""}},
}

func partOf(tensor string) string {
	for _, p := range partNames {
		if slices.ContainsFunc(p.marks, func(mark string) bool { return strings.Contains(strings.ToLower(tensor), mark) }) {
			return p.name
		}
	}
	panic("stepwise: every name holds the last mark, which is empty")
}

// countWeights counts what the headers of the weights' files list. A folder
// without weights has none.
func countWeights(dir string) (*census, error) {
	w := &census{parts: map[string]int{}, stored: map[string]int{}}
	r, err := safetensors.Open(filepath.Join(dir, model.WeightsFile))
	if errors.Is(err, fs.ErrNotExist) {
		r, err = safetensors.OpenIndex(filepath.Join(dir, model.IndexFile))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for _, t := range r.Tensors() {
		if !t.DType.Float() || strings.HasSuffix(t.Name, ".inv_freq") {
			continue // tables of positions and the like, which nobody trains
		}
		w.parts[partOf(t.Name)] += t.Len()
		w.stored[string(t.DType)] += t.Len()
		w.bytes += t.Bytes()
		if t.Name == "lm_head.weight" {
			w.output = t.Len()
		}
	}
	return w, nil
}

// tie takes out an output projection that the file holds although it is the
// embedding.
func (w *census) tie(c model.Config) {
	if w.tied = c.TieEmbeddings; w.tied {
		w.parts["output"] -= w.output
	}
}

func (w *census) total() (sum int) {
	for _, count := range w.parts {
		sum += count
	}
	return sum
}

func (w *census) write(t *table) {
	if w.total() == 0 {
		t.row("parameters", "none: the folder has no weights")
		return
	}
	t.row("parameters", "%s", n(w.total()))
	for _, p := range partNames {
		if count := w.parts[p.name]; count > 0 {
			t.row("  "+p.name, "%s", n(count))
		}
	}
	if w.tied {
		t.row("  output", "the embedding's")
	}
	t.row("stored as", "%s, %s", strings.Join(slices.Sorted(maps.Keys(w.stored)), " and "), size(w.bytes))
}

// memory writes what sampling and training take.
func memory(t *table, c model.Config, parameters int, decoder bool) {
	b := int64(4 * parameters)
	t.row("to sample", "")
	t.row("  weights", "%s, and about as much again laid out for decoding", size(b))
	if decoder {
		token := int64(4 * cacheFloats(c))
		t.row("  KV cache", "%s for a context of %s tokens, %s a token", size(token*int64(c.MaxSeq)), n(c.MaxSeq), size(token))
	}
	t.row("to train", "")
	t.row("  parameters", "%s: weights, gradients and AdamW's two moments", size(4*b))
	if decoder {
		t.row("  activations", "%s for each 1,024 tokens of a step, about", size(int64(4*activationFloats(c, 1024))))
	}
}

// writeTokenizer tells what the folder knows of text.
func (f *folder) writeTokenizer(t *table, c model.Config, decoder bool) {
	if f.tokens == nil {
		t.row("tokenizer", "none: the folder has no %s", tokenizerFile)
	} else {
		special := 0
		for id := range f.tokens.VocabSize() {
			if f.tokens.Special(int32(id)) {
				special++
			}
		}
		t.row("tokenizer", "%s tokens, %s of them special", n(f.tokens.VocabSize()), n(special))
		if decoder {
			if err := c.CheckTokenizer(f.tokens.VocabSize()); err != nil {
				t.row("", "does not fit: %v", err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.chat.Tokens)) {
		t.row("  "+name, "%q", f.chat.Tokens[name])
	}
	for _, name := range slices.Sorted(maps.Keys(f.chat.Templates)) {
		t.row("chat template", "%s, %s bytes", name, n(len(f.chat.Templates[name])))
	}
}

// n writes a number with commas between thousands.
func n(v int) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes a number of bytes in a unit that makes it short.
func size(b int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v := float64(b)
	for v >= 1024 && len(units) > 1 {
		v /= 1024
		units = units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%d B", b)
	}
	return fmt.Sprintf("%.1f %s", v, units[0])
}
