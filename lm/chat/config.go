package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Config is what a Hugging Face model folder says about conversations: the special
// tokens that templates use, and the templates.
type Config struct {
	// Tokens holds the text of special tokens by the names that templates use:
	// bos_token, eos_token, unk_token, sep_token, pad_token, cls_token and
	// mask_token. Tokens that the model lacks are absent.
	Tokens map[string]string
	// Templates holds the sources of Jinja templates by name. A model's only
	// template is called "default".
	Templates map[string]string
}

// The files that ReadConfig reads; each may be absent.
const (
	configFile    = "tokenizer_config.json"
	templateFile  = "chat_template.jinja"
	templatesPath = "additional_chat_templates"
)

// tokenNames are the keys of tokenizer_config.json that hold a special token.
var tokenNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// ReadConfig reads tokenizer_config.json in a model's folder, and the templates in
// chat_template.jinja and additional_chat_templates/*.jinja, which take precedence
// over its field chat_template. A folder with none of these files gives an empty
// Config. Errors name the file and the field.
func ReadConfig(dir string) (*Config, error) {
	c := &Config{Tokens: map[string]string{}, Templates: map[string]string{}}
	path := filepath.Join(dir, configFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("chat: %w", err)
	default:
		if err := c.parse(text); err != nil {
			return nil, fmt.Errorf("chat: %s: %w", path, err)
		}
	}
	if err := c.readTemplates(dir); err != nil {
		return nil, fmt.Errorf("chat: %w", err)
	}
	return c, nil
}

// parse reads the contents of tokenizer_config.json.
func (c *Config) parse(text []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	for _, name := range tokenNames {
		token, err := parseToken(fields[name])
		if err != nil {
			return fmt.Errorf("%s is %w", name, err)
		}
		if token != "" {
			c.Tokens[name] = token
		}
	}
	return c.parseTemplates(fields["chat_template"])
}

// parseToken reads a special token: its text, or an object with the text as
// content. Null or no field means that there is none.
func parseToken(raw json.RawMessage) (string, error) {
	var content string
	if unmarshal(raw, &content) == nil {
		return content, nil
	}
	var added struct {
		Content *string `json:"content"`
	}
	if err := json.Unmarshal(raw, &added); err != nil || added.Content == nil {
		return "", fmt.Errorf("%.40s, want a string or an object with content", raw)
	}
	return *added.Content, nil
}

// parseTemplates reads chat_template: one source, or a list of named ones.
func (c *Config) parseTemplates(raw json.RawMessage) error {
	var source *string
	if unmarshal(raw, &source) == nil {
		if source != nil {
			c.Templates["default"] = *source
		}
		return nil
	}
	var named []struct {
		Name, Template *string
	}
	if err := json.Unmarshal(raw, &named); err != nil {
		return fmt.Errorf("chat_template is %.40s, want a string or a list of objects with name and template", raw)
	}
	for i, t := range named {
		if t.Name == nil || t.Template == nil {
			return fmt.Errorf("chat_template[%d] lacks name or template", i)
		}
		if _, twice := c.Templates[*t.Name]; twice {
			return fmt.Errorf("chat_template[%d] is a second one named %q", i, *t.Name)
		}
		c.Templates[*t.Name] = *t.Template
	}
	return nil
}

// readTemplates reads the template files of a folder.
func (c *Config) readTemplates(dir string) error {
	files := map[string]string{"default": filepath.Join(dir, templateFile)}
	more, err := fs.Glob(os.DirFS(dir), templatesPath+"/*.jinja")
	if err != nil {
		return err
	}
	for _, path := range more {
		files[strings.TrimSuffix(filepath.Base(path), ".jinja")] = filepath.Join(dir, path)
	}
	for name, path := range files {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		c.Templates[name] = string(text)
	}
	return nil
}

// unmarshal is json.Unmarshal that leaves v alone if raw is absent.
func unmarshal(raw json.RawMessage, v any) error {
	if raw == nil {
		return nil
	}
	return json.Unmarshal(raw, v)
}
