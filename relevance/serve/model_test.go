package serve

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/distill"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/task"
)

// colours asks whether a document has the colour of the query.
func colours() *rows.Source {
	names := []string{"red", "blue", "green"}
	example := func(i int) rows.Example {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		asked, is := names[r.IntN(3)], names[r.IntN(3)]
		label := map[bool]string{true: "1", false: "0"}[asked == is]
		return rows.Example{
			ID: fmt.Sprint(i), Query: asked + " lamp", Document: rows.Document{Title: is + " lamp"}, Truth: []string{is, label},
			Teach: func(*rand.Rand) []rows.Thought {
				return []rows.Thought{{Reasoning: "it says", Answer: is}, {Reasoning: "so", Answer: label}}
			},
		}
	}
	s := &rows.Source{Name: "colours", Labels: []string{"0", "1"}, Meanings: []string{"another", "the same"}, Relevant: "1", Compact: true, Input: rows.Render, Train: example}
	s.Steps = []task.Step[rows.Example]{
		{Name: "colour", Instruction: "Name it.", Answers: names, Rule: rows.TruthRule(0)},
		{Name: "label", Instruction: "Give the label.", Answers: s.Labels, Rule: rows.TruthRule(1)},
	}
	s.Tests = []rows.TestSet{{Name: "TEST", Examples: []rows.Example{example(1000), example(1001)}}}
	return s
}

// trained is the folder of a run with a model that reasons and a student.
func trained(t *testing.T) string {
	c := relevance.Quick()
	c.Smoke = false
	small := relevance.Scratch{Vocab: 400, Shape: relevance.Shape{Dim: 32, Layers: 1, Heads: 2, FF: 64, MaxSeq: 160}}
	c.Policy, c.Student.Encoder, c.MaxTokens = small, small, 48
	c.Warmup.Steps, c.Warmup.Batch, c.Warmup.LR, c.Warmup.ProbePrompts = 80, 8, 1e-2, 4
	c.Reinforce.Steps, c.Reinforce.Prompts, c.Reinforce.Group = 1, 2, 2
	c.Reinforce.Credits = []relevance.NamedCredit{{Name: "mask", Credit: sam.Mask{}}}
	c.Student.Examples, c.Student.Epochs, c.Student.MaxTokens = 32, 1, 64
	c.Validation.Rows, c.CheckpointEvery, c.SampleEvery, c.BaselineRows = 20, 1, 1, 50
	dir := filepath.Join(t.TempDir(), "run")
	_, err := relevance.Train(t.Context(), colours(), c, dir, relevance.Options{Out: io.Discard})
	require.NoError(t, err)
	return dir
}

