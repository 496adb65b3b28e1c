package taskfile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/split"
	"github.com/stepwise-rl/stepwise/remote/judge"
	"github.com/stepwise-rl/stepwise/reward"
)

// Options are what a task needs besides its file.
type Options struct {
	// Dir is the folder that paths in the file are relative to. [Open] sets it to the
	// file's if it is empty.
	Dir string
	// Seed fixes the order of the training pairs.
	Seed uint64
	// Fold, if not nil, is the fold to test on in place of the file's, and OnBadRow,
	// if not empty, what to do about malformed rows.
	Fold     *int
	OnBadRow rows.OnBadRow
	// Generators makes what data.generated names.
	Generators map[string]Generator
	// Judges are rules in Go that steps name as their judge, besides the file's own.
	Judges map[string]reward.Rule[rows.Example]
	// Unjudged leaves the judges of the file out: nothing is asked of them, and their
	// steps are not judged. It is for programs that score pairs with a trained model.
	Unjudged bool
}

// Generator makes data that stand in no file.
type Generator func(seed uint64) (Generated, error)

// Generated is data from a [Generator]. Examples hold their label as the only entry of
// Truth, and in Columns what the file's rules name. Where Teach is nil, the task's
// teacher writes the traces.
type Generated struct {
	// Train returns training example i ≥ 0; see rows.Source.
	Train func(i int) rows.Example
	// Size is the number of training examples, 0 if there is no end.
	Size       int
	Validation []rows.Example
	Tests      []rows.TestSet
}

// Task is a task file with its data.
type Task struct {
	File   *File
	Source *rows.Source
	// Criteria are those of the file, in its order, and Collection what they know of
	// all documents; nil without criteria.
	Criteria   []criteria.Criterion
	Collection *criteria.Collection
	// Judges are the judge models of the file, in its order. Close them if the program
	// goes on without the task.
	Judges []*judge.Judge
	// Reports say what was found in the files of pairs, in the order of the file.
	Reports []*rows.Report
	// Inputs are the data files that were read, to be digested with the task.
	Inputs []string
}

// Digest is the SHA-256 of the task file, "" for a [File] that was made in Go.
func (f *File) Digest() string {
	if f.text == nil {
		return ""
	}
	h := sha256.Sum256(f.text)
	return hex.EncodeToString(h[:])
}

// Open reads a task file and its data. Errors about the file, and about a data file or a
// column that does not exist, are of type *[Error], those about a row of the data of type
// *rows.RowError.
func Open(path string, o Options) (*Task, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(text, path)
	if err != nil {
		return nil, err
	}
	o.Dir = cmp.Or(o.Dir, filepath.Dir(path))
	return f.Open(o)
}

// Open reads the task's data.
func (f *File) Open(o Options) (*Task, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	b := &builder{f: f, o: o, task: &Task{File: f}}
	if err := b.compile(); err != nil {
		return nil, err
	}
	read := b.readFiles
	if f.Data.Generated != "" {
		read = b.generate
	}
	if err := read(); err != nil {
		return nil, err
	}
	return b.task, nil
}

// source begins the source with what does not depend on data.
func (b *builder) source() *rows.Source {
	f := b.f
	s := &rows.Source{
		Name: f.Name, System: f.Prompt.System, Steps: b.steps, Compact: f.Prompt.Compact,
		Relevant: cmp.Or(f.Relevant, f.Labels[len(f.Labels)/2].Name), Input: b.input,
	}
	if s.System == "" && s.Compact {
		s.System = rows.CriteriaText(s.Steps)
	}
	said := false
	for _, l := range f.Labels {
		s.Labels, s.Meanings = append(s.Labels, l.Name), append(s.Meanings, l.Meaning)
		said = said || l.Meaning != ""
	}
	if !said {
		s.Meanings = nil
	}
	s.Prepare = func(e rows.Example) rows.Example { return b.find(rows.OneLine(e)) }
	return s
}

// generate takes the data of a generator.
func (b *builder) generate() error {
	name := b.f.Data.Generated
	if b.o.Fold != nil {
		return b.f.at("data.generated", "fold %d is asked for, but generated data have none: leave the fold out", *b.o.Fold)
	}
	make, ok := b.o.Generators[name]
	if !ok {
		known := cmp.Or(strings.Join(sortedKeys(b.o.Generators), ", "), "none")
		return b.f.at("data.generated", "this program has no generator %q (it has %s): a generator is Go code, which a program registers in taskfile.Options.Generators", name, known)
	}
	g, err := make(b.o.Seed)
	if err != nil {
		return b.f.at("data.generated", "%q: %v", name, err)
	}
	if len(b.task.Criteria) > 0 {
		const known = 5000 // documents, for the criteria
		var documents []rows.Document
		for i := range known {
			documents = append(documents, g.Train(i).Document)
		}
		b.collect(documents)
	}
	s := b.source()
	for i := range 100 { // or its faults come to light in training
		if _, err := b.complete(g.Train(i), true); err != nil {
			return err
		}
	}
	s.Size = g.Size
	s.Train = func(i int) rows.Example {
		e, err := b.complete(g.Train(i), true)
		if err != nil {
			panic(fmt.Sprintf("taskfile: generator %q: %v", name, err))
		}
		return e
	}
	if s.Validation, err = b.completeAll(g.Validation, false, nil); err != nil {
		return err
	}
	for _, t := range g.Tests {
		if t.Examples, err = b.completeAll(t.Examples, false, nil); err != nil {
			return err
		}
		s.Tests = append(s.Tests, t)
	}
	b.task.Source = s
	return nil
}

