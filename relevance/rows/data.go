package rows

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Data says where judged pairs are and how they are written. A file of pairs may hold
// all of them, or name queries and documents that stand in other files, as TREC
// collections do:
//
//	Data{
//		Pairs:     Table{File: "qrels.txt", Format: FormatQrels},
//		Queries:   &Table{File: "queries.tsv", Header: []string{"id", "query"}},
//		Documents: &Table{File: "corpus.jsonl.gz", Columns: Columns{ID: "_id", Body: "text"}},
//	}
type Data struct {
	// Pairs is the file of pairs, one a row.
	Pairs Table `yaml:"pairs"`
	// Queries has the text of each query that Pairs names by query_id, and Documents
	// the document of each document_id; nil if Pairs has them itself.
	Queries   *Table `yaml:"queries"`
	Documents *Table `yaml:"documents"`
	// Ratings has the labels of single raters, by the query (or query_id) and the
	// document_id of a pair. Pairs may be without.
	Ratings *Table `yaml:"ratings"`
	// OnBadRow says what to do about a malformed row.
	OnBadRow OnBadRow `yaml:"on_bad_row"`

	// Labels are the allowed labels in ascending order.
	Labels []Label `yaml:"-"`
	// Unlabelled pairs are read without label and raters, whatever their file says.
	Unlabelled bool `yaml:"-"`
	// AllDocuments asks for all of Documents in the report, judged or not.
	AllDocuments bool `yaml:"-"`
	// Check, if not nil, says what else makes the row of a pair malformed.
	Check func(*Example) *RowError `yaml:"-"`
}

// Label is one label of a task.
type Label struct {
	// Name is the label as the model writes it.
	Name string `yaml:"label"`
	// Meaning says what it stands for.
	Meaning string `yaml:"meaning"`
	// Values lists how the data write the label, besides its name. Equal numbers are
	// the same label, so 3 needs no 3.0 here.
	Values []string `yaml:"values"`
}

// OnBadRow says what to do about a malformed row.
type OnBadRow string

const (
	// BadRowFail, the default: the first one is an error.
	BadRowFail OnBadRow = "fail"
	// BadRowSkip: they are left out, counted, and the first ones listed. More than 5%
	// of a file's rows (and more than are listed) are an error.
	BadRowSkip OnBadRow = "skip"
)

// Columns says which column of a file holds what. A name with dots, such as
// document.title, is the path into an object. A column that is not named here is
// looked for under the name of its role, which is what the field's tag says.
type Columns struct {
	// ID identifies the row: of pairs, unique and by default the line number; of
	// queries and documents, what pairs name.
	ID string `yaml:"id"`
	// Query is the text of the query, QueryID its id in Queries.
	Query   string `yaml:"query"`
	QueryID string `yaml:"query_id"`
	// Document is the whole document: a text, which is its title, or an object of
	// texts, numbers and truth values, of which "title" and "body" are the
	// document's own and all others fields. DocumentID is its id in Documents.
	Document   string `yaml:"document"`
	DocumentID string `yaml:"document_id"`
	// Title and Body are the document's texts, and Fields its structured fields,
	// where Document is not used.
	Title  string        `yaml:"title"`
	Body   string        `yaml:"body"`
	Fields []FieldColumn `yaml:"fields"`
	// Label is the label, and Raters are the columns with the labels of single
	// raters, or one column with a list of them. Without a label, it is the raters'.
	Label  string   `yaml:"label"`
	Raters []string `yaml:"raters"`
	// Keep lists columns that Example.Columns is to hold.
	Keep []string `yaml:"keep"`
	// Apart lists further columns that a pattern of Fields leaves out as it does those of
	// other roles: what the pairs of a task may have and those to be scored need not.
	Apart []string `yaml:"-"`
}

// FieldColumn is a column that becomes a field of the document.
type FieldColumn struct {
	// Name is the field's name. A "*" in it stands for what the "*" of Column stands
	// for.
	Name string
	// Column is the column. One "*" in it stands for any text: each such column that
	// has no other role becomes a field. A label has one, whether it is read or not.
	Column string
}

