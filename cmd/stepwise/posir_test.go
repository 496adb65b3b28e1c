package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/posirdata"
)

func TestPosirHelp(t *testing.T) {
	checkHelp(t, "posir", "build")
	checkHelp(t, "posir", "eval")
	checkHelp(t, "posir", "metrics")
}

// ownBenchmark is a benchmark that posir build made of generated documents.
func ownBenchmark(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	plain := &posir.Built{Documents: posir.Generate(120, 1)}
	require.NoError(t, posirdata.Write(dir, &plain.Benchmark, plain.Corpus()))
	out := filepath.Join(dir, "ours")
	status, text, errs := stepwise("", "posir", "build", "-plant", filepath.Join(dir, "corpus.jsonl"), out)
	require.Zero(t, status, errs)
	require.Equal(t, "80 queries on 120 documents\n", text)
	return out
}

func TestPosirEvalBM25(t *testing.T) {
	data, out := ownBenchmark(t), filepath.Join(t.TempDir(), "out")
	status, report, errs := stepwise("", "posir", "eval", "-bm25", "-mirror", "-replicates", "99", "-out", out, data)
	require.Zero(t, status, errs)
	require.Contains(t, report, "# Position bias of BM25 on own")
	require.Contains(t, report, "nDCG@10 is 1.0000 over 80 queries")
	require.Contains(t, report, "δ is ")
	svg, err := os.ReadFile(filepath.Join(out, "heatmap.svg"))
	require.NoError(t, err)
	require.Contains(t, string(svg), "<svg")

	// Its files give the same again.
	status, again, errs := stepwise("", "posir", "eval", "-run", filepath.Join(out, "ours.trec"), "-name", "BM25", "-replicates", "99", data)
	require.Zero(t, status, errs)
	again = strings.Replace(again, "ranked as in "+filepath.Join(out, "ours.trec"), "ranked by BM25", 1)
	require.Contains(t, report, strings.TrimSpace(strings.Split(again, "## Beside")[0]))
	status, text, errs := stepwise("", "posir", "metrics", "-published", out)
	require.Zero(t, status, errs)
	var metrics map[string]map[string]posir.Metrics
	require.NoError(t, json.Unmarshal([]byte(text), &metrics))
	require.Len(t, metrics, 11)
	require.Equal(t, 1., metrics["out"]["own"].NDCG)
	require.Zero(t, metrics["out"]["own"].PSI)
	for part, want := range map[string]string{
		"own":           "own has ours.json, as the folder of a single setting does",
		"own/ours.json": "is of the file of a single domain",
	} {
		status, _, errs = stepwise("", "posir", "metrics", filepath.Join(out, part))
		require.NotZero(t, status)
		require.Contains(t, errs, want)
	}
}

// bertFolder is a folder of a random BERT and a tokenizer of bytes.
func bertFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	tokens, err := tokenizer.Train(func(func(string) bool) {}, tokenizer.TrainOptions{VocabSize: 256})
	require.NoError(t, err)
	e, err := model.NewEncoder(reference.New(), model.EncoderConfig{
		Config: model.Config{Vocab: 256, Dim: 8, Layers: 1, Heads: 2, KVHeads: 2, FF: 8, MaxSeq: 32}, Style: model.BERTStyle, Classes: 2,
	}, 1)
	require.NoError(t, err)
	defer e.Free()
	require.NoError(t, e.Save(dir))
	require.NoError(t, tokens.Save(filepath.Join(dir, tokenizerFile)))
	return dir
}

func TestPosirEvalEncoder(t *testing.T) {
	data, dir := ownBenchmark(t), bertFolder(t)
	status, report, errs := stepwise("", "posir", "eval", "-model", dir, "-saliency", "2", "-replicates", "99", data)
	require.Zero(t, status, errs)
	require.Contains(t, report, "over 2 documents with the evidence in the middle")
}

