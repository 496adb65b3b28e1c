package taskfile

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Version is the version of task files that this package reads.
const Version = 1

// File is a task: what is asked about which data. How a model is trained on it stands
// elsewhere. docs/taskfile.md explains the form, field by field; the names there are
// the tags here. A File can also be made in Go.
type File struct {
	Version int    `yaml:"version"`
	Name    string `yaml:"name"`
	// Labels in ascending order of relevance. Those from Relevant upwards count as
	// relevant where a metric needs a cut; by default, the upper half and, of an odd
	// number, the middle one.
	Labels   []rows.Label `yaml:"labels"`
	Relevant string       `yaml:"relevant"`
	Data     Data         `yaml:"data"`
	Split    Split        `yaml:"split"`
	// Criteria are those that code judges; steps, expressions and the prompt use them
	// by name. Roles says which fields hold what the criteria look for.
	Criteria []Criterion `yaml:"criteria"`
	Roles    *Roles      `yaml:"roles"`
	// Judges are models that judge steps, asked over a network.
	Judges  []JudgeModel `yaml:"judges"`
	Prompt  Prompt       `yaml:"prompt"`
	Steps   []Step       `yaml:"steps"`
	Teacher Teacher      `yaml:"teacher"`

	name  string
	text  []byte
	where map[string]*yaml.Node // by path
}

// Data says where the pairs come from: files, or a generator in Go.
type Data struct {
	// Generated names one of [Options].Generators, in place of all else here.
	Generated string `yaml:"generated"`

	Pairs rows.Table `yaml:"pairs"`
	// Weak makes pairs of the documents, in place of Pairs, where nobody has judged any.
	Weak      *Weak         `yaml:"weak"`
	Queries   *rows.Table   `yaml:"queries"`
	Documents *rows.Table   `yaml:"documents"`
	Ratings   *rows.Table   `yaml:"ratings"`
	OnBadRow  rows.OnBadRow `yaml:"on_bad_row"`
	// Tests and Validation are sets with files of their own. With a test set, no
	// fold is held out.
	Tests      []TestSet   `yaml:"tests"`
	Validation *rows.Table `yaml:"validation"`
}

// Weak says how pairs are made of the documents: see package weak. The label of a pair is
// the one that its grade is nearest to.
type Weak struct {
	// Pairs is the number of pairs, and Seed draws them.
	Pairs int `yaml:"pairs"`
	Seed  int `yaml:"seed"`
}

// TestSet is a test set with a file of its own.
type TestSet struct {
	Name  string     `yaml:"name"`
	Pairs rows.Table `yaml:"pairs"`
}

// Split says how pairs are divided by query.
type Split struct {
	// Folds is the number of folds, 5 by default, and Test the one that is tested on,
	// from 0.
	Folds int `yaml:"folds"`
	Test  int `yaml:"test"`
	// Column is a column of the pairs that holds their fold, and Given a file with the
	// fold of each query. Without either, the hash of the query decides.
	Column string `yaml:"column"`
	Given  *Given `yaml:"given"`
	// Validation is the share of the training queries to validate on; 0.1 by default.
	Validation *float64 `yaml:"validation"`
}

// Given is a file that holds the fold of each query.
type Given struct {
	File   string `yaml:"file"`
	Format string `yaml:"format"`
	// Query and Fold name the columns; by default query and fold.
	Query string `yaml:"query"`
	Fold  string `yaml:"fold"`
}

// Roles are criteria.Roles; nil fields keep their defaults.
type Roles struct {
	Brand      []string `yaml:"brand"`
	Type       []string `yaml:"type"`
	Compatible []string `yaml:"compatible"`
}

// Criterion is a criterion of package criteria with its parameters.
type Criterion struct {
	// Name is what the rest of the file calls it; by default, Kind.
	Name string `yaml:"name"`
	// Kind and Params are the arguments of criteria.New.
	Kind   string         `yaml:"kind"`
	Params map[string]any `yaml:"params"`
	// Fact writes the finding into the prompt. It is then judged on the whole
	// document, else on what the model reads of it.
	Fact bool `yaml:"fact"`
}

// Prompt says what the model reads.
type Prompt struct {
	// System opens the prompt. If it is empty and Compact is set, it is the texts of
	// the last step's criteria.
	System string `yaml:"system"`
	// Compact leaves the steps out of the prompt, for a small model that learns them
	// from demonstrations.
	Compact bool `yaml:"compact"`
	// Input is a text/template that writes the pair; see [View]. Without one, it is
	// query, title, body, fields and facts, each on a line that begins with its name.
	Input string `yaml:"input"`
}

// Step is a reasoning step.
type Step struct {
	Name        string          `yaml:"name"`
	Instruction string          `yaml:"instruction"`
	Criteria    []StepCriterion `yaml:"criteria"`
	// Answers are the allowed answers. By default they are those of the rule's
	// criterion, or any; those of the last step are the labels.
	Answers []string `yaml:"answers"`
	Rule    Rule     `yaml:"rule"`
}

