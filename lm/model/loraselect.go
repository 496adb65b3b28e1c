package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dlclark/regexp2"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// selection is LoRAConfig.Select, read. PEFT 0.21 decides in
// tuners_utils.check_target_module_exists, other.get_pattern_key and
// other.set_additional_trainable_modules.
type selection struct {
	targets, exclude matcher
	layers           []int // nil means all
	inLayer          []*regexp2.Regexp
	ranks, alphas    []pattern
	save             []string
	notSaved         *regexp2.Regexp // modules that save keeps from being targets; nil = none
}

// matcher is a list of names and paths, or a regular expression.
type matcher struct {
	names []string
	re    *regexp2.Regexp
}

func (m matcher) given() bool { return m.names != nil || m.re != nil }

// match reports whether a module is one of the names, ends with one of them
// after a point, or is all of what the expression matches.
func (m matcher) match(module string) (bool, error) {
	if m.re != nil {
		return m.re.MatchString(module)
	}
	return m.isNamed(module) || slices.ContainsFunc(m.names, func(name string) bool { return strings.HasSuffix(module, "."+name) }), nil
}

func (m matcher) isNamed(module string) bool { return slices.Contains(m.names, module) }

// pattern gives a value to the modules whose paths end with what it matches.
type pattern struct {
	re    *regexp2.Regexp
	value float64
}

// find returns the value of the first pattern that matches, or else otherwise.
func find(all []pattern, module string, otherwise float64) (float64, error) {
	for _, p := range all {
		if ok, err := p.re.MatchString(module); ok || err != nil {
			return p.value, err
		}
	}
	return otherwise, nil
}

// text returns the settings as JSON that is the same however it was laid out;
// empty if there are none.
func (s *peftSelect) text() (string, error) {
	text, err := json.Marshal(s) // compact, and HTML's characters escaped
	if err != nil || string(text) == "{}" {
		return "", err
	}
	return string(text), nil
}

// selection reads Select. An error names the setting.
func (c LoRAConfig) selection() (s selection, err error) {
	if c.Select == "" {
		return s, nil
	}
	fields, err := parseFields([]byte(c.Select))
	if err != nil {
		return s, err
	}
	var p peftSelect
	if err := (&vocabulary{}).decode(fields, &p); err != nil {
		return s, err
	}
	for _, part := range []struct {
		name string
		text json.RawMessage
		read func(text json.RawMessage) error
	}{
		{"target_modules", p.Targets, s.targets.parse},
		{"exclude_modules", p.Exclude, s.exclude.parse},
		{"layers_to_transform", p.Layers, s.parseLayers},
		{"layers_pattern", p.LayersPattern, s.parseLayersPattern},
		{"rank_pattern", p.Ranks, func(text json.RawMessage) (err error) { s.ranks, err = parsePatterns(text); return err }},
		{"alpha_pattern", p.Alphas, func(text json.RawMessage) (err error) { s.alphas, err = parsePatterns(text); return err }},
		{"modules_to_save", p.Modules, s.parseSave},
	} {
		if part.text == nil {
			continue
		}
		if err := part.read(part.text); err != nil {
			return s, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	for _, r := range s.ranks {
		if r.value != math.Trunc(r.value) || r.value < 1 || r.value > math.MaxInt32 {
			return s, fmt.Errorf("rank_pattern: %v, want integers of at least 1", r.value)
		}
	}
	for _, a := range s.alphas {
		if !(a.value > 0) || math.IsInf(a.value, 0) {
			return s, fmt.Errorf("alpha_pattern: %v, want positive numbers", a.value)
		}
	}
	if s.layers != nil && s.targets.re != nil {
		return s, errors.New("layers_to_transform: want none where target_modules is a regular expression")
	}
	if s.layers != nil && s.inLayer == nil {
		re, err := compile(`^.*?\.[^.]*\.(?<idx>[0-9]+)\.`, "")
		if err != nil {
			panic("model: " + err.Error())
		}
		s.inLayer = append(s.inLayer, re)
	}
	return s, nil
}

// compile compiles a regular expression of Python's, put in place of %s in frame
// if that is not empty. Matching takes no longer than a second.
func compile(expr, frame string) (*regexp2.Regexp, error) {
	re, err := regexp2.Compile(expr, regexp2.RE2) // for (?P<name>)
	if err == nil && frame != "" {
		re, err = regexp2.Compile(strings.Replace(frame, "%s", expr, 1), regexp2.RE2)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", expr, err)
	}
	re.MatchTimeout = time.Second
	return re, nil
}

func (m *matcher) parse(text json.RawMessage) (err error) {
	var expr string
	if json.Unmarshal(text, &expr) == nil {
		m.re, err = compile(expr, `\A(?:%s)\z`)
		return err
	}
	if json.Unmarshal(text, &m.names) != nil {
		return fmt.Errorf("%.80s, want a list of modules or a regular expression", text)
	}
	return nil
}

func (s *selection) parseLayers(text json.RawMessage) error {
	var one int
	if json.Unmarshal(text, &one) == nil {
		s.layers = []int{one}
		return nil
	}
	if json.Unmarshal(text, &s.layers) != nil {
		return fmt.Errorf("%.80s, want a list of layers", text)
	}
	return nil
}

func (s *selection) parseLayersPattern(text json.RawMessage) error {
	var names []string
	if json.Unmarshal(text, &names) != nil {
		names = make([]string, 1)
		if json.Unmarshal(text, &names[0]) != nil {
			return fmt.Errorf("%.80s, want a regular expression or a list of them", text)
		}
	}
	for _, name := range names {
		re, err := compile(name, `^(?:|.*?\.)%s\.(?<idx>[0-9]+)\.`)
		if err != nil {
			return err
		}
		s.inLayer = append(s.inLayer, re)
	}
	return nil
}

// parsePatterns reads an object of regular expressions and numbers. Its order
// counts.
func parsePatterns(text json.RawMessage) (all []pattern, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, fmt.Errorf("%.80s, want an object of modules and numbers", text)
	}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		p := pattern{}
		if p.re, err = compile(tok.(string), `^(?:.*\.)?(?:%s)$`); err != nil {
			return nil, err
		}
		if err := dec.Decode(&p.value); err != nil {
			return nil, fmt.Errorf("%q: want a number", tok)
		}
		all = append(all, p)
	}
	return all, nil
}

