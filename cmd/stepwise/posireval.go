package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/taskfile"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/openai"
)

const posirEvalAbout = `Each DOMAIN is a folder of a benchmark in PosIR's layout, with queries, corpus and
qrels/test as .parquet or .jsonl; as in:
stepwise posir eval -model DIR eng-Latn/sports eng-Latn/game

Measures whether a retriever finds documents less well if the answer stands at
another place, and prints a report with a line of advice. The retriever is a sentence
encoder (BERT, MiniLM, BGE, ModernBERT, Qwen3-Embedding) here or at a server, BM25, or
whatever wrote a run file; a model that judges relevance may rank its first documents
again. -out keeps report, heat map, results and runs. Faults of the benchmark and of a
run file are in the report.`

// posirOptions are the flags of posir eval.
type posirOptions struct {
	model, server, keyEnv, run, name, setting, corpora, out, backend string
	bm25, chunk, mirror                                              bool
	rerank, task                                                     string
	maxTokens, depth, rerankDepth, saliency                          int
	queryPrefix, documentPrefix                                      string
	bias                                                             posir.BiasOptions
}

func runPosirEval(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise posir eval"
	flags := flag.NewFlagSet(prog, flag.ContinueOnError)
	var o posirOptions
	flags.StringVar(&o.model, "model", "", "`DIR` of a sentence encoder, or with -server the name of the server's model")
	flags.StringVar(&o.server, "server", "", "`URL` of a server with /v1/embeddings (vLLM, SGLang, llama.cpp), to embed texts there")
	flags.StringVar(&o.keyEnv, "key-env", "", "environment variable `NAME` that has the server's key")
	flags.BoolVar(&o.bm25, "bm25", false, "rank by BM25")
	flags.StringVar(&o.run, "run", "", "`FILE` of a run: TREC's format, or JSON if it ends in .json")
	flags.StringVar(&o.rerank, "rerank", "", "score the first documents of each query again with the model folder `DIR`, as\nstepwise relevance trains them, where documents are titles, or the folder of a Qwen3-Reranker\nor of a cross-encoder, such as a BGE reranker")
	flags.StringVar(&o.task, "task", "", "task `FILE` of the model folder, with -rerank")
	flags.IntVar(&o.rerankDepth, "rerank-depth", 20, "documents to score again per query, with -rerank")
	flags.StringVar(&o.name, "name", "", "`NAME` of the retriever in the report (default: from -model, -run and -rerank)")
	flags.StringVar(&o.setting, "setting", "", "`NAME` of the setting, to compare with what is published of it (default: by the folders,\nas in eng-Latn/sports, else own)")
	flags.StringVar(&o.corpora, "corpus", "", "take the documents of each domain from the folder of its name in `DIR`: for queries in\nanother language")
	flags.StringVar(&o.out, "out", "", "`DIR` for report.md, heatmap.svg, SETTING/DOMAIN.json and DOMAIN.trec")
	flags.StringVar(&o.queryPrefix, "query-prefix", "", "`TEXT` before each query, with -model (default, here and for documents: what the\nmodel's folder says)")
	flags.StringVar(&o.documentPrefix, "document-prefix", "", "`TEXT` before each document, with -model")
	flags.IntVar(&o.maxTokens, "max-tokens", 0, "tokens that the encoder reads of a text (default: as many as sentence-transformers does)")
	flags.BoolVar(&o.chunk, "chunk", false, "cut documents into chunks that the encoder reads whole; the best one counts")
	flags.IntVar(&o.depth, "depth", 1000, "documents to find per query")
	flags.BoolVar(&o.mirror, "mirror", false, "search again in documents whose five segments are in reverse order")
	flags.IntVar(&o.saliency, "saliency", 0, "compute gradients for `N` queries with the evidence in the middle, with -model")
	flags.IntVar(&o.bias.Replicates, "replicates", 1000, "permutations, halvings and resamples: at least 99, or 0 for 1000")
	flags.Uint64Var(&o.bias.Seed, "seed", 0, "seed of what is drawn")
	backendFlag(flags, &o.backend)
	dirs, status, done := parseArguments(flags, "DOMAIN...", posirEvalAbout, args, out, errs)
	if done {
		return status
	}
	given := 0
	for _, is := range []bool{o.model != "", o.bm25, o.run != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return misused(flags, errors.New("want one of -model, -bm25 and -run"), errs)
	case len(dirs) == 0:
		return misused(flags, errors.New("no folder of a benchmark"), errs)
	case o.run != "" && o.mirror:
		return misused(flags, errors.New("-mirror needs a retriever that can search, not -run"), errs)
	case (o.server != "") && (o.model == "" || o.chunk || o.saliency != 0 || o.maxTokens != 0):
		return misused(flags, errors.New("-server needs -model, and does not go with -chunk, -saliency and -max-tokens"), errs)
	case o.rerank == "" && o.task != "":
		return misused(flags, errors.New("-task needs -rerank"), errs)
	case o.keyEnv != "" && o.server == "":
		return misused(flags, errors.New("-key-env needs -server"), errs)
	case o.model == "" && (o.chunk || o.saliency != 0 || o.maxTokens != 0 || o.queryPrefix+o.documentPrefix != ""):
		return misused(flags, errors.New("-chunk, -saliency, -max-tokens and prefixes need -model"), errs)
	case o.depth < 1 || o.rerankDepth < 1:
		return misused(flags, fmt.Errorf("-depth is %d and -rerank-depth %d, want at least 1", o.depth, o.rerankDepth), errs)
	case o.maxTokens < 0:
		return misused(flags, fmt.Errorf("-max-tokens is %d, want at least 0", o.maxTokens), errs)
	case o.saliency < 0:
		return misused(flags, fmt.Errorf("-saliency is %d, want at least 0", o.saliency), errs)
	case o.chunk && o.documentPrefix != "":
		return misused(flags, errors.New("-chunk leaves no room for -document-prefix"), errs)
	}
	if err := o.bias.Validate(); err != nil {
		return misused(flags, err, errs)
	}
	prefixed := false
	flags.Visit(func(f *flag.Flag) { prefixed = prefixed || strings.HasSuffix(f.Name, "-prefix") })
	if o.model != "" && o.server == "" && !prefixed {
		var err error
		if o.queryPrefix, o.documentPrefix, err = local.ReadPrompts(o.model); err != nil {
			return finish(prog, err, errs, exitInput)
		}
		if o.chunk && o.documentPrefix != "" {
			return misused(flags, fmt.Errorf("-chunk leaves no room for the prefix %q, which %s says is put before documents; -document-prefix \"\" leaves it out", o.documentPrefix, o.model), errs)
		}
	}
	if o.name == "" {
		o.name = "BM25"
		if path := o.model + o.run; path != "" {
			o.name = nameOf(path)
		}
		if o.rerank != "" {
			o.name += fmt.Sprintf(" + %s (%d)", nameOf(o.rerank), o.rerankDepth)
		}
	}
	if o.setting == "" {
		o.setting = settingOf(dirs[0], o.corpora)
	}
	return interruptible(prog, errs, func(ctx context.Context) error { return o.eval(ctx, dirs, out) })
}

