package relevance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/sam"
)

// tinyFolder writes a decoder with a tokenizer and a chat template, as a Hugging Face
// folder. Two tokens end its texts.
func tinyFolder(t *testing.T, template string) string {
	dir := t.TempDir()
	tok, err := trainTokenizer(t.Context(), toy(100), 400, 96)
	require.NoError(t, err)
	b, err := tensor.Open("cpu")
	require.NoError(t, err)
	d, err := model.NewDecoder(b, Shape{Dim: 32, Layers: 1, Heads: 2, FF: 64, MaxSeq: 256}.decoder(tok.VocabSize()), 1)
	require.NoError(t, err)
	defer d.Free()
	end, _ := tok.ID(endOfText)
	require.NoError(t, d.Export(dir, model.ExportOptions{Generation: &model.Generation{EOS: []int32{end, 0}}}))
	require.NoError(t, tok.Save(filepath.Join(dir, "tokenizer.json")))
	if template != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(`{"eos_token": "`+endOfText+`"}`), 0o600))
	}
	return dir
}

// A pretrained policy is trained whole or by adapters, with a chat template or without,
// and its model folder says what it said.
func TestPretrainedPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		template string
		lora     *LoRA
	}{
		"whole": {}, "adapters and chat": {"{% for m in messages %}ask: {{ m.content }}{% endfor %}\nanswer: ", &LoRA{4, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			s := toySettings()
			s.Policy = Pretrained{Dir: tinyFolder(t, c.template), LoRA: c.lora}
			s.Student.Encoder = nil
			s.Warmup.Steps, s.Reinforce.Steps = 20, 2
			s.Reinforce.Credits = []NamedCredit{{"mask", sam.Mask{}}}
			dir := filepath.Join(t.TempDir(), "run")
			r, err := Train(t.Context(), toy(100), s, dir, Options{})
			require.NoError(t, err)
			src := toy(100)
			scorer, err := Open(t.Context(), filepath.Join(dir, PolicyFolder), src, "cpu")
			require.NoError(t, err)
			scores, err := Evaluate(t.Context(), scorer, src, src.Tests[0].Examples, false)
			require.NoError(t, err)
			require.Equal(t, r.Stages[len(r.Stages)-1].Tests["TEST"].Accuracy, scores.Accuracy)
			require.NoError(t, scorer.Close())
			info, err := ReadModelInfo(filepath.Join(dir, PolicyFolder))
			require.NoError(t, err)
			require.Equal(t, c.template != "", info.Chat)
			require.Len(t, info.End, 2, "what ends an answer in training ends it here")
		})
	}
}

// A student that begins with the weights of a teacher that was trained by adapters has
// what these learnt.
func TestStudentOfATeacherWithAdapters(t *testing.T) {
	s := toySettings()
	s.Policy = Pretrained{Dir: tinyFolder(t, ""), LoRA: &LoRA{4, 8}}
	s.Student.Encoder = Teacher{}
	s.Student.Examples, s.Student.Epochs = 8, 1
	s.Warmup.Steps, s.Reinforce.Steps = 20, 1
	s.Reinforce.Credits = []NamedCredit{{"mask", sam.Mask{}}}
	for _, form := range []StudentForm{FormCrossEncoder, FormDecoder} {
		s.Student.Form = form
		_, err := Train(t.Context(), toy(100), s, filepath.Join(t.TempDir(), "run"), Options{})
		require.NoError(t, err, form)
	}
}
