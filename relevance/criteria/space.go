package criteria

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// The spaces in which documents are compared.
const (
	spaceText  = iota // words of title, type and the beginning of the body, and names of fields
	spaceNames        // names of fields: what kind of thing has them
	numSpaces
)

// space places documents by latent semantic analysis: a truncated singular value
// decomposition of their weighted terms (Deerwester et al. 1990), found by
// randomised subspace iteration (Halko, Martinsson and Tropp 2011,
// doi:10.1137/090771806, algorithm 4.4). Fixed random numbers make it the same
// every time.
type space struct {
	terms map[string]int // column of each term
	idf   []float64
	basis *mat.Dense // [terms][dimensions]
}

// terms returns the terms of a document in a space, a term as often as it counts.
func (d *Document) terms(s int) []string {
	var out []string
	for _, f := range d.Fields {
		if f.Value != "false" {
			out = append(out, "\x00"+plain(f.Name))
		}
	}
	if s == spaceNames {
		return out
	}
	title, kind, body := d.Text(FieldTitle).Stems, d.Text(FieldType).Stems, d.Text(FieldBody).Stems
	return slices.Concat(out, title, kind, kind, body[:min(len(body), 25)])
}

// nameWeight is the weight of a field's name beside words.
const nameWeight = .8

func (c *Collection) learnSpaces() {
	for s, o := range [numSpaces]struct{ least, dimensions int }{{3, 64}, {5, 24}} {
		c.spaces[s] = newSpace(c.documents, s, o.least, o.dimensions)
		for _, d := range c.documents {
			d.vectors[s] = c.spaces[s].place(d, s)
		}
	}
}

// newSpace takes the terms that at least so many documents have, and not more than
// three in ten.
func newSpace(documents []*Document, s, least, dimensions int) *space {
	sp := &space{terms: make(map[string]int)}
	count := make(map[string]int)
	lists := make([][]string, len(documents))
	for i, d := range documents {
		lists[i] = d.terms(s)
		for t := range distinct(lists[i]) {
			count[t]++
		}
	}
	for _, list := range lists { // in the order of the documents, for determinism
		for _, t := range list {
			n := count[t]
			if _, ok := sp.terms[t]; ok || n < least || t[0] != 0 && 10*n > 3*len(documents) {
				continue
			}
			sp.terms[t] = len(sp.terms)
			sp.idf = append(sp.idf, 1+math.Log(float64(1+len(documents))/float64(1+n)))
		}
	}
	if len(sp.terms) == 0 {
		return sp
	}
	rows := make([]sparse, len(documents))
	for i, list := range lists {
		rows[i] = sp.weigh(list)
	}
	sp.basis = rightSingular(rows, len(sp.terms), min(dimensions, len(sp.terms), len(documents)))
	return sp
}

// sparse is a vector by its columns, ascending.
type sparse struct {
	at    []int
	value []float64
}

// weigh returns the terms' (1 + ln count) · idf, to length 1.
func (sp *space) weigh(list []string) sparse {
	count := make(map[int]float64)
	var v sparse
	for _, t := range list {
		if k, ok := sp.terms[t]; ok {
			if count[k] == 0 {
				v.at = append(v.at, k)
			}
			count[k]++
		}
	}
	names := make(map[int]bool)
	for _, t := range list {
		if t != "" && t[0] == 0 {
			names[sp.terms[t]] = true
		}
	}
	slices.Sort(v.at)
	for _, k := range v.at {
		w := (1 + math.Log(count[k])) * sp.idf[k]
		v.value = append(v.value, w)
	}
	normalise(v.value)
	for i, k := range v.at {
		if names[k] {
			v.value[i] *= nameWeight
		}
	}
	return v
}

func normalise(v []float64) {
	if n := floats.Norm(v, 2); n > 0 {
		floats.Scale(1/n, v)
	}
}

// rightSingular returns an orthonormal basis [columns][k] of about the first k
// right singular vectors.
func rightSingular(rows []sparse, columns, k int) *mat.Dense {
	width := min(k+10, columns, len(rows))
	rng := rand.New(rand.NewPCG(1, 2))
	basis := mat.NewDense(columns, width, nil)
	for i := range columns {
		for j := range width {
			basis.Set(i, j, rng.NormFloat64())
		}
	}
	left := mat.NewDense(len(rows), width, nil)
	for range 4 {
		left.Zero()
		for i, r := range rows {
			to := left.RawRowView(i)
			for n, at := range r.at {
				floats.AddScaled(to, r.value[n], basis.RawRowView(at))
			}
		}
		basis.Zero()
		for i, r := range rows {
			from := left.RawRowView(i)
			for n, at := range r.at {
				floats.AddScaled(basis.RawRowView(at), r.value[n], from)
			}
		}
		// Now basis = AᵀA·V; its left singular vectors span what A's right ones do.
		var svd mat.SVD
		if !svd.Factorize(basis, mat.SVDThin) {
			panic("criteria: the singular value decomposition of a finite matrix failed")
		}
		var u mat.Dense
		svd.UTo(&u)
		basis.Copy(&u)
	}
	return mat.DenseCopyOf(basis.Slice(0, columns, 0, k))
}

// place returns a document's vector, of length 1; nil if it has no known term.
func (sp *space) place(d *Document, s int) []float64 {
	if sp.basis == nil {
		return nil
	}
	v := sp.weigh(d.terms(s))
	if len(v.at) == 0 {
		return nil
	}
	_, k := sp.basis.Dims()
	out := make([]float64, k)
	for n, at := range v.at {
		floats.AddScaled(out, v.value[n], sp.basis.RawRowView(at))
	}
	normalise(out)
	return out
}

// mean returns the mean vector of the first 200 of the given documents, nil if
// none has one.
func (sp *space) mean(documents []*Document, which []int32, s int) []float64 {
	var sum []float64
	n := 0.
	for _, i := range which[:min(len(which), 200)] {
		if v := documents[i].vectors[s]; v != nil {
			if sum == nil {
				sum = make([]float64, len(v))
			}
			floats.Add(sum, v)
			n++
		}
	}
	if sum != nil {
		floats.Scale(1/n, sum)
	}
	return sum
}