// settingOf names the setting of a domain's folder and, unless it is "", the folder of
// the corpora: fra-eng for fra-Latn/sports and eng-Latn.
func settingOf(domain, corpora string) string {
	language := func(dir string) string {
		name := filepath.Base(filepath.Clean(dir))
		if language, script, ok := strings.Cut(name, "-"); ok && len(language) == 3 && len(script) == 4 {
			return language
		}
		return ""
	}
	queries := language(filepath.Dir(filepath.Clean(domain)))
	documents := queries
	if corpora != "" {
		documents = language(corpora)
	}
	if queries == "" || documents == "" {
		return "own"
	}
	return queries + "-" + documents
}

func (o *posirOptions) eval(ctx context.Context, dirs []string, out io.Writer) error {
	if o.out != "" {
		for _, dir := range []string{o.out, filepath.Join(o.out, o.setting)} {
			if err := writable(dir); err != nil {
				return err // before the search, which may take long
			}
		}
	}
	var domains []*domain
	named := map[string]bool{}
	for _, dir := range dirs {
		d, err := openDomain(dir, o.corpora)
		if err != nil {
			return err
		}
		if named[d.name] {
			return fmt.Errorf("two folders have the name %s", d.name)
		}
		named[d.name] = true
		domains = append(domains, d)
	}
	base, err := o.retriever(domains)
	if err != nil {
		return err
	}
	defer base.close()
	r := base
	if o.rerank != "" {
		s, err := o.openScorer(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		r = reranked{base, s, o.rerankDepth}
	}
	byDomain, mirrored := posir.Domains{}, posir.Domains{}
	runs := map[string]posir.Run{}
	var faults []error
	for _, d := range domains {
		var run posir.Run
		if read, ok := base.(ready); ok {
			run = read.run
		}
		more, err := d.faults(run)
		if err != nil {
			return err
		}
		faults = append(faults, more...)
		if runs[d.name], err = r.search(ctx, d.Queries, d.files.Documents()); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		if byDomain[d.name], err = d.Evaluate(runs[d.name]); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		if o.mirror {
			run, err := r.search(ctx, d.Queries, posir.MirrorCorpus(d.files.Documents()))
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			if mirrored[d.name], err = d.Evaluate(run); err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
		}
	}
	report, err := posir.NewReport(o.name, o.setting, byDomain.Pool(), o.bias)
	if err != nil {
		return err
	}
	report.Faults, report.Method = faults, o.method()
	if o.mirror {
		report.Reversal, err = posir.CompareMirrored(byDomain.Pool(), mirrored.Pool(), eval.BootstrapOptions{Replicates: o.bias.Replicates, Seed: o.bias.Seed})
		if err != nil {
			return err
		}
	}
	if e, ok := base.(*encoder); ok && o.saliency > 0 {
		if report.Saliency, err = e.saliency(ctx, domains, o.saliency); err != nil {
			return err
		}
	}
	var saved error
	if o.out != "" {
		saved = o.save(report, byDomain, runs)
	}
	return errors.Join(saved, report.Write(out))
}

// writable makes a folder, unless it is there, and tries to write into it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// method says how documents are ranked.
func (o *posirOptions) method() string {
	how := "Documents are ranked by BM25"
	switch {
	case o.run != "":
		how = "Documents are ranked as in " + o.run
	case o.model != "":
		how = fmt.Sprintf("Texts are embedded by %s, with %s before queries and %s before documents", o.model, quoted(o.queryPrefix), quoted(o.documentPrefix))
	}
	if o.rerank != "" {
		how += fmt.Sprintf("; the first %d documents of each query are scored again by %s", o.rerankDepth, o.rerank)
	}
	return how + "."
}

// quoted shows a prefix.
func quoted(prefix string) string {
	if prefix == "" {
		return "nothing"
	}
	return strconv.Quote(prefix)
}

// save writes report, heat map, results and runs: all that can be written.
func (o *posirOptions) save(report *posir.Report, byDomain posir.Domains, runs map[string]posir.Run) error {
	var failed []error
	write := func(name string, write func(io.Writer) error) {
		path := filepath.Join(o.out, name)
		var b bytes.Buffer
		err := write(&b)
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		} else {
			err = os.WriteFile(path, b.Bytes(), 0o666)
		}
		failed = append(failed, err)
	}
	write("report.md", report.Write)
	write("heatmap.svg", func(w io.Writer) error {
		return posir.WriteHeatMap(w, report.Analysis, o.name+" on "+o.setting)
	})
	for _, name := range slices.Sorted(maps.Keys(byDomain)) {
		write(filepath.Join(o.setting, name+".json"), func(w io.Writer) error { return posir.WriteResults(w, name, o.name, byDomain[name]) })
		if o.run == "" || o.rerank != "" {
			write(name+".trec", func(w io.Writer) error {
				return posir.WriteTREC(w, runs[name], strings.Join(strings.Fields(o.name), "-"))
			})
		}
	}
	return errors.Join(failed...)
}