// A server that embeds a text as its bytes' counts finds what shares letters.
func TestPosirEvalServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			Model string
			Input []string
		}
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&request))
		assert.Equal(t, "e5", request.Model)
		type datum struct {
			Index     int       `json:"index"`
			Embedding []float32 `json:"embedding"`
		}
		var data []datum
		for i, text := range request.Input {
			v := make([]float32, 256)
			for _, b := range []byte(text) {
				v[b]++
			}
			data = append(data, datum{i, v})
		}
		assert.NoError(t, json.NewEncoder(w).Encode(map[string]any{"data": data}))
	}))
	defer server.Close()
	status, report, errs := stepwise("", "posir", "eval", "-server", server.URL, "-model", "e5", "-query-prefix", "query: ", "-replicates", "99", ownBenchmark(t))
	require.Zero(t, status, errs)
	require.Contains(t, report, "# Position bias of e5 on own")
	require.Contains(t, report, `Texts are embedded by e5, with "query: " before queries and nothing before documents.`)
}

// The example of the help and the guide is read; what is left out is counted.
func TestPosirMetricsCounts(t *testing.T) {
	guide, err := os.ReadFile("../../docs/posir.md")
	require.NoError(t, err)
	_, form, _ := strings.Cut(string(guide), "```json\n")
	form, _, _ = strings.Cut(form, "```")
	require.Contains(t, posirMetricsAbout, form)
	path := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(path, []byte(form), 0o666))
	status, text, errs := stepwise("", "posir", "metrics", path)
	require.Zero(t, status, errs)
	require.Empty(t, errs)
	require.Contains(t, text, `"nDCG@10": 0.63`)

	row := func(id, span string, chars string) string {
		return `"` + id + `":{"pos_char_span":` + span + `,"pos_char_length":` + chars + `,"pos_token_length":3,"scores":{"ndcg_cut_10":1}}`
	}
	rows := []string{row("a", "[0,2]", "9"), row("b", "[1,2]", "9"), row("c", "[3,4]", "9"), row("d", "[5,99]", "9"), row("e", "[0,0]", "0"), row("f", "[0,0]", "0")}
	require.NoError(t, os.WriteFile(path, []byte(`{"own":{"d":{"evaluation_results":{`+strings.Join(rows, ",")+`}}}}`), 0o666))
	status, _, errs = stepwise("", "posir", "metrics", path)
	require.Zero(t, status, errs)
	require.Equal(t, "own: 2 of 6 queries are in no bin, 1 span outside its document\n", errs)
}

func TestSettingOf(t *testing.T) {
	for want, dirs := range map[string][2]string{
		"eng-eng": {"data/eng-Latn/sports/", ""}, "fra-eng": {"fra-Latn/game", "x/eng-Latn"},
		"own": {"ours", ""}, "own ": {"eng-Latn/game", "ours"},
	} {
		require.Equal(t, strings.TrimSpace(want), settingOf(dirs[0], dirs[1]))
	}
}

// A run that has little to do with the benchmark is not mistaken for one without bias.
func TestPosirEvalOfAnotherRun(t *testing.T) {
	data := ownBenchmark(t)
	files, err := posirdata.Find(data)
	require.NoError(t, err)
	b, err := files.Benchmark()
	require.NoError(t, err)
	id := b.Queries[0].ID
	for text, wants := range map[string][]string{
		"":                               {"Nothing found", "80 of 80 queries are not in the run"},
		id + " Q0 other/d0001 1 0.5 x\n": {"Nothing found", "79 of 80 queries", "1 hits name documents that are not in the corpus"},
		id + " Q0 " + b.Judgements[0].Document + " 1 0.5 x\n": {"Faults were found, which are listed at the end: 1. The first:\n\n- ours: 79 of 80 queries are not in the run\n"},
	} {
		run := filepath.Join(t.TempDir(), "run.trec")
		require.NoError(t, os.WriteFile(run, []byte(text), 0o666))
		status, report, errs := stepwise("", "posir", "eval", "-run", run, "-replicates", "99", data)
		require.Zero(t, status, errs)
		for _, want := range wants {
			require.Contains(t, report, want)
		}
	}
}