// Validate returns an error that names every invalid setting.
func (d *Data) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("rows: "+format, args...)) }
	for _, t := range []struct {
		name  string
		table *Table
	}{{"pairs", &d.Pairs}, {"queries", d.Queries}, {"documents", d.Documents}, {"ratings", d.Ratings}} {
		if t.table == nil {
			continue
		}
		if t.table.File == "" {
			add("%s have no file", t.name)
		} else if _, err := t.table.Kind(); err != nil {
			errs = append(errs, err)
		}
		for _, f := range t.table.Columns.Fields {
			if strings.Count(f.Column, "*") > 1 || strings.Contains(f.Name, "*") && !strings.Contains(f.Column, "*") || f.Name == "" || f.Column == "" {
				add("%s: the field %q of column %q is invalid, want two names, with one * in the column if there is one in the field", t.name, f.Name, f.Column)
			}
		}
		for _, unused := range t.table.Columns.named() {
			if !slices.Contains(usedBy[t.name], unused) {
				add("%s have no column for %q, only for %s", t.name, unused, strings.Join(usedBy[t.name], ", "))
			}
		}
	}
	if d.OnBadRow != "" && d.OnBadRow != BadRowFail && d.OnBadRow != BadRowSkip {
		add("on_bad_row is %q, want fail or skip", d.OnBadRow)
	}
	if d.Ratings != nil && len(d.Ratings.Columns.Raters) == 0 {
		add("ratings name no columns for raters")
	}
	if len(d.Labels) == 0 && !d.Unlabelled {
		add("there are no labels, want at least one, or unlabelled pairs")
	}
	names := make(map[string]bool)
	for i, l := range d.Labels {
		for _, v := range append([]string{l.Name}, l.Values...) {
			if v == "" || names[v] {
				add("the label %q is empty or occurs twice", v)
				continue
			}
			names[v] = true
			for _, other := range d.Labels[:i] {
				for _, w := range append([]string{other.Name}, other.Values...) {
					if v != w && sameNumber(v, w) {
						add("the labels %q and %q are the same number", w, v)
					}
				}
			}
		}
	}
	return errors.Join(errs...)
}

// usedBy lists the columns that each file may have.
var usedBy = map[string][]string{
	"pairs":     {"id", "query", "query_id", "document", "document_id", "title", "body", "fields", "label", "raters", "keep"},
	"queries":   {"id", "query"},
	"documents": {"id", "document", "title", "body", "fields"},
	"ratings":   {"query", "query_id", "document_id", "raters"},
}

// singles are the roles that one column has, with the columns that are named for them.
func (c *Columns) singles() []struct{ role, column string } {
	return []struct{ role, column string }{
		{"id", c.ID}, {"query", c.Query}, {"query_id", c.QueryID}, {"document", c.Document}, {"document_id", c.DocumentID},
		{"title", c.Title}, {"body", c.Body}, {"label", c.Label},
	}
}

// named lists the roles for which columns are named.
func (c *Columns) named() []string {
	var names []string
	for _, s := range c.singles() {
		if s.column != "" {
			names = append(names, s.role)
		}
	}
	for _, f := range []struct {
		role string
		used bool
	}{{"fields", c.Fields != nil}, {"raters", c.Raters != nil}, {"keep", c.Keep != nil}} {
		if f.used {
			names = append(names, f.role)
		}
	}
	return names
}

// taken has the columns that patterns leave out, in a file of pairs or of documents.
func (c *Columns) taken(file string) map[string]bool {
	taken := make(map[string]bool)
	for _, s := range c.singles() {
		if slices.Contains(usedBy[file], s.role) {
			taken[cmp.Or(s.column, s.role)] = true
		}
	}
	for _, f := range c.Fields {
		taken[f.Column] = true
	}
	for _, name := range slices.Concat(c.Raters, c.Keep, c.Apart) {
		taken[name] = true
	}
	return taken
}