// openScorer opens the model of -rerank.
func (o *posirOptions) openScorer(ctx context.Context) (relevance.Closer, error) {
	if o.task != "" {
		task, err := taskfile.Open(o.task, taskfile.Options{Seed: 1})
		if err != nil {
			return nil, err
		}
		return relevance.Open(ctx, o.rerank, task.Source, o.backend)
	}
	if _, err := os.Stat(filepath.Join(o.rerank, relevance.ModelFile)); err == nil {
		return nil, fmt.Errorf("%s is a model folder, which needs the task that it was trained for: -task", o.rerank)
	}
	return relevance.OpenReranker(o.rerank, relevance.RerankerOptions{Backend: o.backend})
}

// retriever makes runs of queries on a corpus.
type retriever interface {
	search(ctx context.Context, queries []posir.Query, corpus posir.Corpus) (posir.Run, error)
	// close releases the model and its backend.
	close()
}

func (o *posirOptions) retriever(domains []*domain) (retriever, error) {
	switch {
	case o.bm25:
		return lexical{o.depth}, nil
	case o.run != "":
		run, err := readRun(o.run)
		if err == nil {
			err = checkQueries(run, domains)
		}
		return ready{run}, err
	case o.server != "":
		e, err := openai.NewEmbedder(openai.EmbedderConfig{
			Endpoint: remote.Endpoint{URL: o.server, Key: remote.Key{Env: o.keyEnv}}, Model: o.model,
			Retry: remote.Retry{Attempts: 5, Elapsed: 5 * time.Minute, Backoff: 500 * time.Millisecond, MaxBackoff: 10 * time.Second},
		})
		if err != nil {
			return nil, err
		}
		b, err := tensor.Open(o.backend)
		if err != nil {
			return nil, err
		}
		return served{o, e, b}, nil
	}
	return o.openEncoder()
}

