package main

import (
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/internal/infile"
	"github.com/stepwise-rl/stepwise/relevance/posirdata"
)

var posirCommands = []command{
	{"build", "make a benchmark of your own documents", runPosirBuild},
	{"eval", "measure a retriever: report, heat map, results", runPosirEval},
	{"metrics", "compute the published numbers from results", runPosirMetrics},
}

func runPosir(args []string, in io.Reader, out, errs io.Writer) int {
	return dispatch("stepwise posir", posirCommands, args, in, out, errs)
}

const posirMetricsAbout = `RESULTS is a file of results as the benchmark's program merges them, by
setting and domain, or the folder that it merges, with SETTING/DOMAIN.json; as in:
stepwise posir metrics RESULTS.json

Prints the ten numbers that PosIR (arXiv:2601.08363) publishes of each setting, in
the published form. What is undefined is null. A file may end in .gz. Its form is

{"eng-eng": {"sports": {"evaluation_results": {
    "q1": {
        "pos_char_span": [10, 42], "pos_char_length": 900, "pos_token_length": 180,
        "scores": {"ndcg_cut_10": 0.63}
    }
}}}}

and DOMAIN.json has the object of one domain only, from {"evaluation_results" on.`

func runPosirMetrics(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise posir metrics"
	flags := flag.NewFlagSet(prog, flag.ContinueOnError)
	name := flags.String("name", "", "`NAME` of the model (default: that of the file or folder)")
	beside := flags.Bool("published", false, "also print the published numbers of ten models in the same settings")
	names, status, done := theArguments(flags, "RESULTS", posirMetricsAbout, args, out, errs)
	if done {
		return status
	}
	path := names[0]
	if *name == "" {
		*name = nameOf(path)
	}
	return finish(prog, posirMetrics(path, *name, *beside, out, errs), errs, exitInput)
}

// nameOf is the name of a folder or of what a server has, or of a file without its ending.
func nameOf(path string) string {
	info, err := os.Stat(path)
	if absolute, bad := filepath.Abs(path); bad == nil {
		path = absolute // "." says little
	}
	name := filepath.Base(path)
	if err == nil && !info.IsDir() {
		name = strings.TrimSuffix(name, ".gz")
		name = strings.TrimSuffix(name, filepath.Ext(name))
	}
	return name
}

func posirMetrics(path, name string, beside bool, out, errs io.Writer) error {
	settings, err := readPosirResults(path)
	if err != nil {
		return err
	}
	all := map[string]map[string]posir.Metrics{name: {}}
	for _, setting := range slices.Sorted(maps.Keys(settings)) {
		a := posir.Analyze(settings[setting].Pool())
		all[name][setting] = a.Metrics()
		var notes []string
		if a.NoPosition > 0 {
			notes = append(notes, fmt.Sprintf("%s of %s queries are in no bin", n(a.NoPosition), n(a.Queries)))
		}
		if a.NoLength > 0 {
			notes = append(notes, fmt.Sprintf("%s of %s queries are in no length bucket", n(a.NoLength), n(a.Queries)))
		}
		switch {
		case a.Outside == 1:
			notes = append(notes, "1 span outside its document")
		case a.Outside > 1:
			notes = append(notes, n(a.Outside)+" spans outside their documents")
		}
		if len(notes) > 0 {
			fmt.Fprintf(errs, "%s: %s\n", setting, strings.Join(notes, ", "))
		}
	}
	if beside {
		for model, published := range posir.Published() {
			if model == name {
				model += " (published)"
			}
			all[model] = map[string]posir.Metrics{}
			for setting := range settings {
				if m, ok := published[setting]; ok {
					all[model][setting] = m
				}
			}
		}
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "    ")
	return e.Encode(all)
}

