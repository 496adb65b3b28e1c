package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// study is the configuration file.
type study struct {
	Version int `json:"version"`
	// Base is the setting that parts change.
	Base setting `json:"base"`
	// Primary are the contrasts, first arm minus second, that the claim rests on:
	// accuracy on the test set Measure in the part Confirm. Measure is LONGTAIL, whose
	// answers the rows hold.
	Confirm string      `json:"confirm"`
	Measure string      `json:"measure"`
	Primary [][2]string `json:"primary"`
	// Matters is the smallest difference in accuracy that matters, Deviation the
	// standard deviation over seeds that was expected of each primary contrast when the
	// number of seeds was chosen.
	Matters   float64   `json:"matters"`
	Deviation []float64 `json:"deviation"`
	Parts     []part    `json:"parts"`
}

// part is a block of runs: every arm with every seed from the first to the last.
type part struct {
	Name string `json:"name"`
	// Question is what it is there to answer.
	Question string   `json:"question"`
	Seeds    [2]int   `json:"seeds"`
	Arms     []string `json:"arms"`
	// Rates are the learning rates to choose from on validation queries; none means
	// that each arm takes the best rate that the part Grid found for it.
	Rates []float64 `json:"rates"`
	Grid  string    `json:"grid"`
	// Change replaces fields of the base setting.
	Change json.RawMessage `json:"change"`

	setting setting
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
	s.FlipVerdicts, s.FlipOutcomes, s.WrongRule = 0, 0, 0
	s.Updates, s.Prompts, s.Group, s.Pool, s.MaxTokens, s.Validation, s.Test = 0, 0, 0, 0, 0, 0, 0
	return s
}

// readStudy reads and checks a configuration file.
func readStudy(path string) (*study, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := new(study)
	if err := strict(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var errs []error
	for i := range s.Parts {
		p := &s.Parts[i]
		p.setting = s.Base
		if p.Change != nil {
			if err := strict(p.Change, &p.setting); err != nil {
				errs = append(errs, fmt.Errorf("parts.%d.change: %w", i, err))
			}
		}
		if err := s.check(p); err != nil {
			errs = append(errs, fmt.Errorf("parts.%d (%s): %w", i, p.Name, err))
		}
	}
	if s.Version != 1 || s.part(s.Confirm) == nil || s.Measure != "LONGTAIL" || len(s.Primary) == 0 || len(s.Primary) != len(s.Deviation) || !(s.Matters > 0) {
		errs = append(errs, errors.New("want version 1, the name of a part in confirm, LONGTAIL in measure, a primary contrast at least, a deviation for each, and a positive matters"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func (s *study) part(name string) *part {
	if i := slices.IndexFunc(s.Parts, func(p part) bool { return p.Name == name }); i >= 0 {
		return &s.Parts[i]
	}
	return nil
}

// named are the parts of a list with commas, in its order; all of them for an empty one.
func (s *study) named(list string) (parts []*part, err error) {
	if list == "" {
		for i := range s.Parts {
			parts = append(parts, &s.Parts[i])
		}
		return parts, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		p := s.part(name)
		if p == nil {
			return nil, fmt.Errorf("the study has no part %q", name)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (s *study) check(p *part) error {
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
	case min(x.Dim, x.Layers, x.Heads, x.FF, x.MaxSeq, x.Warmup, x.WarmupBatch, x.Updates, x.Prompts, x.Group-1, x.MaxTokens, x.Validation, x.Test, x.Steps-1) < 1:
		return fmt.Errorf("a size is too small: %+v", x)
	}
	return nil
}

// unit is one run: a row of the results.
type unit struct {
	part *part
	seed int
	arm  string
	rate float64
}

// digest identifies what the unit depends on. Outcome credit sees no verdict, so wrong
// verdicts leave it the same run, which parts share.
func (u unit) digest() string {
	s := u.part.setting
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

// seeds is how many seeds the part has.
func (p *part) seeds() int { return p.Seeds[1] - p.Seeds[0] + 1 }

func (p *part) units(rates map[string][]float64) (all []unit) {
	for seed := p.Seeds[0]; seed <= p.Seeds[1]; seed++ {
		for _, a := range p.Arms {
			for _, r := range rates[a] {
				all = append(all, unit{p, seed, a, r})
			}
		}
	}
	return all
}

// grown is how many times a grid is extended at most, and by which factor.
const grown, factor = 3, 2

// rates are the learning rates of each arm of a part: the grid, extended for all arms as
// long as an arm's best lies at its edge, or the best of the part's grid.
func (s *study) rates(r *results, p *part) (map[string][]float64, error) {
	rates := map[string][]float64{}
	if len(p.Rates) == 0 {
		grid := s.part(p.Grid)
		all, err := s.rates(r, grid)
		for _, arm := range p.Arms {
			best, ok := bestRate(r, grid, arm, all[arm])
			if !ok {
				err = errors.Join(err, fmt.Errorf("part %s needs the grid %s, which is not complete for %s", p.Name, grid.Name, arm))
			}
			rates[arm] = []float64{best}
		}
		return rates, err
	}
	grid := slices.Sorted(slices.Values(p.Rates))
	for range grown {
		low, high := false, false
		for _, arm := range p.Arms {
			best, ok := bestRate(r, p, arm, grid)
			low = low || ok && best == grid[0]
			high = high || ok && best == grid[len(grid)-1]
		}
		if low {
			grid = slices.Insert(grid, 0, grid[0]/factor)
		}
		if high {
			grid = append(grid, grid[len(grid)-1]*factor)
		}
	}
	for _, arm := range p.Arms {
		rates[arm] = grid
	}
	return rates, nil
}

// bestRate is the rate with the highest mean accuracy on validation queries, the lowest
// of several; false if a run is missing.
func bestRate(r *results, p *part, arm string, grid []float64) (best float64, ok bool) {
	top := math.Inf(-1)
	for _, rate := range grid {
		rows := r.of(p, arm, rate)
		if count(rows) < len(rows) {
			return 0, false
		}
		if mean := meanOf(rows, "VALIDATION"); mean > top+1e-9 {
			top, best = mean, rate
		}
	}
	return best, len(grid) > 0
}