// ready is a run that was read from a file.
type ready struct{ run posir.Run }

func (ready) close() {}

func (r ready) search(_ context.Context, queries []posir.Query, _ posir.Corpus) (posir.Run, error) {
	asked := posir.Run{}
	for _, q := range queries {
		if hits, ok := r.run[q.ID]; ok {
			asked[q.ID] = hits
		}
	}
	return asked, nil
}

// reranked scores the first documents of another retriever with a model that was
// trained to judge relevance.
type reranked struct {
	retriever
	scorer relevance.Scorer
	depth  int
}

func (r reranked) search(ctx context.Context, queries []posir.Query, corpus posir.Corpus) (posir.Run, error) {
	run, err := r.retriever.search(ctx, queries, corpus)
	if err != nil {
		return nil, err
	}
	return posir.Rerank(ctx, r, run, queries, corpus, r.depth)
}

// Score returns the expected grades. A document whose answer cannot be read is last.
func (r reranked) Score(ctx context.Context, query string, documents []string) ([]float64, error) {
	titled := make([]rows.Document, len(documents))
	for i, d := range documents {
		titled[i].Title = d
	}
	all, err := r.scorer.Score(ctx, query, titled, relevance.ScoreOptions{})
	grades := make([]float64, len(all))
	for i, s := range all {
		if grades[i] = s.Grade; math.IsNaN(s.Grade) {
			grades[i] = -1
		}
	}
	return grades, err
}

// lexical is BM25 to a depth.
type lexical struct{ depth int }

func (lexical) close() {}

