package openai

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// The scanner accepts what encoding/json accepts, but for the names of numbers that
// some servers write and for deep nesting.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-0.5e+3,"x\"\\é",null,true,false,{}],"b":{"c":[]}}`, ` [ ] `, `{"a":1,}`, `[1 2]`, `"\ud800"`, `01`, `1.`, `-`, `"`, `"\`, `{"a" 1}`, `nul`, `[[[[`, "\"\x01\"", `1e400`, `{}{}`, ``,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "NaN") || strings.Contains(text, "Infinity") || strings.Count(text, "[")+strings.Count(text, "{") > maxDepth {
			return
		}
		err := scan([]byte(text), (*scanner).skip)
		require.Equal(t, json.Valid([]byte(text)), err == nil, "%v", err)
	})
}

func TestScanner(t *testing.T) {
	var words []string
	var numbers []float64
	require.NoError(t, scan([]byte(`{"k\u0065y":["a\nb","\ud83d\ude00"],"n":[1e-3,null,NaN,-Infinity,Infinity,1e999]}`), func(s *scanner) {
		s.object(func(key string) {
			s.array(func() {
				if key == "key" {
					words = append(words, s.text())
				} else {
					numbers = append(numbers, s.float())
				}
			})
		})
	}))
	require.Equal(t, []string{"a\nb", "😀"}, words)
	require.Equal(t, 1e-3, numbers[0])
	for _, n := range numbers[1:] {
		require.True(t, math.IsNaN(n))
	}
	for text, want := range map[string]string{
		`{"a":[1,2`:               "malformed answer at byte 9: it ends within a value",
		`[1]]`:                    "malformed answer at byte 3: more after the value",
		strings.Repeat("[", 2000): "nested deeper than 100",
	} {
		require.ErrorContains(t, scan([]byte(text), (*scanner).skip), want)
	}
}

// Numbers are those that strconv reads, bit for bit.
func TestFloats(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20000 {
		text := strconv.FormatFloat(-random.ExpFloat64()*math.Pow(10, float64(i%12-6)), 'f', i%20-1, 64)
		want, err := strconv.ParseFloat(text, 64)
		require.NoError(t, err)
		var got float64
		require.NoError(t, scan([]byte(text), func(s *scanner) { got = s.float() }))
		require.Equal(t, math.Float64bits(want), math.Float64bits(got), text)
	}
}

// recording reads an excerpt of what a server answered.
func recording(t testing.TB, file string) []remotetest.Exchange {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	r, err := remotetest.ReadRecording(file, f)
	require.NoError(t, err)
	return r
}

// Excerpts of recordings: those of remotetest, and of SGLang 0.5.23 on CPU, made by
// remotetest's script too.
const (
	vllmFile   = "../remotetest/testdata/vllm.jsonl"
	llamaFile  = "../remotetest/testdata/llamacpp.jsonl"
	routerFile = "../remotetest/testdata/llamacpp_router.jsonl"
	sglangFile = "testdata/sglang.jsonl"
)

// callOf returns the call that a recorded request stands for.
func callOf(t testing.TB, x *remotetest.Exchange) *call {
	var q struct {
		Model    string  `json:"model"`
		Prompt   []int32 `json:"prompt"`
		InputIDs []int32 `json:"input_ids"`
		Max      int     `json:"max_tokens"`
		Predict  int     `json:"n_predict"`
		Sampling struct {
			Max int `json:"max_new_tokens"`
		} `json:"sampling_params"`
	}
	if json.Unmarshal(x.Request, &q) != nil {
		return nil
	}
	return &call{
		model: q.Model, prompt: append(q.Prompt, q.InputIDs...), vocab: 264, eos: []int32{263},
		params: rollout.Params{MaxTokens: max(1, q.Max, q.Predict, q.Sampling.Max)},
	}
}

