package relevance

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/sam"
)

// Cross-encoders of BERT's, RoBERTa's and XLM-R's kind are students: with the template
// of their tokenizer, and with token types where they have them.
func TestPretrainedStudents(t *testing.T) {
	for style, tokens := range map[model.Style]string{
		model.BERTStyle:       "bert-reranker",
		model.RoBERTaStyle:    "roberta-reranker",
		model.XLMRobertaStyle: "xlmr-reranker",
	} {
		t.Run(string(style), func(t *testing.T) {
			tokens, err := filepath.Abs(filepath.Join("../lm/local/testdata", tokens))
			require.NoError(t, err)
			s := toySettings()
			s.Student.Encoder = Pretrained{Dir: tokens}
			s.Warmup.Steps, s.Reinforce.Steps, s.Student.Examples, s.Student.Epochs = 2, 1, 8, 1
			s.Reinforce.Credits = []NamedCredit{{"mask", sam.Mask{}}}
			dir := filepath.Join(t.TempDir(), "run")
			_, err = Train(t.Context(), toy(100), s, dir, Options{})
			require.NoError(t, err)
			student := filepath.Join(dir, StudentFolder)
			info, err := ReadModelInfo(student)
			require.NoError(t, err)
			require.True(t, info.TokenTypes)
			require.Equal(t, InputPair, info.Input)
			cfg, err := model.ReadEncoderConfig(student)
			require.NoError(t, err)
			require.Equal(t, style, cfg.Style)
			scorer, err := Open(t.Context(), student, toy(100), "cpu")
			require.NoError(t, err)
			defer scorer.Close()
			scores, err := scorer.Score(t.Context(), "a query", []rows.Document{{Body: "a document"}, {}}, ScoreOptions{})
			require.NoError(t, err)
			require.Len(t, scores, 2)
		})
	}
}