// TestName is the name of the test set that is split off, and LongTail that of its
// pairs whose queries share no word with any training query.
const (
	TestName = "TEST"
	LongTail = "LONGTAIL"
)

// validationName is what package relevance calls the validation rows, beside test sets.
const validationName = "validation"

// readFiles reads the data from files and divides them.
func (b *builder) readFiles() error {
	d := &b.f.Data
	if d.Tests != nil && b.o.Fold != nil {
		return b.f.at("data.tests", "fold %d is asked for, but the test sets have files of their own: leave the fold out", *b.o.Fold)
	}
	var all []rows.Example
	var err error
	if d.Weak == nil {
		if all, err = b.read(d.Pairs, ""); err != nil {
			return err
		}
	}
	var tests []rows.TestSet
	for _, t := range d.Tests {
		es, err := b.read(t.Pairs, t.Name)
		if err != nil {
			return err
		}
		tests = append(tests, rows.TestSet{Name: t.Name, Examples: es})
	}
	var validation []rows.Example
	if d.Validation != nil {
		if validation, err = b.read(*d.Validation, validationName); err != nil {
			return err
		}
	}
	if d.Weak != nil {
		if all, err = b.weakPairs(append(examplesOf(tests), validation)); err != nil {
			return err
		}
	}
	p := split.Parts{Train: all}
	name := b.f.Name
	if d.Tests == nil {
		fold := 0
		if p, fold, err = b.divide(all); err != nil {
			return err
		}
		name = fmt.Sprintf("%s, fold %d", name, fold)
		tests = []rows.TestSet{{Name: TestName, Examples: p.Test}}
	}
	p.Validation = validation
	if share := b.f.Split.Validation; d.Validation == nil && (share == nil || *share > 0) {
		hold := .1
		if share != nil {
			hold = *share
		}
		// With one training query there is no validation, unless it is asked for.
		if err := p.Hold(hold); err != nil && share != nil {
			return fmt.Errorf("%s: %w", b.path(d.pairsFile()), err)
		}
	}
	return b.finish(name, p, tests)
}

// finish makes the source of the parts.
func (b *builder) finish(name string, p split.Parts, tests []rows.TestSet) error {
	if b.documents == nil {
		for _, es := range append([][]rows.Example{p.Train, p.Validation}, examplesOf(tests)...) {
			for i := range es {
				b.documents = append(b.documents, es[i].Document)
			}
		}
	}
	b.collect(b.documents)
	known := b.documents
	b.documents = nil
	if b.task.Collection != nil { // of weak pairs, too, whose documents are a part of all
		known = nil
		for _, d := range b.task.Collection.Documents() {
			known = append(known, d.Document)
		}
	}
	if err := b.checkFields(known); err != nil {
		return err
	}
	if len(b.task.Criteria) == 0 {
		known = nil
	}
	b.noteOrder()
	b.noteLacks()
	s := b.source()
	s.Name, s.Documents = name, known
	var trained []rows.Example
	at := rows.Shuffled(len(p.Train), b.o.Seed)
	s.Size = len(p.Train)
	s.Train = func(i int) rows.Example { return trained[at(i)] }
	fill := func(c rows.Clipper) (err error) {
		if trained, err = b.completeAll(p.Train, true, c); err != nil {
			return err
		}
		if s.Validation, err = b.completeAll(p.Validation, false, c); err != nil {
			return err
		}
		s.Tests = nil
		for _, t := range tests {
			if t.Examples, err = b.completeAll(t.Examples, false, c); err != nil {
				return err
			}
			s.Tests = append(s.Tests, t)
		}
		if b.f.Data.Tests != nil {
			return nil
		}
		all := s.Tests[0].Examples
		if tail := split.Unseen(trained, all); len(tail) > 0 && len(tail) < len(all) {
			s.Tests = append(s.Tests, rows.TestSet{Name: LongTail, Examples: tail})
		}
		return nil
	}
	if err := fill(nil); err != nil {
		return err
	}
	b.noteContradictions(trained)
	s.Clip = fill
	b.task.Source = s
	return nil
}

func examplesOf(sets []rows.TestSet) (out [][]rows.Example) {
	for _, t := range sets {
		out = append(out, t.Examples)
	}
	return out
}

