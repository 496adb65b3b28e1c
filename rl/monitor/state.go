package monitor

import (
	"encoding/json"
	"fmt"
)

const stateFormat = 2

// state is what State returns as JSON.
type state struct {
	Format int      `json:"format"`
	Fresh  int      `json:"fresh"`
	Tables []Counts `json:"tables"`
}

// State returns what the monitor remembers, to be kept with the trainer's.
func (m *Monitor) State() ([]byte, error) {
	return json.Marshal(state{stateFormat, m.fresh, append([]Counts{}, m.tables...)})
}

// Restore goes back to a State of a monitor with the same options. An error
// leaves the monitor as it was.
func (m *Monitor) Restore(saved []byte) error {
	var s state
	if err := json.Unmarshal(saved, &s); err != nil {
		return fmt.Errorf("monitor: state: %w", err)
	}
	switch {
	case s.Format != stateFormat:
		return fmt.Errorf("monitor: state: format is %d, want %d", s.Format, stateFormat)
	case s.Fresh < 0 || s.Fresh >= m.o.Window:
		return fmt.Errorf("monitor: state: %d steps since the last test, but the window is %d", s.Fresh, m.o.Window)
	case len(s.Tables) > m.o.History+m.o.Window || len(s.Tables) < s.Fresh:
		return fmt.Errorf("monitor: state: it holds %d steps, want from %d to %d", len(s.Tables), s.Fresh, m.o.History+m.o.Window)
	}
	for i := range s.Tables {
		for name, step := range s.Tables[i].Steps {
			if step == nil {
				return fmt.Errorf("monitor: state: table %d has no counts for step %q", i, name)
			}
		}
	}
	m.fresh, m.tables = s.Fresh, s.Tables
	return nil
}
