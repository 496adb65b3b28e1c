package sam

import (
	"maps"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// StepStats counts the effect of step credit on the tokens of one step, over a batch.
type StepStats struct {
	// Kept and Masked count tokens by their Keep flag afterwards.
	Kept, Masked int
	// MassBefore and MassAfter are Σ|Adv| over the step's tokens before and
	// after step credit.
	MassBefore, MassAfter float64
	// ByVerdict counts steps by their verdict and the sign of the outcome
	// advantage: ByVerdict[verdict][0] negative, [1] zero, [2] positive.
	ByVerdict [4][3]int
}

// Merge adds what o counted.
func (s *StepStats) Merge(o StepStats) {
	s.Kept += o.Kept
	s.Masked += o.Masked
	s.MassBefore += o.MassBefore
	s.MassAfter += o.MassAfter
	for v := range s.ByVerdict {
		for sign := range s.ByVerdict[v] {
			s.ByVerdict[v][sign] += o.ByVerdict[v][sign]
		}
	}
}

// Stats counts the effect of step credit on a batch.
type Stats struct {
	// Steps holds one entry per step name.
	Steps map[string]*StepStats
	// Outside counts the tokens outside every step.
	Outside StepStats
	// Completions counts completions, and FullyMasked those of them that have
	// tokens, but none that is kept.
	Completions, FullyMasked int
	// Groups counts groups, and FlatGroups those without any outcome advantage.
	Groups, FlatGroups int
}

// Merge adds what o counted: the stats of a batch are those of its parts,
// merged.
func (s *Stats) Merge(o Stats) {
	s.Outside.Merge(o.Outside)
	s.Completions += o.Completions
	s.FullyMasked += o.FullyMasked
	s.Groups += o.Groups
	s.FlatGroups += o.FlatGroups
	for name, st := range o.Steps {
		s.step(name).Merge(*st)
	}
}

// Names returns the names of the steps, sorted.
func (s *Stats) Names() []string { return slices.Sorted(maps.Keys(s.Steps)) }

func (s *Stats) step(name string) *StepStats {
	st := s.Steps[name]
	if st == nil {
		if s.Steps == nil {
			s.Steps = make(map[string]*StepStats)
		}
		st = new(StepStats)
		s.Steps[name] = st
	}
	return st
}

// of returns the entry that counts the tokens of a segment.
func (s *Stats) of(c completion, g segment) *StepStats {
	if g.step < 0 {
		return &s.Outside
	}
	return c.stats[g.step]
}

// before counts a completion's tokens, steps and advantages before step credit.
func (s *Stats) before(c completion) {
	s.Completions++
	for k := range c.Steps {
		c.stats[k].ByVerdict[c.Steps[k].Verdict][1+sign(c.Advantage)]++
	}
	for _, g := range c.segments {
		s.of(c, g).MassBefore += vecmath.SumAbs(c.Adv[g.start:g.end])
	}
}

// after counts what step credit made of it.
func (s *Stats) after(c completion) {
	total := 0
	for _, g := range c.segments {
		kept := vecmath.Count(c.Keep[g.start:g.end])
		e := s.of(c, g)
		e.Kept += kept
		e.Masked += g.end - g.start - kept
		e.MassAfter += vecmath.SumAbs(c.Adv[g.start:g.end])
		total += kept
	}
	if total == 0 && c.n > 0 {
		s.FullyMasked++
	}
}

func sign(x float64) int {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}
