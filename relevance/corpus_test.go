package relevance

import (
	"compress/gzip"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

var writeCorpus = flag.String("write-corpus", "", "write completions of half-trained models to this file, for the tests of the parser")

// corpusModels are the models that write the parser's corpus, corpusShare
// completions each. One has the format's marks as tokens, as the library has
// it, and can only misplace them; the other spells them out, and misspells
// them. Both stop early, and have fewer tokens than some of their completions need.
var corpusModels = []struct {
	spells    bool
	warmup    int // steps
	maxTokens int
}{
	{spells: false, warmup: 240, maxTokens: 56},
	{spells: true, warmup: 320, maxTokens: 96},
}

const corpusShare = 500

// corpusLine is a line of the corpus: the tokens of a completion, with one
// character from U+0000 to U+00FF for each byte.
type corpusLine struct {
	Tokens []string `json:"tokens"`
}

func newCorpusLine(c rollout.Completion) (l corpusLine) {
	from := 0
	for _, end := range c.Ends {
		var token []rune
		for _, b := range []byte(c.Text[from:end]) {
			token = append(token, rune(b))
		}
		l.Tokens = append(l.Tokens, string(token))
		from = end
	}
	return l
}

// TestWriteCorpus writes the completions of prompt/testdata/corpus.jsonl.gz,
// without their traces; corpus.py beside it says what to do next. The same
// processor writes the same completions each time.
func TestWriteCorpus(t *testing.T) {
	if *writeCorpus == "" {
		t.Skip("without -write-corpus FILE there is nothing to write")
	}
	file, err := os.Create(*writeCorpus)
	require.NoError(t, err)
	zip := gzip.NewWriter(file)
	out := json.NewEncoder(zip)
	for i, m := range corpusModels {
		src := toy(3000)
		c := Quick()
		c.Warmup.Steps = m.warmup
		p, err := open(t.Context(), src, c, t.TempDir(), Options{})
		require.NoError(t, err)
		if m.spells {
			spellMarks(t, p)
		}
		require.NoError(t, p.prepare(t.Context()))
		if i == 0 {
			require.NoError(t, out.Encode(map[string]any{"syntax": "tagged", "steps": p.task.Template().Specs()}))
		}
		made, err := p.models.New("")
		require.NoError(t, err)
		require.NoError(t, p.imitation(made.Policy, m.warmup, rl.Constant{LR: c.Warmup.LR}).Run(t.Context()))
		var reqs []rollout.Request
		for k := range corpusShare {
			r, err := p.task.Bind(p.src.Train(p.firstProbe() + k)).Request()
			require.NoError(t, err)
			r.N, r.Stream = 1, [3]uint64{c.Seed, probeStream, uint64(k)}
			r.Params = rollout.Params{Temperature: 1.5, MaxTokens: m.maxTokens}
			reqs = append(reqs, r)
		}
		lines := make([]corpusLine, len(reqs))
		require.NoError(t, made.Engine.Generate(t.Context(), reqs, func(c rollout.Completion) error {
			lines[c.Request] = newCorpusLine(c)
			return c.Err
		}))
		made.free()
		require.NoError(t, p.f.Close())
		for _, l := range lines {
			require.NoError(t, out.Encode(l))
		}
	}
	require.NoError(t, zip.Close())
	require.NoError(t, file.Close())
}

// spellMarks gives the run a tokenizer to which the format's marks are text
// like any other.
func spellMarks(t *testing.T, p *pipeline) {
	d := p.src.Definition()
	template := d.Template()
	tok, err := tokenizer.Train(func(yield func(string) bool) {
		for i := range 3000 {
			e := p.src.Train(i)
			if !yield(template.Render(e)) || !yield(trace(template, e, streamOf(tokenizerStream, 0, uint64(i)))) {
				return
			}
		}
	}, tokenizer.TrainOptions{VocabSize: p.c.Policy.(Scratch).Vocab, Special: []string{endOfText}})
	require.NoError(t, err)
	data, err := tok.MarshalJSON()
	require.NoError(t, err)
	require.NoError(t, p.f.WriteArtefact("tokenizer.json", data)) // where prepare looks
}
