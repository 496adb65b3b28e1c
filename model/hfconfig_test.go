package model

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// FuzzConfig: whatever is accepted survives being written.
func FuzzConfig(f *testing.F) {
	for _, name := range []string{"llama", "qwen2", "qwen3"} {
		text, err := os.ReadFile("testdata/" + name + "/config.json")
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"model_type":"llama","rope_scaling":{"type":"linear"}}`))
	read := func(text []byte) (Config, error) {
		h, err := parseConfig(text, "config.json")
		if err != nil {
			return Config{}, err
		}
		c, err := h.config("config.json")
		if err != nil {
			return Config{}, err
		}
		if err := c.Validate(); err != nil {
			return Config{}, err
		}
		return c.withDefaults(), nil
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := read(text)
		if err != nil {
			return
		}
		written, err := json.Marshal(decoderConfig(c))
		require.NoError(t, err)
		again, err := read(written)
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