// The model folders of a run are served: what is answered is what the scorer says, with
// the steps of the one that reasons. And the description is right: for each endpoint and
// answer, what it says is what comes.
func TestModelFolders(t *testing.T) {
	dir := trained(t)
	docs := []rows.Document{{Title: "red lamp"}, {Title: "blue lamp"}}
	for _, folder := range []string{relevance.PolicyFolder, relevance.StudentFolder} {
		t.Run(folder, func(t *testing.T) {
			opening, cancel := context.WithCancel(t.Context())
			m, err := Open(opening, filepath.Join(dir, folder), colours(), "cpu")
			require.NoError(t, err)
			cancel() // a server goes on until what was accepted is finished
			require.Len(t, m.Digest, 64)
			steps := m.reasons()
			require.True(t, steps || folder == relevance.StudentFolder)
			want, err := m.Scorer.Score(t.Context(), "red lamp", docs, relevance.ScoreOptions{Steps: steps})
			require.NoError(t, err)
			s, err := New(Config{}, m)
			require.NoError(t, err)
			defer s.Close(t.Context())
			d := describedBy(t, s)

			var got scoreAnswer
			text := d.call("POST", "/v1/score", fmt.Sprintf(`{"query": "red lamp", "documents": ["red lamp", {"title": "blue lamp"}], "steps": %v}`, steps), 200)
			require.NoError(t, json.Unmarshal(text, &got))
			require.Equal(t, identity{m.Version, m.Digest}, got.Model)
			for i, r := range got.Results {
				require.Equal(t, want[i].Label, r.Label)
				require.Equal(t, want[i].P, r.P)
				require.Equal(t, want[i].Steps, r.Steps)
				require.Equal(t, want[i].Grade, *r.Relevance, "two labels")
			}
			if steps {
				require.Equal(t, "red", got.Results[0].Steps[0].Answer)
				long := strings.Repeat("red lamp ", 200)
				require.Contains(t, string(d.call("POST", "/v1/score", `{"query": "`+long+`", "documents": ["x"]}`, 422)), "query: is too long")
				d.call("POST", "/v1/score", `{"query": "red", "documents": ["`+long+`"]}`, 200) // documents are cut
			} else {
				d.call("POST", "/v1/score", `{"query": "red lamp", "documents": ["x"], "steps": true}`, 422)
			}
			for _, path := range []string{"/rerank", "/v1/rerank", "/v2/rerank"} {
				d.call("POST", path, `{"query": "red lamp", "documents": ["red lamp", {"title": "blue lamp"}, {"text": "lamp"}], "top_n": 2}`, 200)
				d.call("POST", path, `{"query": ""}`, 422)
			}
			d.call("POST", "/v1/score", `{`, 400)
			for _, path := range []string{"/", "/v1/model", "/metrics", "/healthz", "/readyz", "/openapi.json"} {
				d.call("GET", path, "", 200)
			}
			require.Empty(t, d.unseen, "endpoints that were not called")
		})
	}
	_, err := Open(t.Context(), filepath.Join(dir, relevance.PolicyFolder), nil, "cpu")
	require.ErrorContains(t, err, "needs the task")
}

