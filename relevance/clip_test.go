package relevance

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/taskfile"
)

// row is a line of a user's file.
type row struct {
	Query    string            `json:"query"`
	Document map[string]string `json:"document"`
	Label    string            `json:"label"`
}

// clipTask is a task whose steps quote the query.
const clipTask = `
version: 1
name: clip
labels: [%s]
data: {pairs: {file: pairs.jsonl}}
split: {validation: 0}
criteria:
  - {name: words, kind: coverage, params: {field: title}}
prompt: {compact: true}
steps:
  - {name: words, instruction: Look for the words., rule: {criterion: words}}
  - {name: label, instruction: Give the label.}
`

// opened returns a run on these rows after its data has been read and clipped.
func opened(t *testing.T, labels string, all ...row) (*pipeline, error) {
	return openedWith(t, Quick(), labels, all...)
}

func openedWith(t *testing.T, c Config, labels string, all ...row) (*pipeline, error) {
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "pairs.jsonl"))
	require.NoError(t, err)
	out := json.NewEncoder(file)
	for _, r := range all {
		require.NoError(t, out.Encode(r))
	}
	require.NoError(t, file.Close())
	path := filepath.Join(dir, "task.yaml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, clipTask, labels), 0o600))
	task, err := taskfile.Open(path, taskfile.Options{Seed: 1})
	if err != nil {
		return nil, err
	}
	return prepared(t, task.Source, c)
}

// all returns every example of a source.
func all(p *pipeline) (es []rows.Example) {
	for i := range p.src.Size {
		es = append(es, p.src.Train(i))
	}
	for _, s := range p.src.Tests {
		es = append(es, s.Examples...)
	}
	return es
}

// chinese is what an application in Chinese has.
func chinese() (out []row) {
	cities, things := []string{"上海", "西安", "厦门"}, []string{"亲子乐园", "民宿", "徒步路线"}
	for i, city := range cities {
		for _, thing := range things {
			out = append(out, row{city + thing + "推荐", map[string]string{
				"title": cities[0] + thing + "攻略", "body": "周末去了" + cities[0] + "的一家" + thing + "，停车方便，强烈推荐大家去打卡！",
			}, fmt.Sprint(i)})
		}
	}
	return out
}

// Texts reach the model as they are, whatever the script.
func TestTextsSurvive(t *testing.T) {
	rs := append(chinese(),
		row{"C++ 书 📚", map[string]string{"title": "Learn C++17, 2nd ed.", "body": "covers `std::move` & more — 3.5mm jack not included! 🙂"}, "0"},
		row{"earphones 3.5mm", map[string]string{"title": "H&M “Basic” <|end|>", "brand": "Bose®"}, "2"},
	)
	p, err := opened(t, "0, 1, 2", rs...)
	require.NoError(t, err)
	end := p.models.End()[0]
	seen := map[string]bool{}
	for _, e := range all(p) {
		seen[e.Query] = true
		i := slices.IndexFunc(rs, func(r row) bool { return r.Query == e.Query })
		q, err := p.task.Bind(e).Request()
		require.NoError(t, err)
		require.NotContains(t, q.Prompt, end, "a text does not end a prompt")
		text := p.tok.Decode(q.Prompt)
		require.Contains(t, text, "query: "+e.Query+"\n")
		for _, part := range rs[i].Document {
			require.Contains(t, text, part)
		}
	}
	require.Len(t, seen, len(rs))
}

// However long the texts and whatever their script, the model has room for the prompt
// and an answer.
func TestLongTextsAreClipped(t *testing.T) {
	p, err := opened(t, "0, 1, 2", chinese()...)
	require.NoError(t, err)
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.Custom(func(rt *rapid.T) string {
			r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
			from := rapid.SampledFrom([]rune{'a', '一', 'ก', '🌀', 'א'}).Draw(rt, "script")
			var b strings.Builder
			for range rapid.IntRange(0, 3000).Draw(rt, "length") {
				b.WriteRune(from + rune(r.IntN(26)))
				if r.IntN(20) == 0 {
					b.WriteByte(' ')
				}
			}
			return b.String()
		})
		long := rows.Example{Query: "long", Document: rows.Document{
			Title: "T" + text.Draw(rt, "title"), Body: text.Draw(rt, "body"),
			Fields: []rows.Field{{Name: "brand", Value: text.Draw(rt, "brand")}, {Name: text.Draw(rt, "name"), Value: text.Draw(rt, "value")}},
		}}
		e, err := p.clipper(t.Context()).Clip(long)
		require.NoError(rt, err)
		q, err := p.task.Bind(e).Request()
		require.NoError(rt, err)
		require.LessOrEqual(rt, len(q.Prompt)+p.c.MaxTokens, p.models.MaxSeq())
		bare, err := p.task.Bind(rows.Example{Query: "long", Truth: make([]string, 2)}).Request()
		require.NoError(rt, err)
		require.LessOrEqual(rt, len(q.Prompt)-len(bare.Prompt), p.c.DocumentTokens)
		for whole, cut := range map[string]string{long.Document.Title: e.Document.Title, long.Document.Body: e.Document.Body} {
			require.True(rt, strings.HasPrefix(whole, cut))
		}
		require.NotEmpty(rt, e.Document.Title)
		short := rows.Example{Query: "long", Document: rows.Document{Title: "short", Fields: []rows.Field{{Name: "brand", Value: "a"}}}}
		e, err = p.clipper(t.Context()).Clip(short)
		require.NoError(rt, err)
		require.Equal(rt, short, e)
	})
}