// columns lists the columns that are named, without patterns.
func (c *Columns) columns() []string {
	all := slices.Concat([]string{c.ID, c.Query, c.QueryID, c.Document, c.DocumentID, c.Title, c.Body, c.Label}, c.Raters, c.Keep)
	for _, f := range c.Fields {
		if !strings.Contains(f.Column, "*") {
			all = append(all, f.Column)
		}
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

// Report says what was found in the data beside the pairs.
type Report struct {
	// Notes says how files are written, such as "begins with a byte order mark".
	Notes []string
	// Rows is the number of rows of the file of pairs, bad ones included.
	Rows int
	// Bad is the number of rows that were skipped, and FirstBad the first ones' errors.
	Bad      int
	FirstBad []*RowError
	// Duplicates is the number of rows left out because an earlier one has the same
	// query, document and label.
	Duplicates int
	// Conflicts are pairs with different labels in different rows. Each is one
	// example, whose raters are those of all the rows: a row without raters counts as
	// one.
	Conflicts []Conflict
	// Unrated is the number of pairs without a label of any rater; 0 if there are
	// no raters at all.
	Unrated int
	// Documents are all documents, if Data.AllDocuments asks for them and they have a
	// file of their own.
	Documents []Document

	files map[string]tally
}

// tally counts the rows of a file and the bad ones among them.
type tally struct{ rows, bad int }

func (r *Report) count(file string, rows, bad int) {
	if r.files == nil {
		r.files = make(map[string]tally)
	}
	n := r.files[file]
	r.files[file] = tally{n.rows + rows, n.bad + bad}
}

// firstBad lists up to three of the errors of a file, or of all, that are among the first.
func (r *Report) firstBad(file string) string {
	var first []string
	for _, e := range r.FirstBad {
		if (file == "" || e.File == file) && len(first) < 3 {
			first = append(first, e.Error())
		}
	}
	return "the first:" + strings.Join(append([]string{""}, first...), "\n  ")
}

// Conflict is a pair that several rows label differently.
type Conflict struct {
	Query, Title string
	Lines        []int
	Labels       []string
	Label        string // what was made of them
}

// mostListed is how many of a kind a report lists.
const mostListed = 10

func (r *Report) note(file, format string, args ...any) {
	note := file + ": " + fmt.Sprintf(format, args...)
	if !slices.Contains(r.Notes, note) {
		r.Notes = append(r.Notes, note)
	}
}

// Skip counts a bad row, and lists it if it is among the first.
func (r *Report) Skip(err *RowError) {
	r.Bad++
	r.count(err.File, 0, 1)
	if len(r.FirstBad) < mostListed {
		r.FirstBad = append(r.FirstBad, err)
	}
}

// String says all of it in lines.
func (r *Report) String() string {
	var b strings.Builder
	for _, n := range r.Notes {
		fmt.Fprintln(&b, n)
	}
	fmt.Fprintf(&b, "%d rows", r.Rows)
	for _, part := range []struct {
		n    int
		what string
	}{
		{r.Bad, "malformed, skipped"}, {r.Duplicates, "duplicates, left out"},
		{len(r.Conflicts), "pairs with conflicting labels"}, {r.Unrated, "pairs without raters"},
	} {
		if part.n > 0 {
			fmt.Fprintf(&b, ", %d %s", part.n, part.what)
		}
	}
	b.WriteString("\n")
	for _, e := range r.FirstBad {
		fmt.Fprintf(&b, "  skipped %v\n", e)
	}
	more(&b, r.Bad-len(r.FirstBad))
	for i, c := range r.Conflicts {
		if i == mostListed {
			break
		}
		var said []string
		for k, line := range c.Lines {
			said = append(said, fmt.Sprintf("line %d: %s", line, c.Labels[k]))
		}
		fmt.Fprintf(&b, "  conflict of %q and %q: %s; taken as %s\n", c.Query, c.Title, strings.Join(said, ", "), c.Label)
	}
	more(&b, len(r.Conflicts)-mostListed)
	return b.String()
}

func more(b *strings.Builder, n int) {
	if n > 0 {
		fmt.Fprintf(b, "  and %d more\n", n)
	}
}