// Answers of real servers are read as they were meant: the ids and log-probs of one
// answer of each kind in full, and the verdict on all others.
func TestRecordings(t *testing.T) {
	type verdict struct {
		tokens []int32
		first  float64
		err    string
	}
	for _, c := range []struct {
		file    string
		dialect dialect
		want    map[string]verdict // by index and note
	}{
		{vllmFile, vllm{}, map[string]verdict{
			"T=1 n=2":           {err: "2 choices, want 1"},
			"n=1":               {tokens: []int32{216, 207, 243, 120}, first: -4.999284744262695},
			"T=0.5":             {tokens: []int32{164, 207, 243, 156}, first: -3.7375025749206543},
			"T=0":               {tokens: []int32{208, 224, 25, 64}, first: -3.618555784225464},
			"prompt_logprobs=0": {tokens: []int32{169}, first: -5.4041595458984375},
			"logprobs=vocab":    {tokens: []int32{216}, first: -4.999284744262695},
			"top_k=2":           {tokens: []int32{164, 151, 74, 74}, first: -3.7375025749206543},
			"stop str":          {tokens: []int32{208, 224, 25}, first: -3.618555784225464},
			"after version":     {tokens: []int32{216}, first: -4.999284744262695},
			"T=0 after reload":  {tokens: []int32{105, 219, 236, 227}, first: -3.657817840576172},
		}},
		{llamaFile, llamaCPP{}, map[string]verdict{
			"T=1":                         {tokens: []int32{82, 12, 66, 29, 195, 37}, first: -6.642459392547607},
			"n_probs=vocab":               {tokens: []int32{82}, first: -6.642459869384766},
			"T=.5 post":                   {tokens: []int32{263}, first: math.Log(0.003472134005278349)},
			"n_probs 0":                   {err: "0 log-probs for 6 tokens: llama.cpp gives one per complete character"},
			"stop string over two tokens": {err: "2 log-probs for 4 tokens: llama.cpp gives one per complete character"},
			"n_predict 0":                 {tokens: []int32{82}, first: -6.642459392547607},
			"n_cmpl 3":                    {err: "want '{', got '['"},
			"-ctk f32 -ctv f32 -fa off":   {tokens: []int32{82, 12, 66, 29, 195, 37}, first: -6.6426920890808105},
		}},
	} {
		seen := map[string]bool{}
		for i, x := range recording(t, c.file) {
			want, ok := c.want[x.Note]
			if x.Path != c.dialect.samplePath() || x.Status != 200 || !ok || seen[x.Note] {
				continue
			}
			seen[x.Note] = true
			q := callOf(t, &x)
			if c.file == llamaFile {
				q.model = "gg/qwen3-tiny.gguf"
			}
			a, err := c.dialect.parse(x.Response, q)
			if err == nil && !(want.tokens != nil && a.stopped) {
				err = a.check(q)
			}
			if want.err != "" {
				require.ErrorContains(t, err, want.err, "%d %s", i, x.Note)
				continue
			}
			require.NoError(t, err, "%d %s", i, x.Note)
			require.Equal(t, want.tokens, a.tokens, "%d %s", i, x.Note)
			require.Len(t, a.logp, len(a.tokens))
			require.InDelta(t, want.first, a.logp[0], 1e-12)
		}
		require.Len(t, seen, len(c.want), "%v", seen)
	}
}

// The engine's questions to vLLM about a prompt, and SGLang's answers of both kinds.
func TestRecordedScores(t *testing.T) {
	for _, x := range recording(t, vllmFile) {
		if x.Note != "prompt_logprobs=0" {
			continue
		}
		got, err := vllm{}.parseScore(x.Response, callOf(t, &x))
		require.NoError(t, err)
		require.Len(t, got.logp, 8)
		require.Equal(t, []float64{-5.670482635498047, -6.5452728271484375, -6.158248424530029, -5.6880950927734375}, got.logp[:4])
	}
	generated, scored := 0, 0
	for i, x := range recording(t, sglangFile) {
		if x.Path != "/generate" || x.Status != 200 || x.Response[0] == '[' {
			continue
		}
		q := callOf(t, &x)
		a, err := sglang{}.parse(x.Response, q)
		require.NoError(t, err, "%d", i)
		require.NoError(t, a.check(q), "%d", i)
		require.NotEmpty(t, a.version)
		if generated++; generated == 1 {
			require.Equal(t, []int32{69, 17, 12, 44}, a.tokens)
			require.Equal(t, []float64{-5.276552677154541, -4.687786102294922, -2.278186321258545, -4.489812850952148}, a.logp)
		}
		if strings.Contains(string(x.Request), `"logprob_start_len":0`) {
			got, err := sglang{}.parseScore(x.Response, q)
			require.NoError(t, err)
			require.Equal(t, []float64{-4.366091251373291, -5.977175235748291, -34.51436996459961, -5.779321193695068}, got.logp)
			scored++
		}
	}
	require.Equal(t, 1, scored)
	require.Greater(t, generated, 8)
}

