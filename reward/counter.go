package reward

import (
	"maps"
	"sync"
)

// Tally counts the scores and errors of one rule.
type Tally struct {
	// Scored counts the scores with a value, Failed the errors.
	Scored, Failed int
	// Unscorable counts the scores without a value, per reason.
	Unscorable map[string]int
}

// Counter counts the scores and errors of rules, by the rules' names. The zero
// Counter is ready to use. It is safe for concurrent use and must not be copied
// after first use.
type Counter struct {
	mu      sync.Mutex
	tallies map[string]Tally
}

// Add counts a result of the rule with that name.
func (c *Counter) Add(name string, s Score, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tallies == nil {
		c.tallies = make(map[string]Tally)
	}
	t := c.tallies[name]
	switch {
	case err != nil:
		t.Failed++
	case s.Scorable():
		t.Scored++
	default:
		if t.Unscorable == nil {
			t.Unscorable = make(map[string]int)
		}
		t.Unscorable[s.Reason]++
	}
	c.tallies[name] = t
}

// Tallies returns the counts so far, by the rules' names. The map is the caller's.
func (c *Counter) Tallies() map[string]Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]Tally, len(c.tallies))
	for name, t := range c.tallies {
		t.Unscorable = maps.Clone(t.Unscorable)
		out[name] = t
	}
	return out
}

// Restore replaces what was counted by earlier Tallies, when a run continues in
// another process. They belong where the run's checkpoint cuts them, such as a log of
// the run's stage (run.Stage.Append before Save, run.Folder.Lines after Resume).
func (c *Counter) Restore(tallies map[string]Tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tallies = make(map[string]Tally, len(tallies))
	for name, t := range tallies {
		t.Unscorable = maps.Clone(t.Unscorable)
		c.tallies[name] = t
	}
}
