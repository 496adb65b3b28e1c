package rows

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Read reads all pairs. Files are streamed, and a text that many rows share is held once,
// so that memory is that of the examples. Rows with the same query and document become one
// example, with the label that most rows gave (see Report). A repeated id and a file
// without pairs are errors.
//
// An error about a row is a *[RowError] with file, line and column. Nothing else is
// returned with an error but the report.
func (d *Data) Read() ([]Example, *Report, error) {
	r := &Report{}
	examples, err := d.read(r)
	if err == nil {
		err = d.TooMany(r) // with those that only show beside others
	}
	if err != nil {
		return nil, r, err
	}
	return examples, r, nil
}

// ReadDocuments reads the file of documents alone, all of it, without pairs. They need no
// ids. The error is as Read's.
func (d *Data) ReadDocuments() ([]Document, *Report, error) {
	r, t := &Report{}, d.Documents
	if t == nil || t.File == "" {
		return nil, r, errors.New("rows: documents have no file")
	}
	var out []Document
	for row, err := range d.each(t, r) {
		if err != nil {
			return nil, r, err
		}
		r.Rows++
		doc, bad := row.document(t, "documents")
		switch {
		case bad == nil:
			out = append(out, doc)
		case d.OnBadRow == BadRowSkip:
			r.Skip(bad)
		default:
			return nil, r, bad
		}
	}
	return out, r, d.TooMany(r)
}

// mostSkipped is the share of a file's rows up to which bad ones are skipped: with more,
// something is wrong with the task rather than with single rows. As many as a report
// lists are always skipped, for these are seen.
const mostSkipped = .05

// TooMany returns an error if a file has more bad rows than are skipped. Whoever skips
// further ones after reading, with [Report.Skip], asks again.
func (d *Data) TooMany(r *Report) error {
	for _, t := range []*Table{&d.Pairs, d.Queries, d.Documents, d.Ratings} {
		if t == nil {
			continue
		}
		n := r.files[t.File]
		if n.bad > mostListed && float64(n.bad) > mostSkipped*float64(n.rows) {
			return fmt.Errorf("%s: %d of %d rows are malformed, too many to skip: want at most %.0f%%; %s", t.File, n.bad, n.rows, 100*mostSkipped, r.firstBad(t.File))
		}
	}
	return nil
}

// vote is what a further row says of an example.
type vote struct {
	line   int
	label  string
	raters []string
}

// read reads all pairs into a new list.
func (d *Data) read(r *Report) ([]Example, error) {
	var out []Example
	at := make(map[[16]byte]int)    // of a pair in out
	further := make(map[int][]vote) // of an example that stands in several rows
	ids := make(map[string]int)
	for e, err := range d.Each(r) {
		if err != nil {
			return nil, err
		}
		key := pairKey(&e)
		if i, ok := at[key]; ok {
			further[i] = append(further[i], vote{e.Line, e.Label(), votes(&e)})
			continue
		}
		if line, ok := ids[e.ID]; ok {
			err := &RowError{File: e.File, Line: e.Line, Field: cmp.Or(d.Pairs.Columns.ID, "id"), Problem: fmt.Sprintf("%q is also the id of line %d, want unique ids", e.ID, line)}
			if d.OnBadRow != BadRowSkip {
				return nil, err
			}
			r.Skip(err)
			continue
		}
		at[key], ids[e.ID] = len(out), e.Line
		out = append(out, e)
	}
	if len(out) == 0 && r.Bad > 0 {
		return nil, fmt.Errorf("%s: no pairs, for all %d rows are malformed; %s", d.Pairs.File, r.Rows, r.firstBad(""))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no pairs, want at least one row", d.Pairs.File)
	}
	for _, i := range slices.Sorted(maps.Keys(further)) {
		d.settle(&out[i], further[i], r)
	}
	if d.Ratings != nil || d.Pairs.Columns.Raters != nil {
		for i := range out {
			if out[i].Raters == nil {
				r.Unrated++
			}
		}
	}
	return out, nil
}