// Errors of real servers, and what the engine makes of them.
func TestRecordedErrors(t *testing.T) {
	for _, c := range []struct {
		file, note string
		dialect    Dialect
		want       string
	}{
		{llamaFile, "T=1 all off", DialectLlamaCPP, "the sample is not valid UTF-8, for which llama.cpp has no answer"},
		{llamaFile, "too long", DialectLlamaCPP, "exceed_context_size_error"},
		{llamaFile, "bad id", DialectLlamaCPP, "Prompt contains invalid tokens"},
		{vllmFile, "wrong model", DialectVLLM, "404 Not Found"},
		{vllmFile, "max_tokens over", DialectVLLM, "max_tokens=600 cannot be greater than max_model_len=512"},
	} {
		var found *remotetest.Exchange
		for _, x := range recording(t, c.file) {
			if x.Note == c.note && found == nil {
				found = &x
			}
		}
		require.NotNil(t, found, c.note)
		p := newPeer(t, c.dialect)
		e := open(t, config(p))
		p.setHook(func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(found.Status)
			_, _ = w.Write(found.Response)
			return true
		})
		got, err := trySampleAll(t.Context(), e, requests(2))
		if c.note == "T=1 all off" {
			require.NoError(t, err)
			err = got[0][0].Err
		}
		require.ErrorContains(t, err, c.want)
	}
}

// A router's recorded states, up to the model that was loaded.
func TestRecordedRouter(t *testing.T) {
	replay := remotetest.NewReplay(recording(t, routerFile))
	replay.Match = func(recorded, got *remotetest.Exchange) bool {
		return recorded.Method == got.Method && recorded.Path == got.Path && recorded.Path != "/completion"
	}
	p := newPeer(t, DialectLlamaCPP)
	e := open(t, config(p))
	s := e.fleet.servers[0]
	p.setHook(func(w http.ResponseWriter, r *http.Request, _ []byte) bool { replay.ServeHTTP(w, r); return true })
	// The recording's state of policy-v2 before it was loaded; later ones are not in it.
	var models llamaModels
	require.NoError(t, s.get(t.Context(), "/models?reload=1", &models))
	require.Len(t, models.Data, 2)
	require.Equal(t, "policy-v2", models.Data[1].ID)
	require.Equal(t, "unloaded", models.Data[1].Status.Value)
	require.NoError(t, s.postSuccess(t.Context(), "/models/load", map[string]any{"model": "policy-v2"}))
	require.Empty(t, replay.Unknown())
}

// Whatever a server sends, the parsers return, and what passes the checks is sound.
func FuzzAnswers(f *testing.F) {
	for _, file := range []string{vllmFile, llamaFile, sglangFile} {
		for _, x := range recording(f, file) {
			f.Add(x.Response)
		}
	}
	c := &call{model: "tiny", prompt: []int32{68, 262, 36, 101, 10}, vocab: 264, eos: []int32{263}, params: rollout.Params{MaxTokens: 8}}
	e := &Engine{config: Config{Vocab: bytesVocab{}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, d := range dialects {
			if a, err := d.parse(body, c); err == nil && a.check(c) == nil {
				out, err := e.complete(&a, c)
				if err != nil {
					continue
				}
				require.Len(t, out.Ends, len(out.Tokens), name)
				require.Len(t, out.Text, out.Ends[len(out.Ends)-1])
				require.LessOrEqual(t, len(out.Tokens), 8)
			}
			if name != DialectLlamaCPP {
				for c.top = range 3 {
					got, err := d.parseScore(body, c)
					if err != nil {
						continue
					}
					require.LessOrEqual(t, len(got.logp), len(c.prompt))
					require.True(t, c.top == 0 || len(got.top) == len(got.logp))
					ids, logp := make([]int32, c.top), make([]float64, c.top+1)
					for _, top := range got.top {
						if e.fillTop(ids, logp, top) == nil {
							require.False(t, slices.ContainsFunc(logp, func(p float64) bool { return math.IsNaN(p) || p > 0 }))
						}
					}
				}
			}
		}
	})
}

// bytesVocab writes every token as its number.
type bytesVocab struct{}

func (bytesVocab) Bytes(id int32) []byte { return fmt.Append(nil, id) }
func (bytesVocab) VocabSize() int        { return 264 }
