package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/rl"
)

// miniLM is a pretrained sentence encoder in a folder.
type miniLM struct {
	dir string
	tok *tokenizer.Tokenizer
}

func openMiniLM(dir string) (*miniLM, error) {
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	return &miniLM{dir, tok}, err
}

func (m *miniLM) encoder(seed uint64) (*model.Encoder, error) {
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		return nil, err
	}
	return model.PretrainedEncoder(b, m.dir, len(labels), seed)
}

// embed returns the embeddings of texts, to length 1, from a file if it has them.
func (m *miniLM) embed(ctx context.Context, texts []string, most int, file string) ([][]float32, error) {
	var out [][]float32
	if f, err := os.Open(file); err == nil {
		defer f.Close()
		if err := gob.NewDecoder(f).Decode(&out); err == nil && len(out) == len(texts) {
			return out, nil
		}
	}
	e, err := m.encoder(1)
	if err != nil {
		return nil, err
	}
	defer e.Free()
	out = make([][]float32, len(texts))
	dim := e.Config().Dim
	const batch = 64
	for from := 0; from < len(texts); from += batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to := min(from+batch, len(texts))
		var p model.Pack
		for _, text := range texts[from:to] {
			ids := m.tok.EncodeOrdinary(text)
			p.Add(m.tok.AddSpecial(ids[:min(len(ids), most-2)]), -1)
		}
		states := make([]float32, (to-from)*dim)
		if err := e.Embed(&p, states); err != nil {
			return nil, err
		}
		for i := from; i < to; i++ {
			out[i] = unit(states[(i-from)*dim : (i-from+1)*dim])
		}
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return out, errors.Join(gob.NewEncoder(f).Encode(out), f.Close())
}