// StepCriterion is a criterion as the prompt words it for the model.
type StepCriterion struct {
	Name string `yaml:"name"`
	Text string `yaml:"text"`
	// When is an expression: the criterion is written where it is true.
	When string `yaml:"when"`
}

// Rule says who judges a step: one of these. A step without a rule is not judged, but
// for the last, which is right if it states the label.
type Rule struct {
	// Truth is a column of the pairs that holds the right answer; where it is empty,
	// nobody knows. Reason, beside it, is a column with the thought that leads there.
	Truth  string `yaml:"truth"`
	Reason string `yaml:"reason"`
	// Criterion is the name of one of the file's criteria: its answer is right.
	Criterion string `yaml:"criterion"`
	// Expr is an expression: a text is the right answer, and a truth value says
	// whether the step's, called answer, is right.
	Expr string `yaml:"expr"`
	// Judge names one of the file's judges, or of [Options].Judges.
	Judge string `yaml:"judge"`
}

// Teacher writes the traces of the warm-up. Noise is the probability that a step before
// the last states another of its answers, LabelNoise that the last one does.
type Teacher struct {
	Noise      float64 `yaml:"noise"`
	LabelNoise float64 `yaml:"label_noise"`
}

// Validate returns an error that names every invalid setting. What needs the data,
// expressions for example, Open checks.
func (f *File) Validate() error {
	var errs []error
	add := func(path, format string, args ...any) { errs = append(errs, f.at(path, format, args...)) }
	if f.Version != Version {
		add("version", "is %d, want %d", f.Version, Version)
	}
	if f.Name == "" {
		add("name", "is missing or empty, want a few words for reports")
	}
	if len(f.Labels) < 2 {
		add("labels", "%d given, want at least two, in ascending order of relevance", len(f.Labels))
	}
	if up, down := f.order(); !up && !down {
		add("labels", "%s are neither in ascending nor in descending order, want the least relevant first", f.labelNames())
	}
	if f.Relevant != "" && f.labelIndex(f.Relevant) < 0 {
		add("relevant", "%q is not a label", f.Relevant)
	}
	f.validateData(add)
	f.validateSplit(add)
	f.validateJudges(add)
	seen := make(map[string]bool)
	for i, c := range f.Criteria {
		path := fmt.Sprintf("criteria[%d]", i)
		if _, err := criteria.New(c.Kind, c.Params); err != nil {
			add(join(path, "kind"), "%v", strings.TrimPrefix(err.Error(), "criteria: "))
		}
		if seen[c.name()] {
			add(path, "a second criterion is called %q, want another name", c.name())
		}
		seen[c.name()] = true
	}
	if len(f.Steps) == 0 {
		add("steps", "are missing, want at least the one that states the label")
	}
	names := make(map[string]bool)
	for i := range f.Steps {
		f.validateStep(i, seen, names, add)
	}
	for name, p := range map[string]float64{"noise": f.Teacher.Noise, "label_noise": f.Teacher.LabelNoise} {
		if !(p >= 0 && p <= 1) {
			add("teacher."+name, "is %v, want a probability", p)
		}
	}
	return errors.Join(errs...)
}

func (f *File) labelNames() string {
	names := make([]string, len(f.Labels))
	for i, l := range f.Labels {
		names[i] = l.Name
	}
	return strings.Join(names, ", ")
}

// order reports whether labels that are numbers ascend or descend. Of others it is not
// known and taken to be right.
func (f *File) order() (up, down bool) {
	up, down = true, len(f.Labels) > 1
	last := math.NaN()
	for _, l := range f.Labels {
		v, err := strconv.ParseFloat(l.Name, 64)
		if err != nil {
			return true, false
		}
		up, down = up && !(v < last), down && !(v > last)
		last = v
	}
	return up, down
}

func (f *File) labelIndex(label string) int {
	return slices.IndexFunc(f.Labels, func(l rows.Label) bool { return l.Name == label })
}

func (c *Criterion) name() string { return cmp.Or(c.Name, c.Kind) }

type addError func(path, format string, args ...any)

func (f *File) validateData(add addError) {
	d := &f.Data
	if d.Generated != "" {
		if d.Pairs.File != "" || d.Weak != nil || d.Queries != nil || d.Documents != nil || d.Ratings != nil || d.Tests != nil || d.Validation != nil {
			add("data", "is generated and has files, want one of the two")
		}
		return
	}
	switch all := d.files(d.Pairs); {
	case d.Weak != nil:
		if d.Pairs.File != "" {
			add("data", "has a file of pairs and weak ones, want one of the two")
		}
		if d.Documents == nil || d.Documents.File == "" {
			add("data.documents", "are missing, want the file that weak pairs are made of")
		}
		if d.Weak.Pairs < 1 || d.Weak.Seed < 0 {
			add("data.weak", "has %d pairs and the seed %d, want at least 1 and 0", d.Weak.Pairs, d.Weak.Seed)
		}
	case d.Pairs.File == "":
		add("data.pairs.file", "is missing, want a file of pairs (or data.weak, data.generated)")
		return
	default:
		all.Labels = f.Labels
		if err := all.Validate(); err != nil {
			add("data", "%v", err)
		}
	}
	names := make(map[string]bool)
	for i, t := range d.Tests {
		if t.Name == "" || t.Name == validationName || names[t.Name] || t.Pairs.File == "" {
			add(fmt.Sprintf("data.tests[%d]", i), "want a name of its own, other than %s, and pairs with a file", validationName)
		}
		names[t.Name] = true
	}
}

