package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// study is the configuration file, with the results so far.
type study struct {
	Version int
	// Base is the setting that parts change.
	Base setting
	// Primary are the contrasts, first arm minus second, that the claim rests on:
	// accuracy on the test set Measure in the part Confirm. Measure is LONGTAIL, whose
	// answers the rows hold.
	Confirm, Measure string
	Primary          [][2]string
	// Matters is the smallest difference in accuracy that matters, Deviation the
	// standard deviation over seeds that was expected of each primary contrast when the
	// number of seeds was chosen.
	Matters   float64
	Deviation []float64
	Parts     []part

	results
}

// part is a block of runs: every arm with every seed from the first to the last.
type part struct {
	Name string
	// Question is what it is there to answer.
	Question string
	Seeds    [2]int
	Arms     []string
	// Rates are the learning rates to choose from on validation queries; none means
	// that each arm takes the best rate that the part Grid found for it.
	Rates []float64
	Grid  string
	// Beside names a part with these arms, seeds and queries, or more, to which the arms
	// of this one are compared, seed by seed.
	Beside string
	// Change replaces fields of the base setting.
	Change json.RawMessage

	setting setting
	rates   map[string][]float64 // of each arm, as choose sets them
}

// setting is everything that a run depends on besides arm, learning rate and seed.
type setting struct {
	// Task is notes or arithmetic.
	Task string `json:"task"`
	// Steps is the number of reasoning steps; of the notes always 5.
	Steps int `json:"steps"`
	// Glance is the share of the teacher's traces whose label was looked up rather than
	// concluded: the source of right answers with wrong steps.
	Glance float64 `json:"glance"`
	// FlipVerdicts and FlipOutcomes are the probabilities that a judgement in training
	// is turned around at random, WrongRule the share of the examples, by their kinds, on
	// which the rule of each inner step always says the opposite.
	FlipVerdicts float64 `json:"flip_verdicts"`
	FlipOutcomes float64 `json:"flip_outcomes"`
	WrongRule    float64 `json:"wrong_rule"`
	// WrongLabels is the share of the queries of reinforcement learning whose label is
	// wrong, in all their answers; only the notes have labels. It was added later, and
	// must not change the digests of older rows.
	WrongLabels float64 `json:"wrong_labels,omitempty"`
	// Best is the number of updates between looks at the validation queries, whose best
	// weights the run ends with; 0 means those of the last update. It was added later, too.
	Best int64 `json:"best,omitempty"`

	Dim    int `json:"dim"`
	Layers int `json:"layers"`
	Heads  int `json:"heads"`
	FF     int `json:"ff"`
	MaxSeq int `json:"max_seq"`
	Vocab  int `json:"vocab"`

	Warmup      int     `json:"warmup"`
	WarmupBatch int     `json:"warmup_batch"`
	WarmupRate  float64 `json:"warmup_rate"`
	Updates     int     `json:"updates"`
	Prompts     int     `json:"prompts"`
	Group       int     `json:"group"`
	// Pool is the number of different prompts of reinforcement learning; 0 means that
	// none comes twice.
	Pool       int `json:"pool"`
	MaxTokens  int `json:"max_tokens"`
	Validation int `json:"validation"`
	Test       int `json:"test"`
}

// beforeRL is what the warm-up depends on.
func (s setting) beforeRL() setting {
	s.FlipVerdicts, s.FlipOutcomes, s.WrongRule, s.WrongLabels = 0, 0, 0, 0
	s.Updates, s.Prompts, s.Group, s.Pool, s.MaxTokens, s.Validation, s.Test, s.Best = 0, 0, 0, 0, 0, 0, 0, 0
	return s
}

// unit is one run of a part: a row of the results.
type unit struct {
	seed int
	arm  string
	rate float64
}