func TestPosirNamesWhatIsWrong(t *testing.T) {
	data := ownBenchmark(t)
	run := filepath.Join(t.TempDir(), "run.json")
	require.NoError(t, os.WriteFile(run, []byte(`{"nobody":{"d":1}}`), 0o666))
	results := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(results, []byte(`{"eng-eng":{"sports":{"evaluation_results":{"q":{}}}}}`), 0o666))
	copied := func(name string) string {
		dir := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.CopyFS(dir, os.DirFS(data)))
		return dir
	}
	bare := copied("bare")
	require.NoError(t, os.WriteFile(filepath.Join(bare, "corpus.jsonl"), nil, 0o666))
	for want, args := range map[string][]string{
		"corpus.jsonl has no documents":           {"eval", "-bm25", bare},
		"ours and twin both have query":           {"eval", "-run", run, data, copied("twin")},
		"not a directory":                         {"eval", "-bm25", "-out", filepath.Join(run, "out"), data},
		"want one of -model, -bm25 and -run":      {"eval", data},
		"no folder of a benchmark":                {"eval", "-bm25"},
		"-mirror needs a retriever":               {"eval", "-run", run, "-mirror", data},
		"need -model":                             {"eval", "-bm25", "-chunk", data},
		`the run has query "nobody"`:              {"eval", "-run", run, data},
		"want at least 99":                        {"eval", "-bm25", "-replicates", "50", data},
		"-server needs -model":                    {"eval", "-bm25", "-server", "http://localhost", data},
		"has no queries.parquet":                  {"eval", "-bm25", t.TempDir()},
		"two folders have the name ours":          {"eval", "-bm25", data, data},
		`results.json: posir: results: "eng-eng"`: {"metrics", results},
		"has no SETTING/DOMAIN.json":              {"metrics", t.TempDir()},
		"want RESULTS":                            {"metrics"},
		"want DOCUMENTS FOLDER":                   {"build", data},
		"want %s in it once":                      {"build", "-query", "x", data, data},
	} {
		status, _, errs := stepwise("", append([]string{"posir"}, args...)...)
		require.NotZero(t, status, want)
		require.Contains(t, errs, want)
	}
}

// Models that people rank with: Qwen3-Embedding with its own prompt finds, Qwen3-Reranker
// ranks again, both tiny and random.
func TestPosirEvalQwen3(t *testing.T) {
	const models = "../../lm/local/testdata/"
	data := ownBenchmark(t)
	status, report, errs := stepwise("", "posir", "eval", "-model", models+"qwen3-embedding", "-rerank", models+"qwen3-reranker", "-rerank-depth", "3", "-replicates", "99", data)
	require.Zero(t, status, errs)
	require.Contains(t, report, "# Position bias of qwen3-embedding + qwen3-reranker (3) on own")
	require.Contains(t, report, `qwen3-embedding, with "Instruct: `)
	require.Contains(t, report, `before queries and nothing before documents; the first 3 documents of each query are scored again by `+models+"qwen3-reranker.\n")
	found := func(args ...string) string {
		out := t.TempDir()
		status, _, errs := stepwise("", append(append([]string{"posir", "eval", "-model", models + "qwen3-embedding", "-replicates", "99", "-out", out}, args...), data)...)
		require.Zero(t, status, errs)
		run, err := filepath.Glob(filepath.Join(out, "*.trec"))
		require.NoError(t, err)
		text, err := os.ReadFile(run[0])
		require.NoError(t, err)
		return string(text)
	}
	prompt, _, err := local.ReadPrompts(models + "qwen3-embedding")
	require.NoError(t, err)
	require.Equal(t, found("-query-prefix", prompt), found(), "the folder's prompt is the default")
	require.NotEqual(t, found("-query-prefix", ""), found())
}

// Cross-encoders rank the documents that BM25 finds again.
func TestPosirEvalCrossEncoder(t *testing.T) {
	data := ownBenchmark(t)
	for _, model := range []string{"bert-reranker", "xlmr-reranker"} {
		status, report, errs := stepwise("", "posir", "eval", "-bm25", "-rerank", "../../lm/local/testdata/"+model, "-rerank-depth", "3", "-replicates", "99", data)
		require.Zero(t, status, errs)
		require.Contains(t, report, "# Position bias of BM25 + "+model+" (3) on own")
		require.Contains(t, report, "Documents are ranked by BM25; the first 3 documents")
	}
}