func TestRowsThatDoNotFitAreNamed(t *testing.T) {
	document := map[string]string{"title": "t"}
	var long strings.Builder // more characters than the vocabulary can learn
	for r := range rune(3000) {
		long.WriteRune('一' + r)
	}
	_, err := opened(t, "0, 1, 2", append(chinese(), row{long.String(), document, "1"})...)
	require.ErrorContains(t, err, `pairs.jsonl:10: field "query": is too long: without the document the prompt takes `)
	require.ErrorContains(t, err, "want at most 208, which leaves 16 for the document; shorten it")
}

// A pair from elsewhere is read as the same pair of the data is, also where conditions ask
// for what is found in what is left of a long document.
func TestConditionsOfCutPairs(t *testing.T) {
	dir := t.TempDir()
	var lines strings.Builder
	long := strings.Repeat("very long title of a thing ", 30)
	for i := range 10 {
		fmt.Fprintf(&lines, `{"query": "lamp%d", "document": {"title": "%s lamp%[1]d", "body": "b"}, "label": %[3]d}`+"\n", i, long, i%2)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pairs.jsonl"), []byte(lines.String()), 0o600))
	path := filepath.Join(dir, "task.yaml")
	text := fmt.Sprintf(clipTask, "0, 1")
	text = strings.Replace(text, "compact: true", "compact: false", 1)
	text = strings.Replace(text, "Give the label.}", "Give it., criteria: [{name: c, text: All of it., when: 'found.words.answer == \"all\"'}]}", 1)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	task, err := taskfile.Open(path, taskfile.Options{Seed: 1})
	require.NoError(t, err)
	c := Quick()
	c.Policy = Scratch{Vocab: 1000, Shape: Shape{Dim: 64, Layers: 1, Heads: 4, FF: 64, MaxSeq: 600}}
	p, err := prepared(t, task.Source, c)
	require.NoError(t, err)
	info := p.info(KindDecoder, Calibration{})
	prepare, err := preparer(t.Context(), task.Source, p.tok, &info)
	require.NoError(t, err)
	e := p.src.Train(0)
	fresh, err := prepare(rows.Example{Query: e.Query, Document: rows.Document{Title: long + " " + e.Query, Body: "b"}})
	require.NoError(t, err)
	require.Less(t, len(e.Document.Title), len(long), "it is cut")
	require.Equal(t, p.task.Template().Render(e), p.task.Template().Render(fresh))
}

// Criteria compare a pair with all documents, judged or not.
func TestDocumentsDigestCoversTheCatalogue(t *testing.T) {
	digest := func(more string) string {
		dir := t.TempDir()
		write := func(name, text string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		write("task.yaml", strings.Replace(fmt.Sprintf(clipTask, "0, 1"), "{pairs: {file: pairs.jsonl}}", "{pairs: {file: pairs.csv}, documents: {file: documents.csv}}", 1))
		pairs, documents := "query,document_id,label\n", "id,title\n"
		for i := range 10 {
			pairs += fmt.Sprintf("lamp%d,%d,%d\n", i, i, i%2)
			documents += fmt.Sprintf("%d,lamp %[1]d\n", i)
		}
		write("pairs.csv", pairs)
		write("documents.csv", documents+more)
		task, err := taskfile.Open(filepath.Join(dir, "task.yaml"), taskfile.Options{Seed: 1})
		require.NoError(t, err)
		return DocumentsDigest(task.Source)
	}
	require.Equal(t, digest("a,desk\nb,chair\n"), digest("b,chair\nc,desk\n"))
	require.NotEqual(t, digest("a,desk\n"), digest("a,chair\n"))
}