// digest identifies what a unit depends on. Outcome credit sees no verdict, so wrong
// verdicts leave it the same run, which parts share.
func (s setting) digest(u unit) string {
	if u.arm == "outcome" || u.arm == "outcome-form" {
		s.FlipVerdicts, s.WrongRule = 0, 0
	}
	text, err := json.Marshal(map[string]any{"format": 1, "setting": s, "seed": u.seed, "arm": u.arm, "rate": u.rate})
	if err != nil {
		panic(err) // plain numbers and strings
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// readStudy reads and checks a configuration file, and reads the results.
func readStudy(path, rows string) *study {
	s := new(study)
	err := strict(must(os.ReadFile(path)), s)
	if err == nil {
		err = s.check()
	}
	if err != nil {
		fail("%s: %w", path, err)
	}
	s.read(rows)
	return s
}

func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// check makes the settings of the parts and says what is wrong.
func (s *study) check() error {
	var errs []error
	for i := range s.Parts {
		p := &s.Parts[i]
		p.setting = s.Base
		var err error
		if p.Change != nil {
			err = strict(p.Change, &p.setting)
		}
		if err = errors.Join(err, s.checkPart(p)); err != nil {
			errs = append(errs, fmt.Errorf("parts.%d (%s): %w", i, p.Name, err))
		}
	}
	for i, p := range s.Parts {
		q := s.part(p.Beside)
		lacked := func(arm string) bool { return !slices.Contains(q.Arms, arm) }
		if p.Beside != "" && (q == nil || q.Seeds[0] > p.Seeds[0] || q.Seeds[1] < p.Seeds[1] || slices.ContainsFunc(p.Arms, lacked) ||
			q.setting.Task != p.setting.Task || q.setting.Test != p.setting.Test) {
			errs = append(errs, fmt.Errorf("parts.%d (%s): beside is %q, want a part that has these seeds and arms, with the same task and number of test queries", i, p.Name, p.Beside))
		}
	}
	confirm := s.part(s.Confirm)
	if s.Version != 1 || confirm == nil || s.Measure != "LONGTAIL" || len(s.Primary) == 0 || len(s.Primary) != len(s.Deviation) || !(s.Matters > 0) {
		errs = append(errs, errors.New("want version 1, the name of a part in confirm, LONGTAIL in measure, a primary contrast at least, a deviation for each, and a positive matters"))
	}
	for _, c := range s.Primary {
		if confirm != nil && (!slices.Contains(confirm.Arms, c[0]) || !slices.Contains(confirm.Arms, c[1])) {
			errs = append(errs, fmt.Errorf("the primary contrast %q has an arm that part %s lacks", c, s.Confirm))
		}
	}
	return errors.Join(errs...)
}

func (s *study) checkPart(p *part) error {
	for _, a := range p.Arms {
		if _, err := armNamed(a, 0); err != nil {
			return err
		}
	}
	x := p.setting
	switch grid := s.part(p.Grid); {
	case p.Name == "" || len(p.Arms) == 0 || p.Seeds[0] < 1 || p.Seeds[1] < p.Seeds[0]:
		return errors.New("want a name, arms, and the first and last of the seeds, from 1 on")
	case len(p.Rates) == 0 && (grid == nil || len(grid.Rates) == 0):
		return fmt.Errorf("it has no rates, and grid %q is no part that has", p.Grid)
	case x.Task != "notes" && x.Task != "arithmetic":
		return fmt.Errorf("task is %q, want notes or arithmetic", x.Task)
	case x.WrongLabels > 0 && x.Task != "notes":
		return errors.New("wrong_labels is for the notes alone: sums have no labels")
	case min(x.Dim, x.Layers, x.Heads, x.FF, x.MaxSeq, x.Warmup, x.WarmupBatch, x.Updates, x.Prompts, x.Group-1, x.MaxTokens, x.Validation, x.Test, x.Steps-1) < 1:
		return fmt.Errorf("a size is too small: %+v", x)
	}
	return nil
}

// part is the part of that name; nil if there is none.
func (s *study) part(name string) *part {
	if i := slices.IndexFunc(s.Parts, func(p part) bool { return p.Name == name }); i >= 0 {
		return &s.Parts[i]
	}
	return nil
}

// named are the parts of a list with commas, in its order; all of them for an empty one.
func (s *study) named(list string) (parts []*part) {
	if list == "" {
		for i := range s.Parts {
			parts = append(parts, &s.Parts[i])
		}
		return parts
	}
	for name := range strings.SplitSeq(list, ",") {
		p := s.part(name)
		if p == nil {
			fail("the study has no part %q", name)
		}
		parts = append(parts, p)
	}
	return parts
}

// seeds are those of a part.
func (p *part) seeds() (all []int) {
	for seed := p.Seeds[0]; seed <= p.Seeds[1]; seed++ {
		all = append(all, seed)
	}
	return all
}
