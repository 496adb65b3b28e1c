package posirdata_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/relevance/posirdata"
)

func collect(t *testing.T, c posir.Corpus) []posir.Document {
	var all []posir.Document
	for d, err := range c {
		require.NoError(t, err)
		all = append(all, d)
	}
	return all
}

func TestParquetAndJSONLinesGiveTheSame(t *testing.T) {
	for _, name := range []string{"parquet", "jsonl"} {
		files, err := posirdata.Find(filepath.Join("testdata", name))
		require.NoError(t, err)
		b, err := files.Benchmark()
		require.NoError(t, err)
		assert.Equal(t, &posir.Benchmark{
			Queries: []posir.Query{
				{ID: "q1", Text: "où est la réponse ?", Evidence: posir.Evidence{Start: 3, End: 9, Chars: 25, Tokens: 8}},
				{ID: "q2", Text: "答案在哪里", Evidence: posir.Evidence{Start: 0, End: 4, Chars: 9, Tokens: 9}},
			},
			Judgements: []posir.Judgement{{Query: "q1", Document: "d0", Gain: 1}, {Query: "q2", Document: "d1", Gain: 1}},
		}, b, name)
		documents := collect(t, files.Documents())
		require.Len(t, documents, 202)
		assert.Equal(t, posir.Document{ID: "d1", Text: "答案在开头，不在后面"}, documents[1])
		assert.Equal(t, "d201", documents[201].ID)
		for range files.Documents() {
			break // reading may stop early
		}
	}
}

func TestWriteIsReadBack(t *testing.T) {
	built, err := posir.Build(posir.Generate(40, 1), posir.BuildOptions{})
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "ours")
	require.NoError(t, posirdata.Write(dir, &built.Benchmark, built.Corpus()))
	files, err := posirdata.Find(dir)
	require.NoError(t, err)
	b, err := files.Benchmark()
	require.NoError(t, err)
	assert.Equal(t, &built.Benchmark, b)
	assert.Equal(t, built.Documents, collect(t, files.Documents()))
}

func TestOneFormOfEachFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "parquet"))))
	assert.ErrorContains(t, posirdata.Write(dir, &posir.Benchmark{}, (&posir.Built{}).Corpus()), "queries.parquet is there already")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "corpus.jsonl"), nil, 0o666))
	_, err := posirdata.Find(dir)
	assert.ErrorContains(t, err, "has both corpus.parquet and corpus.jsonl")
}

func TestBlankLinesAreSkipped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "corpus.jsonl")
	require.NoError(t, os.WriteFile(path, []byte("\n{\"_id\":\"a\",\"text\":\"b\"}\r\n \r\n\n"), 0o666))
	assert.Equal(t, []posir.Document{{ID: "a", Text: "b"}}, collect(t, posirdata.Files{Corpus: path}.Documents()))
}

func TestBadFilesAreNamed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "queries.jsonl")
	fine := filepath.Join("testdata", "jsonl", "qrels", "test.jsonl")
	const row = `{"_id":"q","text":"t","pos_char_span":[1,2],"pos_char_length":3,"pos_token_length":1}`
	for text, want := range map[string]string{
		row + "\n{":   "queries.jsonl: line 2: unexpected end",
		`{"_id":"q"}`: `queries.jsonl: row 1: no "text"`,
		`{"_id":7}`:   "line 1: json: cannot unmarshal number",
		row + "\n" + `{"_id":"q","text":"t","pos_char_span":[1],"pos_char_length":3,"pos_token_length":1}`: "row 2: pos_char_span has 1 numbers",
		`{"_id":"q","text":"t","pos_char_span":[1,2],"pos_char_length":NaN}`:                               "NaN is not JSON",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
		_, err := posirdata.Files{Queries: path, Qrels: fine}.Benchmark()
		assert.ErrorContains(t, err, want)
	}
	require.NoError(t, os.WriteFile(path, []byte(row), 0o666))
	qrels := filepath.Join(dir, "qrels.jsonl")
	require.NoError(t, os.WriteFile(qrels, []byte(`{"query-id":"q","corpus-id":"d","score":-1}`), 0o666))
	_, err := posirdata.Files{Queries: path, Qrels: qrels}.Benchmark()
	assert.ErrorContains(t, err, "qrels.jsonl: row 1: the score is -1")
	_, err = posirdata.Find(dir)
	assert.ErrorContains(t, err, "has no corpus.parquet and no corpus.jsonl")
	for _, err := range (posirdata.Files{Corpus: path}).Documents() {
		assert.NoError(t, err) // a query has what a document needs
	}
	for _, err := range (posirdata.Files{Corpus: qrels}).Documents() {
		assert.ErrorContains(t, err, `no "_id"`)
	}
}

func FuzzParquet(f *testing.F) {
	for _, name := range []string{"queries", "corpus"} {
		text, err := os.ReadFile(fmt.Sprintf("testdata/parquet/%s.parquet", name))
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte("PAR1\xff\xff\xff\xffPAR1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "a.parquet")
		require.NoError(t, os.WriteFile(path, text, 0o666))
		_, _ = posirdata.Files{Queries: path, Qrels: path}.Benchmark()
		for _, err := range (posirdata.Files{Corpus: path}).Documents() {
			if err != nil {
				break
			}
		}
	})
}

func FuzzJSONLines(f *testing.F) {
	for _, name := range []string{"queries.jsonl", "qrels/test.jsonl"} {
		text, err := os.ReadFile("testdata/jsonl/" + name)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "a.jsonl")
		require.NoError(t, os.WriteFile(path, text, 0o666))
		files := posirdata.Files{Queries: path, Qrels: "testdata/jsonl/qrels/test.jsonl", Corpus: path}
		if b, err := files.Benchmark(); err == nil {
			b.Check(nil)
			results, err := b.Evaluate(posir.Run{})
			require.NoError(t, err)
			posir.Analyze(results)
		}
		for _, err := range files.Documents() {
			if err != nil {
				break
			}
		}
	})
}