// settle makes one example of all rows of a pair. Where they agree about the label, the
// first row is it; where they do not, every row votes.
func (d *Data) settle(e *Example, further []vote, r *Report) {
	if !slices.ContainsFunc(further, func(v vote) bool { return v.label != e.Label() }) {
		r.Duplicates += len(further)
		return
	}
	c := Conflict{Query: e.Query, Title: e.Document.Title, Lines: []int{e.Line}, Labels: []string{e.Label()}}
	e.Raters = votes(e)
	for _, v := range further {
		c.Lines, c.Labels = append(c.Lines, v.line), append(c.Labels, v.label)
		e.Raters = append(e.Raters, v.raters...)
	}
	c.Label, _ = d.ratersLabel(e.Raters)
	e.Truth = []string{c.Label}
	r.Conflicts = append(r.Conflicts, c)
}

// votes are the labels of the raters or, without any, the pair's.
func votes(e *Example) []string {
	if e.Raters != nil {
		return slices.Clip(e.Raters)
	}
	return []string{e.Label()}
}

// pairKey is the same for rows with the same query and document.
func pairKey(e *Example) [16]byte {
	var b []byte
	add := func(s string) {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	add(e.Query)
	add(e.DocumentID)
	add(e.Document.Title)
	add(e.Document.Body)
	for _, f := range e.Document.Fields {
		add(f.Name)
		add(f.Value)
	}
	h := sha256.Sum256(b)
	return [16]byte(h[:])
}

// label returns the label that the data write as v.
func (d *Data) label(v string) (string, bool) {
	v = strings.TrimSpace(v)
	for _, l := range d.Labels {
		if v == l.Name || slices.Contains(l.Values, v) {
			return l.Name, true
		}
	}
	for _, l := range d.Labels {
		if sameNumber(v, l.Name) {
			return l.Name, true
		}
	}
	return "", false
}

// ratersLabel is the label that most raters gave: of equally frequent ones, the one
// nearest to the raters' mean, and of equally near ones the lower.
func (d *Data) ratersLabel(raters []string) (string, bool) {
	index := func(label string) int {
		return slices.IndexFunc(d.Labels, func(l Label) bool { return l.Name == label })
	}
	count := make([]int, len(d.Labels))
	sum, n := 0.0, 0.0
	for _, r := range raters {
		if i := index(r); i >= 0 {
			count[i]++
			sum, n = sum+float64(i), n+1
		}
	}
	if n == 0 {
		return "", false
	}
	best := -1
	distance := func(i int) float64 { return math.Abs(float64(i) - sum/n) }
	for i, c := range count {
		if best < 0 || c > count[best] || c == count[best] && distance(i) < distance(best)-1e-9 {
			best = i
		}
	}
	return d.Labels[best].Name, true
}

// allowed lists the labels, as the data may write them, for an error message.
func (d *Data) allowed() string {
	var names []string
	for _, l := range d.Labels {
		name := l.Name
		if len(l.Values) > 0 {
			name += " (or " + strings.Join(l.Values, ", ") + ")"
		}
		names = append(names, name)
	}
	return "one of " + strings.Join(names, ", ")
}

// remedy is what to do about a value that is no label.
func (d *Data) remedy(v string) string {
	text := d.between(v)
	if text == "" && strings.TrimSpace(v) != "" {
		text = "; if it is another way to write a label, list it under that label's values"
	}
	if d.OnBadRow != BadRowSkip {
		text += "; on_bad_row: skip leaves such rows out"
	}
	return text
}

// each yields the rows of a table: a bad one is skipped and counted, or ends the rows.
// The last error says which column is named and in none of the rows, though pairs
// without labels, a few from elsewhere, may lack some.
func (d *Data) each(t *Table, r *Report) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		seen := columnsSeen{missing: t.Columns.columns()}
		read := 0
		for row, err := range t.rows(r) {
			r.count(t.File, 1, 0)
			if err == nil {
				read++
				seen.add(&row)
			}
			if bad, ok := errors.AsType[*RowError](err); ok && d.OnBadRow == BadRowSkip {
				if t == &d.Pairs {
					r.Rows++
				}
				r.Skip(bad)
				continue
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
		if read > 0 && len(seen.missing) > 0 && !d.Unlabelled {
			yield(row{}, seen.lacks(t.File, seen.missing[0]))
		}
	}
}

// Each yields the pairs in the order of the file, one at a time, duplicates
// included; notes and counts go to r. The first error ends it. That more rows were
// malformed than are skipped is known at the end, and the last error.
func (d *Data) Each(r *Report) iter.Seq2[Example, error] {
	return func(yield func(Example, error) bool) {
		j, err := d.join(r)
		if err != nil {
			yield(Example{}, err)
			return
		}
		for row, err := range d.each(&d.Pairs, r) {
			if err != nil {
				yield(Example{}, err)
				return
			}
			r.Rows++
			e, bad := j.example(row)
			if bad == nil && d.Check != nil {
				bad = d.Check(&e)
			}
			if bad != nil {
				if d.OnBadRow == BadRowSkip {
					r.Skip(bad)
					continue
				}
				yield(Example{}, bad)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := d.TooMany(r); err != nil {
			yield(Example{}, err)
		}
	}
}

// joined is what other files know of the pairs.
type joined struct {
	data      *Data
	queries   map[string]string
	documents map[string]Document
	ratings   map[[2]string][]string // by query or query id, and document id
	texts     map[string]string      // queries, names of fields and labels, each once
}

// join reads the files beside the pairs, as far as the pairs name what is in them.
func (d *Data) join(r *Report) (*joined, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	j := &joined{data: d, texts: make(map[string]string)}
	if d.Queries == nil && d.Documents == nil && d.Ratings == nil {
		return j, nil
	}
	queries, documents := make(map[string]bool), make(map[string]bool)
	scratch := &Report{} // the pairs are read once more
	for row, err := range d.each(&d.Pairs, scratch) {
		if err != nil {
			return nil, err
		}
		id := func(column, role string) string { s, _ := scalar(row.column(column, role)); return s }
		queries[id(d.Pairs.Columns.QueryID, "query_id")] = true
		documents[id(d.Pairs.Columns.DocumentID, "document_id")] = true
	}
	if t := d.Queries; t != nil {
		j.queries = make(map[string]string)
		err := d.lookup(t, r, func(row row, id string) *RowError {
			if _, ok := j.queries[id]; ok {
				return row.wrong(t, t.Columns.ID, "id", "%q occurs before, want unique ids", id)
			}
			text, bad := row.text(t, t.Columns.Query, "query")
			if bad == nil && queries[id] {
				j.queries[id] = text
			}
			return bad
		})
		if err != nil {
			return nil, err
		}
	}
	if t := d.Documents; t != nil {
		j.documents = make(map[string]Document)
		seen := make(map[string]bool)
		err := d.lookup(t, r, func(row row, id string) *RowError {
			if seen[id] {
				return row.wrong(t, t.Columns.ID, "id", "%q occurs before, want unique ids", id)
			}
			seen[id] = true
			if !documents[id] && !d.AllDocuments {
				return nil
			}
			doc, bad := row.document(t, "documents")
			if bad != nil {
				return bad
			}
			if documents[id] {
				j.documents[id] = doc
			}
			if d.AllDocuments {
				r.Documents = append(r.Documents, doc)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return j, j.readRatings(r)
}

// lookup reads a file whose rows have ids.
func (d *Data) lookup(t *Table, r *Report, do func(row row, id string) *RowError) error {
	for row, err := range d.each(t, r) {
		if err != nil {
			return err
		}
		id, bad := row.text(t, t.Columns.ID, "id")
		if bad == nil {
			bad = do(row, id)
		}
		switch {
		case bad == nil:
		case d.OnBadRow == BadRowSkip:
			r.Skip(bad)
		default:
			return bad
		}
	}
	return nil
}

func (j *joined) readRatings(r *Report) error {
	t := j.data.Ratings
	if t == nil {
		return nil
	}
	j.ratings = make(map[[2]string][]string)
	for row, err := range j.data.each(t, r) {
		if err != nil {
			return err
		}
		var key [2]string
		raters, bad := row.raters(t, j.data)
		if bad == nil {
			name, role := t.Columns.Query, "query"
			if j.queries != nil {
				name, role = t.Columns.QueryID, "query_id"
			}
			key[0], bad = row.text(t, name, role)
		}
		if bad == nil {
			key[1], bad = row.text(t, t.Columns.DocumentID, "document_id")
		}
		if bad != nil && j.data.OnBadRow != BadRowSkip {
			return bad
		}
		if bad != nil {
			r.Skip(bad)
			continue
		}
		j.ratings[key] = append(j.ratings[key], raters...)
	}
	return nil
}

// example reads a pair.
func (j *joined) example(r row) (Example, *RowError) {
	d, t := j.data, &j.data.Pairs
	c := &t.Columns
	e := Example{File: t.File, Line: r.line}
	var bad *RowError
	queryKey, documentID := "", ""
	if d.Queries != nil {
		if queryKey, bad = r.text(t, c.QueryID, "query_id"); bad != nil {
			return e, bad
		}
		text, ok := j.queries[queryKey]
		if !ok {
			return e, r.wrong(t, c.QueryID, "query_id", "%q is no id of %s", queryKey, filepath.Base(d.Queries.File))
		}
		e.Query = text
	} else {
		if e.Query, bad = r.text(t, c.Query, "query"); bad != nil {
			return e, bad
		}
		queryKey = e.Query
	}
	e.Query = j.once(e.Query)
	if d.Documents != nil || d.Ratings != nil {
		if documentID, bad = r.text(t, c.DocumentID, "document_id"); bad != nil {
			return e, bad
		}
		e.DocumentID = documentID
	}
	if d.Documents != nil {
		var ok bool
		if e.Document, ok = j.documents[documentID]; !ok {
			return e, r.wrong(t, c.DocumentID, "document_id", "%q is no id of %s", documentID, filepath.Base(d.Documents.File))
		}
	} else {
		if e.Document, bad = r.document(t, "pairs"); bad != nil {
			return e, bad
		}
		for i := range e.Document.Fields {
			e.Document.Fields[i].Name = j.once(e.Document.Fields[i].Name)
		}
	}
	e.ID = strconv.Itoa(r.line)
	if documentID != "" {
		e.ID = queryKey + "/" + documentID
	}
	if v := r.column(c.ID, "id"); !blank(v) || c.ID != "" {
		if e.ID, bad = r.text(t, c.ID, "id"); bad != nil {
			return e, bad
		}
	}
	for _, name := range c.Keep {
		v, present := r.values.get(name)
		s, ok := scalar(v)
		switch {
		case !present && r.flat:
			return e, r.wrong(t, name, "", "is missing%s", r.others(false))
		case !ok && v != nil:
			return e, r.wrong(t, name, "", "%s, want a text, a number, true or false", found(v, true))
		case !validText(s):
			return e, r.wrong(t, name, "", "is not valid UTF-8")
		}
		if e.Columns == nil {
			e.Columns = make(map[string]string, len(c.Keep))
		}
		e.Columns[name] = s
	}
	return e, j.labelOf(&r, &e, [2]string{queryKey, documentID})
}

// once returns the first text that equals a text, so that equal ones are held once.
func (j *joined) once(text string) string {
	if first, ok := j.texts[text]; ok {
		return first
	}
	j.texts[text] = text
	return text
}

// labelOf reads the labels of a pair.
func (j *joined) labelOf(r *row, e *Example, key [2]string) *RowError {
	d, t := j.data, &j.data.Pairs
	if d.Unlabelled {
		return nil
	}
	var bad *RowError
	if e.Raters, bad = r.raters(t, d); bad != nil {
		return bad
	}
	e.Raters = append(e.Raters, j.ratings[key]...)
	v, present := r.values.get(cmp.Or(t.Columns.Label, "label"))
	s, ok := scalar(v)
	if label, allowed := d.label(s); ok && allowed {
		e.Truth = []string{j.once(label)}
		return nil
	}
	if blank(v) && t.Columns.Label == "" {
		if label, ok := d.ratersLabel(e.Raters); ok {
			e.Truth = []string{label}
			return nil
		}
	}
	remedy := ""
	if present {
		remedy = d.remedy(s)
	}
	return r.wrong(t, t.Columns.Label, "label", "%s, want %s%s%s", found(v, present), d.allowed(), remedy, r.others(present))
}

// between is what to do about a number that is no label but lies between two, "" if it
// does not.
func (d *Data) between(v string) string {
	x, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range d.Labels {
		n, bad := strconv.ParseFloat(l.Name, 64)
		err = errors.Join(err, bad)
		low, high = min(low, n), max(high, n)
	}
	if err != nil || !(low < x && x < high) {
		return ""
	}
	return "; if it is a mean of raters, round it, list it under a label's values, or give the raters' own labels as raters"
}
