package main

import (
	"context"
	"encoding/gob"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/rows"
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

// encoder returns a cross-encoder with a new last layer, or with a folder the one there.
// Its word embeddings are not trained: few judgements would move those of few words.
func (m *miniLM) encoder(seed uint64, folder string) (*model.Encoder, error) {
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		return nil, err
	}
	var e *model.Encoder
	if folder == "" {
		e, err = model.PretrainedEncoder(b, m.dir, len(labels), seed)
	} else {
		e, err = model.LoadEncoder(b, folder)
	}
	if err != nil {
		return nil, err
	}
	e.Types = m.tok.PairTypes
	for _, p := range e.Params() {
		if p.Name == "embeddings.word_embeddings.weight" {
			b.Free(p.Grad)
			p.Grad = nil
		}
	}
	return e, nil
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
	e, err := m.encoder(1, "")
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
func text(d *rows.Document) string {
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
		texts[i] = text(&j.pairs[i].Document)
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