func unit(v []float32) []float32 {
	norm := 0.0
	for _, x := range v {
		norm += float64(x) * float64(x)
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = x / float32(math.Sqrt(norm))
	}
	return out
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

// text is a product as the encoder reads it: title, supplier, what kind of thing it is,
// and the beginning of the description.
func (j *judgements) text(i int) string {
	d := j.pairs[i].Document
	parts := []string{clip(d.Title, 150)}
	for _, name := range []string{"supplier", "product type", "type", "purpose", "component for", "case type", "form factor", "connectivity technology", "compatibility"} {
		for _, f := range d.Fields {
			if strings.ReplaceAll(f.Name, "_", " ") == name {
				parts = append(parts, clip(f.Value, 40))
			}
		}
	}
	return strings.Join(append(parts, clip(d.Body, 100)), " ; ")
}

func clip(text string, most int) string {
	r := []rune(text)
	return string(r[:min(len(r), most)])
}

// cosines are numbers of each pair: how alike query and product are, also beside all
// other products, and how alike the product is to those that are nearest to the query.
func (j *judgements) cosines(ctx context.Context, m *miniLM, out string) ([][]float64, error) {
	index, queries := map[string]int{}, []string(nil)
	for _, e := range j.pairs {
		if _, ok := index[e.Query]; !ok {
			index[e.Query] = len(queries)
			queries = append(queries, e.Query)
		}
	}
	titles := make([]string, len(j.catalogue))
	for i, d := range j.catalogue {
		titles[i] = clip(d.Title, 110)
	}
	texts := make([]string, len(j.pairs))
	for i := range texts {
		texts[i] = j.text(i)
	}
	q, err := m.embed(ctx, queries, 32, filepath.Join(out, "queries.gob"))
	if err != nil {
		return nil, err
	}
	full, err := m.embed(ctx, texts, 64, filepath.Join(out, "texts.gob"))
	if err != nil {
		return nil, err
	}
	all, err := m.embed(ctx, titles, 28, filepath.Join(out, "titles.gob"))
	if err != nil {
		return nil, err
	}
	at := map[string]int{}
	for i, d := range j.catalogue {
		at[d.Title] = i
	}
	type ranked struct {
		mean, spread, first, twentieth float64
		sorted                         []float64
		centre                         []float32
	}
	of := make([]ranked, len(queries))
	for k := range queries {
		scores, order := make([]float64, len(all)), make([]int, len(all))
		for i := range all {
			scores[i], order[i] = dot(q[k], all[i]), i
		}
		r := &of[k]
		for _, s := range scores {
			r.mean += s / float64(len(scores))
		}
		for _, s := range scores {
			r.spread += (s - r.mean) * (s - r.mean) / float64(len(scores))
		}
		r.spread = math.Sqrt(r.spread)
		slices.SortFunc(order, func(a, b int) int {
			switch {
			case scores[a] > scores[b]:
				return -1
			case scores[a] < scores[b]:
				return 1
			}
			return a - b
		})
		sum := make([]float32, len(all[0]))
		for _, i := range order[:15] {
			for c, v := range all[i] {
				sum[c] += v / 15
			}
		}
		r.centre, r.first, r.twentieth = sum, scores[order[0]], scores[order[19]]
		r.sorted = slices.Sorted(slices.Values(scores))
	}
	x := make([][]float64, len(j.pairs))
	for i, e := range j.pairs {
		k := index[e.Query]
		r, title := &of[k], all[at[e.Document.Title]]
		s, norm := dot(q[k], title), math.Sqrt(dot(r.centre, r.centre))
		above, _ := slices.BinarySearch(r.sorted, s)
		x[i] = []float64{
			s, dot(q[k], full[i]), (s - r.mean) / r.spread, r.first, r.twentieth, s - r.twentieth,
			math.Log1p(float64(len(r.sorted) - above)), dot(r.centre, title), norm, dot(r.centre, title) / norm,
		}
	}
	return x, nil
}

// student is a cross-encoder that learns from the raters and, with a teacher, from a
// model that reasons.
type student struct {
	out     [2]int
	teacher string // name of the stage that teaches; "" for none
	soft    bool
}

func (s student) name() string {
	kind := "soft"
	if !s.soft {
		kind = "gold"
	}
	return fmt.Sprintf("student-%s-%s-%d%d", kind, s.teacher, s.out[0], s.out[1])
}

const (
	studentEpochs = 2
	studentBatch  = 16
	studentLR     = 8e-5
	studentTokens = 48
)

// train fits the cross-encoder on three folds, or reads what it said before, and
// returns its beliefs about the pairs of the other two.
func (j *judgements) student(ctx context.Context, m *miniLM, s student, out string, w io.Writer) (map[int][]float64, error) {
	file := filepath.Join(out, s.name()+".gob")
	var all map[int][]float64
	if f, err := os.Open(file); err == nil {
		defer f.Close()
		return all, gob.NewDecoder(f).Decode(&all)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	start := time.Now()
	train, test := j.inFolds(without(s.out[:]...)...), j.inFolds(s.out[:]...)
	target := map[int][]float64{}
	for _, i := range train {
		target[i] = j.soft[i]
		if !s.soft {
			target[i] = make([]float64, len(labels))
			target[i][j.gold[i]] = 1
		}
	}
	if s.teacher != "" {
		r := reading{s.out, 1, s.soft}
		said, err := relevance.ReadPredictions(filepath.Join(out, r.name()), s.teacher)
		if err != nil {
			return nil, err
		}
		at := map[string]int{}
		for i, e := range j.pairs {
			at[e.ID] = i
		}
		for _, p := range said["train"] {
			if p.P != nil {
				i := at[p.ID]
				target[i] = mix([]float64{.5, .5}, target[i], p.P)
			}
		}
	}
	e, err := m.encoder(uint64(s.out[0] + 1))
	if err != nil {
		return nil, err
	}
	st, err := local.NewStudent(local.StudentConfig{Encoder: e})
	if err != nil {
		return nil, err
	}
	defer st.Free()
	encode := func(i int) []int32 {
		query, document := m.tok.EncodeOrdinary(j.pairs[i].Query), m.tok.EncodeOrdinary(j.text(i))
		ids, _ := m.tok.AddSpecialPair(query, document[:min(len(document), studentTokens-3-len(query))])
		return ids
	}
	var examples []distill.Example
	for _, i := range train {
		examples = append(examples, distill.Example{Input: encode(i), Belief: target[i], Label: -1})
	}
	fit := distill.Fit{
		Student: st, Examples: examples, Classes: len(labels), Loss: distill.Loss{Soft: 1},
		Batch: studentBatch, Epochs: studentEpochs, Seed: 1, MaxNorm: 1,
	}
	total := fit.Steps()
	fit.LR = rl.WarmupLinear{LR: studentLR, Warmup: int64(total / 10), Total: int64(total)}
	fmt.Fprintln(w, s.name())
	bar := progress.New(w, int64(total), "loss")
	for step := range total {
		loss, err := fit.Step(ctx, step)
		if err != nil {
			return nil, err
		}
		bar.Record(int64(step+1), map[string]float64{"loss": loss})
	}
	bar.Close()
	inputs, dst := make([][]int32, len(test)), make([][]float64, len(test))
	for k, i := range test {
		inputs[k], dst[k] = encode(i), make([]float64, len(labels))
	}
	if err := st.Logits(ctx, inputs, dst, false); err != nil {
		return nil, err
	}
	all = map[int][]float64{}
	for k, i := range test {
		all[i] = softmax(dst[k])
	}
	fmt.Fprintln(w, "took", time.Since(start).Round(time.Second))
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return all, errors.Join(gob.NewEncoder(f).Encode(all), f.Close())
}

func softmax(z []float64) []float64 {
	most, sum := slices.Max(z), 0.0
	p := make([]float64, len(z))
	for i, v := range z {
		p[i] = math.Exp(v - most)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}