// pairsFile is the file that the pairs are read from, or made of.
func (d *Data) pairsFile() string {
	if d.Weak != nil {
		return d.Documents.File
	}
	return d.Pairs.File
}

// files are the data with one file of pairs.
func (d *Data) files(pairs rows.Table) rows.Data {
	return rows.Data{Pairs: pairs, Queries: d.Queries, Documents: d.Documents, Ratings: d.Ratings, OnBadRow: d.OnBadRow}
}

// Unlabelled are the data of another file of pairs, which a trained model is to score: it
// has the task's columns, but for those of labels and of steps' truths. The task's own
// files are in dir.
func (f *File) Unlabelled(pairs, dir string) *rows.Data {
	d := f.Data.files(f.Data.Pairs)
	d.Unlabelled, d.Ratings = true, nil
	d.Pairs.File, d.Pairs.Format = pairs, ""
	if format, _ := d.Pairs.Kind(); format != rows.FormatCSV && format != rows.FormatTSV {
		d.Pairs.Header = nil
	}
	keep := slices.Clone(d.Pairs.Columns.Keep)
	for _, m := range f.mentions("columns") {
		if m.path == inputPath || strings.HasSuffix(m.path, ".when") { // the prompt depends on it
			keep = append(keep, m.name)
		}
	}
	slices.Sort(keep)
	d.Pairs.Columns.Apart = f.keep(d.Pairs.Columns.Keep)
	d.Pairs.Columns.Keep = slices.Compact(keep)
	for _, t := range []**rows.Table{&d.Queries, &d.Documents} {
		if *t != nil && !filepath.IsAbs((*t).File) {
			there := **t
			there.File = filepath.Join(dir, there.File)
			*t = &there
		}
	}
	return &d
}

func (f *File) validateSplit(add addError) {
	s := &f.Split
	if s.Folds < 0 || s.Folds == 1 {
		add("split.folds", "is %d, want at least 2", s.Folds)
	}
	if s.Test < 0 {
		add("split.test", "is %d, want a fold from 0", s.Test)
	}
	if s.Column != "" && s.Given != nil {
		add("split", "has a column and a file, want one of the two")
	}
	if s.Given != nil && s.Given.File == "" {
		add("split.given.file", "is missing")
	}
	if s.Validation != nil && !(*s.Validation >= 0 && *s.Validation < 1) {
		add("split.validation", "is %v, want a share of the queries, from 0 to below 1", *s.Validation)
	}
}

func (f *File) validateStep(i int, known, names map[string]bool, add addError) {
	s := &f.Steps[i]
	path := fmt.Sprintf("steps[%d]", i)
	last := i == len(f.Steps)-1
	if s.Name == "" || names[s.Name] {
		add(join(path, "name"), "%q is empty or the name of another step", s.Name)
	}
	names[s.Name] = true
	r := &s.Rule
	given := 0
	for _, v := range []string{r.Truth, r.Criterion, r.Expr, r.Judge} {
		if v != "" {
			given++
		}
	}
	switch {
	case given > 1:
		add(join(path, "rule"), "more than one of truth, criterion, expr and judge is given, want one")
	case r.Reason != "" && r.Truth == "":
		add(join(path, "rule.reason"), "stands without truth")
	case last && (r.Truth != "" || r.Criterion != ""):
		add(join(path, "rule"), "the last step states the label, so its truth is the label; want expr, judge or no rule")
	}
	if r.Criterion != "" && !known[r.Criterion] {
		have := "the file's are: " + strings.Join(f.criteriaNames(), ", ")
		if len(f.Criteria) == 0 {
			have = "the file lists none under criteria"
		}
		if slices.ContainsFunc(criteria.Kinds(), func(k criteria.Kind) bool { return k.Name == r.Criterion }) {
			have += fmt.Sprintf("; {kind: %s} in criteria adds it", r.Criterion)
		}
		add(join(path, "rule.criterion"), "no criterion is called %q; %s", r.Criterion, have)
	}
	if last && s.Answers != nil {
		add(join(path, "answers"), "the last step's answers are the labels, want none here")
	}
	for j, c := range s.Criteria {
		at := fmt.Sprintf("%s.criteria[%d]", path, j)
		if c.Name == "" || c.Text == "" {
			add(at, "has no name or no text, want both")
		}
		if last && c.When != "" && f.Prompt.Compact && f.Prompt.System == "" {
			add(at+".when", "has no effect, for a compact prompt without a system text opens with all criteria of the last step: leave the condition out, or set prompt.system or prompt.compact: false")
		}
	}
}

func (f *File) criteriaNames() []string {
	names := make([]string, len(f.Criteria))
	for i := range f.Criteria {
		names[i] = f.Criteria[i].name()
	}
	return names
}
