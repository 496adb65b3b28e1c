package main

import (
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

// folder is what a model's folder in Hugging Face's layout knows of text.
type folder struct {
	dir  string
	chat *chat.Config
	// tokens is nil if there is no tokenizer.json.
	tokens *tokenizer.Tokenizer
}

// openFolder reads what is there beside configuration and weights. Without a
// config.json a directory is no model's.
func openFolder(dir string) (*folder, error) {
	f := &folder{dir: dir}
	switch info, err := os.Stat(dir); {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file, want a model's folder", dir)
	}
	_, err := os.Stat(filepath.Join(dir, model.ConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s: it is no model's folder in Hugging Face's layout", dir, model.ConfigFile)
	}
	if err != nil {
		return nil, err
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
