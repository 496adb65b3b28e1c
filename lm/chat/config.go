package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

// Config is what a Hugging Face model folder says about conversations: the special
// tokens that templates use, and the templates.
type Config struct {
	// Tokens holds the text of special tokens by the names that templates use:
	// bos_token, eos_token, unk_token, sep_token, pad_token, cls_token and
	// mask_token, and names of the model's own that end in _token. Tokens that the
	// model lacks are absent.
	Tokens map[string]string
	// Templates holds the sources of Jinja templates by name. A model's only
	// template is called "default".
	Templates map[string]string
}

// The files that ReadConfig reads; each may be absent.
const (
	configFile    = "tokenizer_config.json"
	tokensFile    = "special_tokens_map.json"
	legacyFile    = "chat_template.json"
	templateFile  = "chat_template.jinja"
	templatesPath = "additional_chat_templates"
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 64 << 20

// tokenNames are the keys of tokenizer_config.json that hold a special token.
var tokenNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// ReadConfig reads what a model's folder says about conversations, as
// transformers does:
//
//   - tokenizer_config.json has the special tokens and, as chat_template, the
//     templates;
//   - special_tokens_map.json has special tokens that take precedence, unless
//     tokenizer_config.json describes the added tokens too, for then the other
//     file is a remnant;
//   - chat_template.json has a template that takes precedence;
//   - chat_template.jinja and additional_chat_templates/*.jinja, if there are any, have
//     all templates: what the other files say is a remnant.
//
// A folder with none of these files gives an empty Config. Errors name the file
// and the field.
func ReadConfig(dir string) (*Config, error) {
	c := &Config{Tokens: map[string]string{}, Templates: map[string]string{}}
	config, err := readObject(dir, configFile)
	if err != nil {
		return nil, err
	}
	if err := c.parse(config); err != nil {
		return nil, fmt.Errorf("chat: %s: %w", filepath.Join(dir, configFile), err)
	}
	if config["added_tokens_decoder"] == nil {
		tokens, err := readObject(dir, tokensFile)
		if err != nil {
			return nil, err
		}
		if err := c.parseTokens(tokens); err != nil {
			return nil, fmt.Errorf("chat: %s: %w", filepath.Join(dir, tokensFile), err)
		}
	}
	legacy, err := readObject(dir, legacyFile)
	if err != nil {
		return nil, err
	}
	if err := c.parseTemplates(legacy["chat_template"]); err != nil {
		return nil, fmt.Errorf("chat: %s: %w", filepath.Join(dir, legacyFile), err)
	}
	if err := c.readTemplates(dir); err != nil {
		return nil, fmt.Errorf("chat: %w", err)
	}
	return c, nil
}

// readObject reads a file with a JSON object, which has no fields if there is no
// file.
func readObject(dir, name string) (fields map[string]json.RawMessage, err error) {
	path := filepath.Join(dir, name)
	text, err := infile.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("chat: %w", err)
	}
	if err := infile.JSON(text, &fields); err != nil {
		return nil, fmt.Errorf("chat: %s: %w", path, err)
	}
	return fields, nil
}

// parse reads the fields of tokenizer_config.json.
func (c *Config) parse(fields map[string]json.RawMessage) error {
	if err := c.parseTokens(fields); err != nil {
		return err
	}
	return c.parseTemplates(fields["chat_template"])
}

// parseTokens reads the special tokens among fields: those with known names, and
// those that a model has of its own, such as image_token.
func (c *Config) parseTokens(fields map[string]json.RawMessage) error {
	for _, name := range tokenNames {
		token, err := parseToken(fields[name])
		if err != nil {
			return fmt.Errorf("%s is %w", name, err)
		}
		if token != "" {
			c.Tokens[name] = token
		}
	}
	var extra map[string]json.RawMessage
	if json.Unmarshal(fields["extra_special_tokens"], &extra) != nil {
		extra = nil // a list, whose tokens have no names
	}
	for _, more := range []map[string]json.RawMessage{fields, extra} {
		for name, raw := range more {
			named := strings.HasSuffix(name, "_token") && !slices.Contains(tokenNames, name)
			if token, err := parseToken(raw); named && err == nil && token != "" {
				c.Tokens[name] = token
			}
		}
	}
	return nil
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
	seen := map[string]bool{}
	for i, t := range named {
		if t.Name == nil || t.Template == nil {
			return fmt.Errorf("chat_template[%d] lacks name or template", i)
		}
		if seen[*t.Name] {
			return fmt.Errorf("chat_template[%d] is a second one named %q", i, *t.Name)
		}
		seen[*t.Name] = true
		c.Templates[*t.Name] = *t.Template
	}
	return nil
}

// readTemplates reads the template files of a folder, which replace other templates.
func (c *Config) readTemplates(dir string) error {
	files := map[string]string{"default": filepath.Join(dir, templateFile)}
	more, err := fs.Glob(os.DirFS(dir), templatesPath+"/*.jinja")
	if err != nil {
		return err
	}
	for _, path := range more {
		files[strings.TrimSuffix(filepath.Base(path), ".jinja")] = filepath.Join(dir, path)
	}
	templates := map[string]string{}
	for name, path := range files {
		text, err := infile.Read(path, maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		templates[name] = string(text)
	}
	if len(templates) > 0 {
		c.Templates = templates
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