// readPosirResults reads a file of all settings, or a folder of them.
func readPosirResults(path string) (settings map[string]posir.Domains, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		err = readFile(path, func(r io.Reader) (err error) {
			settings, err = posir.ReadResults(r)
			return err
		})
		return settings, err
	}
	settings = map[string]posir.Domains{}
	folder := os.DirFS(path)
	files, err := fs.Glob(folder, "*/*.json")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		if domains, _ := fs.Glob(folder, "*.json"); len(domains) > 0 {
			return nil, fmt.Errorf("%s has %s, as the folder of a single setting does: want the folder above it, with SETTING/DOMAIN.json", path, domains[0])
		}
		return nil, fmt.Errorf("%s has no SETTING/DOMAIN.json", path)
	}
	for _, file := range files {
		setting, domain, _ := strings.Cut(strings.TrimSuffix(file, ".json"), "/")
		if settings[setting] == nil {
			settings[setting] = posir.Domains{}
		}
		err := readFile(filepath.Join(path, setting, domain+".json"), func(r io.Reader) (err error) {
			settings[setting][domain], err = posir.ReadDomainResults(r)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return settings, nil
}

// readFile opens a file, which may be compressed, and names it in errors.
func readFile(path string, read func(io.Reader) error) error {
	f, _, err := infile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := read(in); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

const posirBuildAbout = `DOCUMENTS is a file of documents, as JSON lines with "_id" and "text" or as Parquet.

Makes a benchmark in PosIR's layout in FOLDER: for each length and position, queries
about a phrase that stands at one place of the documents only. With -plant it puts
sentences into the documents to ask about.`

func runPosirBuild(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise posir build"
	flags := flag.NewFlagSet(prog, flag.ContinueOnError)
	var o posir.BuildOptions
	flags.IntVar(&o.PerCell, "per-cell", 1, "queries per length (4) and position (20)")
	flags.BoolVar(&o.Plant, "plant", false, "put a sentence into a document for each query")
	flags.IntVar(&o.Words, "words", 4, "words of a phrase, without -plant")
	flags.Uint64Var(&o.Seed, "seed", 0, "seed of what is drawn")
	query := flags.String("query", "", "`TEXT` of a query, in which %s stands for the phrase (default: an English question)")
	sentence := flags.String("sentence", "", "`TEXT` to plant, in which %s stands for the phrase (default: an English sentence)")
	names, status, done := theArguments(flags, "DOCUMENTS FOLDER", posirBuildAbout, args, out, errs)
	if done {
		return status
	}
	for _, t := range []struct {
		flag, text string
		use        *func(string) string
	}{{"query", *query, &o.Query}, {"sentence", *sentence, &o.Sentence}} {
		if t.text == "" {
			continue
		}
		if strings.Count(t.text, "%s") != 1 {
			return misused(flags, fmt.Errorf("-%s is %q, want %%s in it once", t.flag, t.text), errs)
		}
		*t.use = func(phrase string) string { return strings.Replace(t.text, "%s", phrase, 1) }
	}
	if err := o.Validate(); err != nil {
		return misused(flags, err, errs)
	}
	err := checked(out, func(out io.Writer) error { return posirBuild(names[0], names[1], o, out) })
	return finish(prog, err, errs, exitInput)
}

func posirBuild(path, dir string, o posir.BuildOptions, out io.Writer) error {
	var documents []posir.Document
	for d, err := range (posirdata.Files{Corpus: path}).Documents() {
		if err != nil {
			return err
		}
		documents = append(documents, d)
	}
	b, err := posir.Build(documents, o)
	if err != nil {
		return err
	}
	if err := posirdata.Write(dir, &b.Benchmark, b.Corpus()); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s queries on %s documents\n", n(len(b.Queries)), n(len(b.Documents)))
	for i, bins := range b.Missing {
		missing := 0
		for _, count := range bins {
			missing += count
		}
		if missing > 0 {
			fmt.Fprintf(out, "%s: %s queries could not be made\n", posir.BucketNames[i], n(missing))
		}
	}
	return nil
}

// domain is one folder of a benchmark.
type domain struct {
	name  string
	files posirdata.Files
	*posir.Benchmark
}

// openDomain reads a domain but for its corpus. With corpora, the corpus is that of the
// domain's name in there.
func openDomain(dir, corpora string) (*domain, error) {
	files, err := posirdata.Find(dir)
	if err != nil {
		return nil, err
	}
	d := &domain{name: nameOf(dir), files: files}
	if corpora != "" {
		other, err := posirdata.Find(filepath.Join(corpora, d.name))
		if err != nil {
			return nil, err
		}
		d.files.Corpus = other.Corpus
	}
	if d.Benchmark, err = d.files.Benchmark(); err != nil {
		return nil, err
	}
	// What cannot be evaluated is found before the search, which may take long.
	if _, err := d.Evaluate(nil); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	seen := map[string]bool{}
	for _, q := range d.Queries {
		if seen[q.ID] {
			return nil, fmt.Errorf("%s: query %q is there twice", d.files.Queries, q.ID)
		}
		seen[q.ID] = true
	}
	return d, nil
}

// faults reads the corpus's IDs and checks the benchmark and, unless it is nil, a run that
// was read from a file. The faults name the domain. A corpus without documents is an error.
func (d *domain) faults(run posir.Run) ([]error, error) {
	ids := map[string]bool{}
	for doc, err := range d.files.Documents() {
		if err != nil {
			return nil, err
		}
		ids[doc.ID] = true
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%s has no documents", d.files.Corpus)
	}
	var named []error
	if run != nil {
		absent, foreign := 0, 0
		for _, q := range d.Queries {
			if len(run[q.ID]) == 0 {
				absent++
			}
			for _, hit := range run[q.ID] {
				if !ids[hit.Document] {
					foreign++
				}
			}
		}
		if absent > 0 {
			named = append(named, fmt.Errorf("%s: %s of %s queries are not in the run", d.name, n(absent), n(len(d.Queries))))
		}
		if foreign > 0 {
			named = append(named, fmt.Errorf("%s: %s hits name documents that are not in the corpus", d.name, n(foreign)))
		}
	}
	for _, err := range d.Check(ids) {
		named = append(named, fmt.Errorf("%s: %w", d.name, err))
	}
	return named, nil
}

// readRun reads a run file: JSON if its name says so, else TREC's.
func readRun(path string) (run posir.Run, err error) {
	read := posir.ReadTREC
	if strings.HasSuffix(strings.TrimSuffix(path, ".gz"), ".json") {
		read = posir.ReadRunJSON
	}
	err = readFile(path, func(r io.Reader) (err error) {
		run, err = read(r)
		return err
	})
	return run, err
}

// checkQueries returns an error that names a query of the run that no domain has, or one
// that two have, so that it is unknown whose hits the run has.
func checkQueries(run posir.Run, domains []*domain) error {
	owner := map[string]*domain{}
	for _, d := range domains {
		for _, q := range d.Queries {
			if other := owner[q.ID]; other != nil && other != d {
				return fmt.Errorf("%s and %s both have query %q: evaluate their runs one by one", other.name, d.name, q.ID)
			}
			owner[q.ID] = d
		}
	}
	for _, query := range slices.Sorted(maps.Keys(run)) {
		if owner[query] == nil {
			return fmt.Errorf("the run has query %q, which the benchmark has not", query)
		}
	}
	return nil
}
