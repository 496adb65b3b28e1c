package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

const tokenizerFile = "tokenizer.json"

// folder is a model's folder in Hugging Face's layout, without its weights.
type folder struct {
	dir string
	// header says what kind of model it is.
	header struct {
		Architectures []string `json:"architectures"`
		ModelType     string   `json:"model_type"`
	}
	chat *chat.Config
	// tokens is nil if there is no tokenizer.json.
	tokens *tokenizer.Tokenizer
}

// openFolder reads what is there beside the weights. Without a config.json a
// directory is no model's.
func openFolder(dir string) (*folder, error) {
	f := &folder{dir: dir}
	switch info, err := os.Stat(dir); {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file, want a model's folder", dir)
	}
	path := filepath.Join(dir, model.ConfigFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s: it is no model's folder in Hugging Face's layout", dir, model.ConfigFile)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &f.header); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if f.chat, err = chat.ReadConfig(dir); err != nil {
		return nil, err
	}
	f.tokens, err = tokenizer.Load(filepath.Join(dir, tokenizerFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return f, nil
}
