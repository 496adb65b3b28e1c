package model

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/dlclark/regexp2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests stops the clock of regexp2's timeouts, which runs a second longer than
// the last match.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer regexp2.StopTimeoutClock()
	return t.M.Run()
}

// FuzzConfig: whatever is accepted survives being written.
func FuzzConfig(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/config.json")
	require.NoError(f, err)
	require.NotEmpty(f, paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"model_type":"llama","rope_scaling":{"type":"linear","factor":2}}`))
	f.Add([]byte(`{"model_type":"bert","type_vocab_size":1}`))
	f.Add([]byte(`{"model_type":"roberta","pad_token_id":0,"architectures":["RobertaForSequenceClassification"],"num_labels":1}`))
	f.Add([]byte(`{"model_type":"xlm-roberta","pad_token_id":510,"stepwise_encoder":{"classes":2,"pooling":"first"}}`))
	f.Add([]byte(`{"model_type":"modernbert","layer_types":["full_attention","sliding_attention"],"num_hidden_layers":2}`))
	f.Add([]byte(`{"model_type":"modernbert","rope_parameters":{"full_attention":{"rope_theta":1}},"rope_scaling":{"rope_theta":2}}`))
	f.Add([]byte(`{"model_type":"qwen3","architectures":["Qwen3ForSequenceClassification"],"id2label":{"0":"a"}}`))
	read := func(text []byte) (EncoderConfig, Config, error) {
		fields, err := parseFields(text)
		if err != nil {
			return EncoderConfig{}, Config{}, err
		}
		h, err := parseHeader(fields, "config.json")
		if err != nil {
			return EncoderConfig{}, Config{}, err
		}
		labels := hfLabels{Classes: 2}
		if h.Encoder != nil {
			labels = *h.Encoder
		}
		_, classifier := h.classifier()
		if classifier && h.Encoder == nil {
			labels.dense = true
			if labels.Classes, err = classes(fields, "config.json"); err != nil {
				return EncoderConfig{}, Config{}, err
			}
		}
		if Style(h.ModelType).bert() || h.ModelType == "modernbert" || classifier || h.Encoder != nil {
			e, err := parseEncoder(fields, "config.json", h, labels)
			return e, Config{}, err
		}
		c, err := parseDecoder(fields, "config.json", h)
		return EncoderConfig{}, c, err
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, c, err := read(text)
		if err != nil {
			return
		}
		var v any = decoderConfig(c)
		if e.Classes != 0 {
			v = encoderConfig(e)
		}
		written, err := json.Marshal(v)
		require.NoError(t, err)
		e2, c2, err := read(written)
		require.NoError(t, err)
		require.Equal(t, e, e2)
		require.Equal(t, c, c2)
	})
}

// FuzzLoRAConfig: no text panics, and what is accepted is valid and survives being
// written.
func FuzzLoRAConfig(f *testing.F) {
	f.Add([]byte(`{"peft_type":"LORA","r":8,"lora_alpha":16,"target_modules":["q_proj"]}`))
	f.Add([]byte(`{"peft_type":"LORA","target_modules":"(?!a).*_proj","exclude_modules":["x.y"],"layers_pattern":["l","m"],"layers_to_transform":0,
		"rank_pattern":{"a|b":2},"alpha_pattern":{"^c$":0.5},"modules_to_save":["lm_head"],"use_rslora":true}`))
	f.Add([]byte(`{"peft_type":"LORA","r":1e9,"lora_alpha":null,"target_modules":"all-linear","bias":"all"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := parseLoRAConfig(text); err == nil {
			require.NoError(t, c.Validate())
			written, err := json.Marshal(c.peft())
			require.NoError(t, err)
			again, err := parseLoRAConfig(written)
			require.NoError(t, err)
			require.Equal(t, c, again)
		}
	})
}