func (l lexical) search(ctx context.Context, queries []posir.Query, corpus posir.Corpus) (posir.Run, error) {
	return posir.SearchBM25(ctx, queries, corpus, posir.Words, l.depth, eval.DefaultBM25Options())
}

// served is a sentence encoder at a server.
type served struct {
	o *posirOptions
	*openai.Embedder
	backend tensor.Backend
}

func (s served) close() { tensor.Close(s.backend) }

func (s served) search(ctx context.Context, queries []posir.Query, corpus posir.Corpus) (posir.Run, error) {
	return posir.Search(ctx, posir.Prefixed{Embed: s.Embed, Query: s.o.queryPrefix, Document: s.o.documentPrefix}, queries, corpus, posir.SearchOptions{Depth: s.o.depth, Products: local.Products(s.backend)})
}

// encoder is a sentence encoder in this process.
type encoder struct {
	o     *posirOptions
	model *model.Encoder
	*local.Embedder
}

func (e *encoder) close() {
	b := e.model.Backend()
	e.model.Free()
	tensor.Close(b)
}

func (o *posirOptions) openEncoder() (_ *encoder, err error) {
	f, err := openFolder(o.model)
	if err != nil {
		return nil, err
	}
	if f.tokens == nil {
		return nil, fmt.Errorf("%s has no %s", o.model, tokenizerFile)
	}
	folder, err := model.Inspect(o.model)
	if err != nil {
		return nil, err
	}
	b, err := tensor.Open(o.backend)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			tensor.Close(b)
		}
	}()
	var m *model.Encoder
	if folder.Encoder != nil && !folder.Body {
		m, err = model.LoadEncoder(b, o.model) // a classifier, of which the body is used
	} else {
		m, err = model.PretrainedEncoder(b, o.model, 2, 0)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.Free()
		}
	}()
	most := o.maxTokens
	if most == 0 {
		if most, err = local.ReadMaxTokens(o.model, m.Config().MaxSeq); err != nil {
			return nil, err
		}
	}
	e, err := local.NewEmbedder(local.EmbedderConfig{Encoder: m, Tokenizer: f.tokens, MaxTokens: most})
	if err != nil {
		return nil, err
	}
	return &encoder{o, m, e}, nil
}

func (e *encoder) search(ctx context.Context, queries []posir.Query, corpus posir.Corpus) (posir.Run, error) {
	o := posir.SearchOptions{Depth: e.o.depth, Products: local.Products(e.model.Backend())}
	if e.o.chunk {
		o.Chunk = e.Chunks
	}
	return posir.Search(ctx, posir.Prefixed{Embed: e.Embed, Query: e.o.queryPrefix, Document: e.o.documentPrefix}, queries, corpus, o)
}

// saliency averages over the first n queries with the evidence in the middle of a
// document, so that a preference for ends is the model's.
func (e *encoder) saliency(ctx context.Context, domains []*domain, n int) (*posir.Saliency, error) {
	var all [][]float64
	for _, d := range domains {
		asking := map[string]string{} // a query by its document
		queries := map[string]string{}
		for _, q := range d.Queries {
			if p, ok := q.Position(); ok && p >= .4 && p <= .6 {
				queries[q.ID] = q.Text
			}
		}
		for _, j := range d.Judgements {
			if text, ok := queries[j.Query]; ok && j.Gain > 0 && asking[j.Document] == "" {
				asking[j.Document] = text
			}
		}
		for doc, err := range d.files.Documents() {
			if err != nil {
				return nil, err
			}
			if len(all) == n {
				break
			}
			query, ok := asking[doc.ID]
			if !ok {
				continue
			}
			norms, err := e.Saliency(ctx, e.o.queryPrefix+query, e.o.documentPrefix+doc.Text)
			if err != nil {
				return nil, fmt.Errorf("%s: document %q: %w", d.name, doc.ID, err)
			}
			all = append(all, norms)
		}
	}
	return posir.SummarizeSaliency(all), nil
}
