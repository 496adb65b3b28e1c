package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
)

const infoAbout = `Shows what is in a model's folder: architecture, parameters, the memory that this
library needs to sample from the model and to train it, tokenizer and chat templates.
Of the weights it reads only names, types and shapes, and the embedding and output
projection of a model that claims to tie them. Memory is counted in float32, the type
of all computation here.`

func runInfo(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise info"
	flags := flag.NewFlagSet(prog, flag.ContinueOnError)
	dirs, status, done := theArguments(flags, "DIR", infoAbout, args, out, errs)
	if done {
		return status
	}
	return finish(prog, info(dirs[0], out), errs, exitInput)
}

// info describes the model in a folder.
func info(dir string, out io.Writer) error {
	f, err := openFolder(dir)
	if err != nil {
		return err
	}
	m, err := model.Inspect(dir)
	if err != nil {
		return err
	}
	t := &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	t.row("architecture", "%s (%s)", strings.Join(m.Architectures, ", "), m.ModelType)
	if c := m.Decoder; c != nil {
		t.row("", "%s layers of width %s, %s heads of %s (%s of keys and values), MLP of %s", n(c.Layers), n(c.Dim), n(c.Heads), n(c.HeadDim), n(c.KVHeads), n(c.FF))
		t.row("", "context of %s tokens, vocabulary of %s", n(c.MaxSeq), n(c.Vocab))
	}
	if c := m.Encoder; c != nil {
		what := fmt.Sprintf("%s classes", n(c.Classes))
		if c.Classes == 1 {
			what = "one score"
		}
		if m.Body {
			what = fmt.Sprintf("pooling %s, without a classifier", c.Pooling)
		}
		t.row("", "an encoder: %s layers of width %s, %s heads of %s, MLP of %s, %s", n(c.Layers), n(c.Dim), n(c.Heads), n(c.HeadDim), n(c.FF), what)
		t.row("", "context of %s tokens, vocabulary of %s", n(c.MaxSeq), n(c.Vocab))
		switch {
		case c.Style == model.ModernBERTStyle && c.GlobalEvery > 1:
			t.row("", "one layer in %s reads the whole context, the others %s tokens to each side", n(c.GlobalEvery), n(c.Window))
		case c.Causal:
			t.row("", "each token reads those before it, as in a decoder")
		}
		if m.Body {
			most, err := local.ReadMaxTokens(dir, c.MaxSeq)
			if err != nil {
				return err
			}
			t.row("", "sentence-transformers cuts texts off at %s tokens", n(most))
		}
		if err := prompts(dir, m.Body, t); err != nil {
			return err
		}
	}
	if m.Problem != nil && !errors.Is(m.Problem, fs.ErrNotExist) {
		t.row("", "cannot be loaded here: %v", m.Problem)
	}
	if _, err := os.Stat(filepath.Join(dir, "pytorch_model.bin")); err == nil && m.Tensors == nil {
		t.row("", "pytorch_model.bin is not read here: transformers can save it again as safetensors")
	}
	countWeights(m).write(t)
	if m.Loaded > 0 {
		memory(t, m)
	}
	f.writeTokenizer(t, m)
	return t.Flush()
}

// prompts writes what a folder says is put before texts. That it says nothing is worth
// knowing of what embeds.
func prompts(dir string, embeds bool, t *table) error {
	query, document, err := local.ReadPrompts(dir)
	if query != "" || embeds {
		t.row("  before queries", "%s", quoted(query))
	}
	if document != "" || embeds {
		t.row("  before documents", "%s", quoted(document))
	}
	return err
}

// table aligns the second column.
type table struct{ *tabwriter.Writer }

func (t *table) row(name, format string, args ...any) {
	fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
}

// census counts the parameters in a folder.
type census struct {
	parts  map[string]int  // parameters by part of the model
	stored map[string]bool // their types
	tied   bool            // the output projection is the embedding
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
	{"output", []string{"lm_head", "classifier", "score", "pooler"}},
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
func countWeights(m *model.Inspection) *census {
	w := &census{parts: map[string]int{}, stored: map[string]bool{}}
	w.tied = m.Decoder != nil && m.Decoder.TieEmbeddings
	embedded := slices.ContainsFunc(m.Tensors, func(t safetensors.Tensor) bool { return partOf(t.Name) == "embedding" })
	for _, t := range m.Tensors {
		if strings.HasSuffix(t.Name, ".inv_freq") || strings.HasSuffix(t.Name, ".position_ids") {
			continue // tables of positions, which nobody trains
		}
		w.stored[string(t.DType)] = true
		w.bytes += t.Bytes()
		switch {
		case !w.tied || t.Name != "lm_head.weight":
			w.parts[partOf(t.Name)] += t.Len()
		case !embedded:
			w.parts["embedding"] += t.Len()
		}
	}
	return w
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
func memory(t *table, m *model.Inspection) {
	b := int64(4 * m.Loaded)
	if m.Encoder != nil {
		t.row("to compute", "")
		t.row("  weights", "%s", size(b))
	} else {
		t.row("to sample", "")
		t.row("  weights", "%s, and about as much again laid out for decoding", size(b))
	}
	if c := m.Decoder; c != nil {
		token := int64(4 * cacheFloats(*c))
		t.row("  KV cache", "%s for a context of %s tokens, %s a token", size(token*int64(c.MaxSeq)), n(c.MaxSeq), size(token))
	}
	t.row("to train", "")
	t.row("  parameters", "%s: weights, gradients and AdamW's two moments", size(4*b))
	if c := m.Decoder; c != nil {
		t.row("  activations", "%s for each 1,024 tokens of a step, about", size(int64(4*activationFloats(*c, 1024))))
	}
}

// writeTokenizer tells what the folder knows of text.
func (f *folder) writeTokenizer(t *table, m *model.Inspection) {
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
		c := m.Decoder
		if m.Encoder != nil {
			c = &m.Encoder.Config
		}
		if c != nil {
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

// activationFloats estimates the float32s that a training step on rows tokens,
// each with a target, holds besides parameters and optimiser: what model's
// layers keep for the backward pass, and the larger of what the head needs, for
// some chunks of logits, and what the backward pass of a layer does.
func activationFloats(c model.Config, rows int) int {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	heads := q + kv // q and k, kept before and after their norms
	backward := c.Dim + 2*q + 2*kv
	if c.QKNorm {
		heads = 2*heads + c.Heads + c.KVHeads
		backward += q + kv
	}
	layer := 4*c.Dim + 2 + heads + kv + q + c.Heads + 3*c.FF
	chunk := max(64, (4<<20)/c.Vocab)
	kept := chunk * max(1, (16<<20)/(chunk*c.Vocab))
	head := rows*(4*c.Dim+6) + min(rows, kept)*c.Vocab
	return rows*(2*c.Dim+c.Layers*layer) + max(head, rows*max(backward, c.Dim+c.FF))
}

// cacheFloats is the size of a token's keys and values.
func cacheFloats(c model.Config) int { return 2 * c.Layers * c.KVHeads * c.HeadDim }