// Names keep what comes after a dot, as in bge-small-en-v1.5; a file's lose their ending.
func TestNameOf(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "Qwen3-Embedding-0.6B"), 0o777))
	for _, file := range []string{"e5-v1.5.trec", "bm25-0.9.json.gz"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o666))
	}
	for path, want := range map[string]string{
		"Qwen3-Embedding-0.6B/": "Qwen3-Embedding-0.6B", "e5-v1.5.trec": "e5-v1.5", "bm25-0.9.json.gz": "bm25-0.9",
	} {
		require.Equal(t, want, nameOf(filepath.Join(dir, path)))
	}
	require.Equal(t, "multilingual-e5-v1.5", nameOf("intfloat/multilingual-e5-v1.5"), "at a server")
	t.Chdir(filepath.Join(dir, "Qwen3-Embedding-0.6B"))
	require.Equal(t, "Qwen3-Embedding-0.6B", nameOf("."))
	t.Chdir(smallBenchmark(t, "sports", ""))
	d, err := openDomain(".", "")
	require.NoError(t, err)
	require.Equal(t, "sports", d.name)
}

// smallBenchmark is the folder of a benchmark of two queries, whose IDs begin with a prefix.
func smallBenchmark(t *testing.T, name, prefix string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	b := posir.Built{Documents: []posir.Document{{ID: "d1", Text: "red blue green"}, {ID: "d2", Text: "one two three"}}}
	for i, q := range []posir.Query{{ID: "q1", Text: "red"}, {ID: "q2", Text: "three"}} {
		q.ID, q.Evidence = prefix+q.ID, posir.Evidence{Start: 10 * i, End: 10*i + 3, Chars: 14, Tokens: 3}
		b.Queries = append(b.Queries, q)
		b.Judgements = append(b.Judgements, posir.Judgement{Query: q.ID, Document: b.Documents[i].ID, Gain: 1})
	}
	require.NoError(t, posirdata.Write(dir, &b.Benchmark, b.Corpus()))
	return dir
}

// What a search found is kept, although it cannot be shown, and although one file cannot be
// written.
func TestPosirEvalLosesNothing(t *testing.T) {
	blank, fine, out := smallBenchmark(t, "blank", "a "), smallBenchmark(t, "fine", ""), filepath.Join(t.TempDir(), "out[1]")
	var errs strings.Builder
	status := runPosirEval([]string{"-bm25", "-replicates", "99", "-out", out, fine, blank}, nil, full{}, &errs)
	require.Equal(t, exitInput, status)
	require.Contains(t, errs.String(), filepath.Join(out, "blank.trec")+`: posir: "a q1" cannot stand in a run file of TREC`)
	require.Contains(t, errs.String(), "no space left")
	for _, name := range []string{"report.md", "heatmap.svg", "own/blank.json", "own/fine.json", "fine.trec"} {
		require.FileExists(t, filepath.Join(out, name))
	}
	status, text, _ := stepwise("", "posir", "metrics", out)
	require.Zero(t, status)
	require.Contains(t, text, `"nDCG@10": 1,`, "a folder's name is no pattern")
	left, err := os.ReadDir(filepath.Join(out, "own"))
	require.NoError(t, err)
	require.Len(t, left, 2)
}

// Domains may call queries and documents alike.
func TestPosirEvalOfTwoDomains(t *testing.T) {
	status, report, errs := stepwise("", "posir", "eval", "-bm25", "-mirror", "-replicates", "99", smallBenchmark(t, "one", ""), smallBenchmark(t, "two", ""))
	require.Zero(t, status, errs)
	require.Contains(t, report, "nDCG@10 is 1.0000 over 4 queries")
	require.Contains(t, report, "| front | 2 | 1.0000 |")
}

// What cannot be evaluated is refused before the search.
func TestPosirEvalRefusesBeforeTheSearch(t *testing.T) {
	for file, want := range map[string]string{"queries.jsonl": `query "q1" is there twice`, "qrels/test.jsonl": `query "q1": document "d1" is judged twice`} {
		dir := smallBenchmark(t, "twice", "")
		path := filepath.Join(dir, file)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(text, text...), 0o666))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "corpus.jsonl"), []byte("{"), 0o666)) // not read
		status, _, errs := stepwise("", "posir", "eval", "-bm25", dir)
		require.NotZero(t, status)
		require.Contains(t, errs, want)
	}
}