// path makes a path of the file relative to the folder.
func (b *builder) path(file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(b.o.Dir, file)
}

// read reads the pairs of a file. Those of a set with a file of its own have its name
// before their ids, which are line numbers unless the file has better ones: ids are
// unique in the source.
func (b *builder) read(pairs rows.Table, set string) ([]rows.Example, error) {
	d := b.f.Data.files(pairs)
	d.Labels = b.f.Labels
	d.OnBadRow = cmp.Or(b.o.OnBadRow, d.OnBadRow)
	d.AllDocuments = set == "" && len(b.f.Criteria) > 0
	d.Check = func(e *rows.Example) *rows.RowError {
		for k, s := range b.f.Steps {
			if s.Rule.Truth != "" {
				if bad := b.allowed(e, k, columnTruth(e, s.Rule.Truth), s.Rule.Truth); bad != nil {
					return bad
				}
			}
		}
		if set != "" || b.f.Split.Column == "" || b.f.Data.Tests != nil {
			return nil
		}
		_, bad := b.foldOf(e)
		return bad
	}
	for _, t := range []**rows.Table{&d.Queries, &d.Documents, &d.Ratings} {
		if *t != nil {
			there := **t
			there.File = b.inputFile(there.File)
			*t = &there
		}
	}
	d.Pairs.File = b.inputFile(d.Pairs.File)
	d.Pairs.Columns.Keep = b.f.keep(d.Pairs.Columns.Keep)
	es, r, err := d.Read()
	if err != nil {
		return nil, b.placed(err)
	}
	for i := range es {
		if set != "" {
			es[i].ID = set + ":" + es[i].ID
		}
	}
	b.task.Reports = append(b.task.Reports, r)
	if r.Documents != nil {
		b.documents, r.Documents = r.Documents, nil
	}
	return es, nil
}

// inputFile returns a file's path and notes that it is read.
func (b *builder) inputFile(file string) string {
	path := b.path(file)
	if !slices.Contains(b.task.Inputs, path) {
		b.task.Inputs = append(b.task.Inputs, path)
	}
	return path
}

// divide splits pairs by query and says which fold is tested on.
func (b *builder) divide(all []rows.Example) (split.Parts, int, error) {
	s := &b.f.Split
	test := s.Test
	if b.o.Fold != nil {
		test = *b.o.Fold
	}
	fold, err := b.folds(all)
	if err != nil {
		return split.Parts{}, 0, err
	}
	p, err := split.ByFold(all, fold, test)
	if err != nil {
		err = fmt.Errorf("%s: %w", b.path(b.f.Data.pairsFile()), err)
	}
	return p, test, err
}

// foldOf is the fold that stands in the column of a pair.
func (b *builder) foldOf(e *rows.Example) (int, *rows.RowError) {
	column := b.f.Split.Column
	n, err := strconv.Atoi(e.Columns[column])
	if err != nil {
		return 0, &rows.RowError{File: e.File, Line: e.Line, Field: column, Problem: fmt.Sprintf("is %q, want the number of a fold", e.Columns[column])}
	}
	return n, nil
}

// folds returns the fold of each pair.
func (b *builder) folds(all []rows.Example) (func(rows.Example) int, error) {
	s := &b.f.Split
	if s.Column != "" {
		for i := range all { // which may be weak
			if _, bad := b.foldOf(&all[i]); bad != nil {
				return nil, bad
			}
		}
		return func(e rows.Example) int { n, _ := b.foldOf(&e); return n }, nil
	}
	if s.Given == nil {
		folds, err := split.Folds(all, cmp.Or(s.Folds, 5))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.path(b.f.Data.pairsFile()), err)
		}
		return func(e rows.Example) int { return folds[split.Key(e.Query)] }, nil
	}
	t := rows.Table{File: b.inputFile(s.Given.File), Format: s.Given.Format}
	query, number := cmp.Or(s.Given.Query, "query"), cmp.Or(s.Given.Fold, "fold")
	folds := make(map[string]int)
	for c, err := range t.Values(query, number) {
		if err != nil {
			return nil, b.placed(err)
		}
		n, err := strconv.Atoi(c.Values[1])
		if err != nil || n < 0 {
			return nil, c.Wrong(number, "is %q, want a whole number from 0", c.Values[1])
		}
		if _, twice := folds[c.Values[0]]; twice {
			return nil, c.Wrong(query, "%q occurs before, want one fold for each query", c.Values[0])
		}
		folds[c.Values[0]] = n
	}
	for _, e := range all {
		if _, ok := folds[e.Query]; !ok {
			return nil, &rows.RowError{File: e.File, Line: e.Line, Field: "query", Problem: fmt.Sprintf("%q has no fold in %s", e.Query, t.File)}
		}
	}
	return func(e rows.Example) int { return folds[e.Query] }, nil
}