// Published rerankers are served as they are, with the logits that transformers computes
// (lm/local/testdata/crossencoder.py) and the grades of Qwen3-Reranker's card
// (reranker.py): a single logit becomes a relevance_score by the logistic function, and
// /v1/model says so.
func TestPublishedRerankers(t *testing.T) {
	const data = "../../lm/local/testdata/"
	read := func(name string, to any) {
		text, err := os.ReadFile(data + name)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, to))
	}
	var cross struct {
		Queries, Documents []string
		Folders            map[string]struct {
			IDs    [][]int32
			Logits [][]float64
		}
	}
	read("crossencoder.json", &cross)
	var asked struct {
		Cases []struct {
			Query     string
			Documents []string
			Grades    []float64
		}
	}
	read("reranker.json", &asked)
	given := []int{0, 2, 3, 4, 5} // of the golden documents; that between is empty, which is refused
	var documents []string
	for _, i := range given {
		documents = append(documents, cross.Documents[i])
	}
	logistic := func(z float64) []float64 { p := 1 / (1 + math.Exp(-z)); return []float64{1 - p, p} }
	for folder, of := range map[string]struct {
		kind   relevance.ModelKind
		labels []string
		says   string
	}{
		"bert-reranker":    {relevance.KindCrossEncoder, []string{"no", "yes"}, "logistic function of the model's only logit, not calibrated"},
		"xlmr-reranker":    {relevance.KindCrossEncoder, []string{"no", "yes"}, "logistic function of the model's only logit, not calibrated"},
		"roberta-reranker": {relevance.KindCrossEncoder, []string{"0", "1", "2"}, ""},
		"qwen3-reranker":   {relevance.KindLabelDecoder, []string{"no", "yes"}, "probability of the answer yes, beside no, not calibrated"},
	} {
		t.Run(folder, func(t *testing.T) {
			m, err := OpenReranker(t.Context(), data+folder, relevance.RerankerOptions{})
			require.NoError(t, err)
			require.Equal(t, folder, m.Version)
			require.Len(t, m.Digest, 64)
			s, err := New(Config{}, m)
			require.NoError(t, err)
			defer s.Close(t.Context())
			d := describedBy(t, s)

			query, documents, want, tokens := cross.Queries[0], documents, [][]float64{}, 0
			if golden, ok := cross.Folders[folder]; ok {
				for _, i := range given {
					z := golden.Logits[i]
					p := distill.HeadSoftmax.Probs(z, len(z))
					if len(z) == 1 {
						p = logistic(z[0])
					}
					want, tokens = append(want, p), tokens+len(golden.IDs[i])
				}
			} else {
				query, documents = asked.Cases[0].Query, nil
				for i, d := range asked.Cases[0].Documents {
					if g := asked.Cases[0].Grades[i]; d != "" {
						documents, want = append(documents, d), append(want, []float64{1 - g, g})
					}
				}
			}
			body, err := json.Marshal(map[string]any{"query": query, "documents": documents})
			require.NoError(t, err)

			var scored scoreAnswer
			require.NoError(t, json.Unmarshal(d.call("POST", "/v1/score", string(body), 200), &scored))
			require.Equal(t, of.labels, scored.Labels)
			relevant := make([]float64, len(want))
			for i, r := range scored.Results {
				require.InDeltaSlice(t, want[i], r.P, 1e-4)
				require.Equal(t, of.labels[slices.Index(r.P, slices.Max(r.P))], r.Label)
				for c, p := range want[i] {
					relevant[i] += p * float64(c) / float64(len(of.labels)-1)
				}
				require.InDelta(t, relevant[i], *r.Relevance, 1e-4)
			}
			var ranked rerankAnswer
			require.NoError(t, json.Unmarshal(d.call("POST", "/v1/rerank", string(body), 200), &ranked))
			require.Len(t, ranked.Results, len(documents))
			require.True(t, slices.IsSortedFunc(ranked.Results, func(a, b rerankResult) int { return cmp.Compare(b.Relevance, a.Relevance) }))
			for _, r := range ranked.Results {
				require.InDelta(t, relevant[r.Index], r.Relevance, 1e-4)
			}
			if tokens > 0 {
				require.Equal(t, tokens, ranked.Usage.TotalTokens)
			}
			require.Positive(t, ranked.Usage.TotalTokens)

			var about described
			require.NoError(t, json.Unmarshal(d.call("GET", "/v1/model", "", 200), &about))
			require.Equal(t, of.kind, about.Kind)
			require.Equal(t, relevance.TruncateEnd, about.Truncation)
			require.Positive(t, about.MaxLength)
			require.Contains(t, strings.Join(about.Meanings, "; "), of.says)
			require.False(t, about.Steps)
			d.call("POST", "/v1/score", `{"query": "a", "documents": ["b"], "steps": true}`, 422)
			long := strings.Repeat("shoes ", 200)
			d.call("POST", "/rerank", `{"query": "red", "documents": ["`+long+`"]}`, 200) // documents are cut
		})
	}
}

// A folder may be a link, as in a deployment, and full of links, as in Hugging Face's cache.
func TestLinkedFolder(t *testing.T) {
	data, err := filepath.Abs("../../lm/local/testdata/bert-reranker")
	require.NoError(t, err)
	files, err := filepath.Glob(data + "/*")
	require.NoError(t, err)
	dir := t.TempDir()
	snapshot, current := filepath.Join(dir, "snapshot"), filepath.Join(dir, "current")
	require.NoError(t, os.Mkdir(snapshot, 0o777))
	for _, f := range files {
		require.NoError(t, os.Symlink(f, filepath.Join(snapshot, filepath.Base(f))))
	}
	require.NoError(t, os.Symlink(snapshot, current))
	want, err := run.DigestPath(t.Context(), data)
	require.NoError(t, err)
	m, err := OpenReranker(t.Context(), current, relevance.RerankerOptions{})
	require.NoError(t, err)
	require.Equal(t, "current", m.Version)
	require.Equal(t, want, m.Digest)
	require.NoError(t, m.Close())
}