func (s *selection) parseSave(text json.RawMessage) (err error) {
	if json.Unmarshal(text, &s.save) != nil {
		return fmt.Errorf("%.80s, want a list of modules", text)
	}
	var any []string
	for _, name := range s.save {
		if _, err := compile(name, ""); err != nil {
			return err
		}
		any = append(any, `(?:`+name+`)`)
	}
	if any != nil {
		s.notSaved, err = compile(`^(?:|.*\.)(?:`+strings.Join(any, "|")+`)(?:$|\..*)`, "")
	}
	return err
}

// isTarget reports whether a module gets an adapter.
func (s *selection) isTarget(c *LoRAConfig, module string) (bool, error) {
	if excluded, err := s.exclude.match(module); excluded || err != nil {
		return false, err
	}
	if s.notSaved != nil {
		if saved, err := s.notSaved.MatchString(module); saved || err != nil {
			return false, err
		}
	}
	if s.targets.isNamed(module) {
		return true, nil
	}
	found, err := s.targets.match(module)
	if !s.targets.given() {
		parts := strings.Split(module, ".")
		i := slices.Index(AllProjections.names(), parts[len(parts)-1])
		found = i >= 0 && c.Targets&(1<<i) != 0
	}
	if !found || err != nil || s.layers == nil {
		return found, err
	}
	for _, re := range s.inLayer {
		m, err := re.FindStringMatch(module)
		if err != nil {
			return false, err
		}
		if m != nil {
			layer, err := strconv.Atoi(m.GroupByName("idx").String())
			return slices.Contains(s.layers, layer), err
		}
	}
	return false, nil
}

// isSaved reports whether the weights of a module are trained themselves: its
// path, or that of what it is a part of, ends with a name of modules_to_save, in
// the middle of a word too.
func (s *selection) isSaved(module string) bool {
	for {
		if slices.ContainsFunc(s.save, func(name string) bool { return strings.HasSuffix(module, name) }) {
			return true
		}
		i := strings.LastIndexByte(module, '.')
		if i < 0 {
			return false
		}
		module = module[:i]
	}
}

// slot is a place for a parameter in a decoder.
type slot struct {
	module string // as transformers names it
	name   string // of the parameter in the module: weight or bias
	at     **tensor.Param
}

// slots lists the places of all parameters. A tied embedding has two.
func (d *Decoder) slots() (all []slot) {
	add := func(module, name string, at **tensor.Param) {
		if *at != nil {
			all = append(all, slot{module, name, at})
		}
	}
	norm := func(module string, l *rmsNorm) {
		if l != nil {
			add(module, "weight", &l.W)
		}
	}
	add("model.embed_tokens", "weight", &d.trunk.Embed.W)
	for i, b := range d.trunk.Blocks {
		prefix := fmt.Sprintf("model.layers.%d.", i)
		norm(prefix+"input_layernorm", b.AttnNorm.(*rmsNorm))
		for _, p := range projections {
			l := p.layer(b)
			module := prefix + p.parent + "." + p.name
			add(module, "weight", &l.W)
			add(module, "bias", &l.Bias)
		}
		norm(prefix+"self_attn.q_norm", b.Attention.QNorm)
		norm(prefix+"self_attn.k_norm", b.Attention.KNorm)
		norm(prefix+"post_attention_layernorm", b.MLPNorm.(*rmsNorm))
	}
	norm("model.norm", d.trunk.Norm)
	add("lm_head", "weight", &d.head.Out.W)
	return all
}