// description is the OpenAPI description that a server hands out.
type description struct {
	t      *testing.T
	s      *Server
	paths  map[string]map[string]any
	all    map[string]any
	unseen []string
}

func describedBy(t *testing.T, s *Server) *description {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	d := &description{t: t, s: s}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &d.all))
	d.paths = make(map[string]map[string]any)
	for path, methods := range d.all["paths"].(map[string]any) {
		d.paths[path] = methods.(map[string]any)
		d.unseen = append(d.unseen, path)
	}
	return d
}

// call sends a request, and checks that request and answer are as described.
func (d *description) call(method, path, body string, status int) []byte {
	d.t.Helper()
	w := httptest.NewRecorder()
	d.s.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	require.Equal(d.t, status, w.Code, w.Body.String())
	d.unseen = slices.DeleteFunc(d.unseen, func(p string) bool { return p == path })
	operation := d.paths[path][strings.ToLower(method)].(map[string]any)
	if status == 200 && body != "" {
		require.NoError(d.t, d.check(field(operation, "requestBody", "content", "application/json", "schema"), parsed(d.t, []byte(body)), "request"))
	}
	answer := field(operation, "responses", fmt.Sprint(status)).(map[string]any)
	kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	require.Contains(d.t, answer["content"], kind, path)
	if kind == "application/json" {
		require.NoError(d.t, d.check(field(answer, "content", kind, "schema"), parsed(d.t, w.Body.Bytes()), "answer"))
	}
	return w.Body.Bytes()
}

func parsed(t *testing.T, text []byte) (v any) {
	require.NoError(t, json.Unmarshal(text, &v))
	return v
}

func field(v any, path ...string) any {
	for _, p := range path {
		v = v.(map[string]any)[p]
	}
	return v
}

// check is as much of JSON Schema as the description uses.
func (d *description) check(schema, v any, at string) error {
	s := schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		return d.check(field(d.all, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...), v, at)
	}
	if one, ok := s["oneOf"].([]any); ok {
		fits := 0
		for _, o := range one {
			if d.check(o, v, at) == nil {
				fits++
			}
		}
		if fits != 1 {
			return fmt.Errorf("%s: fits %d of the alternatives", at, fits)
		}
		return nil
	}
	kind := map[bool]string{true: "integer", false: "number"}
	var is string
	switch v := v.(type) {
	case nil:
		is = "null"
	case string:
		is = "string"
	case bool:
		is = "boolean"
	case float64:
		is = kind[v == float64(int(v))]
	case []any:
		is = "array"
	case map[string]any:
		is = "object"
	}
	types, ok := s["type"].([]any)
	if !ok {
		types = []any{s["type"]}
	}
	if !slices.Contains(types, any(is)) && !(is == "integer" && slices.Contains(types, any("number"))) {
		return fmt.Errorf("%s: is %s, want %v", at, is, types)
	}
	switch v := v.(type) {
	case float64:
		if least, ok := s["minimum"].(float64); ok && v < least {
			return fmt.Errorf("%s: %v is below %v", at, v, least)
		}
		if most, ok := s["maximum"].(float64); ok && v > most {
			return fmt.Errorf("%s: %v is above %v", at, v, most)
		}
	case []any:
		for i, e := range v {
			if err := d.check(s["items"], e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				return fmt.Errorf("%s: has no %s", at, name)
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for name, e := range v {
			if properties[name] == nil {
				if s["additionalProperties"] == false {
					return fmt.Errorf("%s: %s is not described", at, name)
				}
			} else if err := d.check(properties[name], e, at+"."+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// The page runs and looks like what it holds itself, and nothing else.
func TestPage(t *testing.T) {
	_, _, url := start(t, Config{})
	resp, err := http.Get(url + "/")
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	policy := resp.Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.Equal(t, 2, strings.Count(policy, "'sha256-"))
	require.NotContains(t, policy, "unsafe")
	for _, never := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "http:", "https:", "eval(", " style=", " onclick="} {
		require.NotContains(t, string(text), never)
	}
}
