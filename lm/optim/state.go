package optim

import "fmt"

// State is what AdamW remembers between steps, on the host, for checkpoints.
type State struct {
	// Steps counts the steps taken.
	Steps int
	// Moments has one entry for each parameter, in the optimiser's order.
	Moments []Moments
}

// Moments are the running means of one parameter's gradient and of its
// square.
type Moments struct {
	// Name is the parameter's.
	Name string
	// First and Second have the parameter's length.
	First, Second []float32
}

// Export copies the state to the host, bit for bit. Its error is the
// backend's.
func (a *AdamW) Export() (State, error) {
	s := State{Steps: a.steps, Moments: make([]Moments, len(a.params))}
	for i, p := range a.params {
		m := Moments{Name: p.Name, First: make([]float32, p.Len()), Second: make([]float32, p.Len())}
		if err := a.backend.Read(m.First, a.first[i]); err != nil {
			return State{}, fmt.Errorf("optim: first moment of %s: %w", p.Name, err)
		}
		if err := a.backend.Read(m.Second, a.second[i]); err != nil {
			return State{}, fmt.Errorf("optim: second moment of %s: %w", p.Name, err)
		}
		s.Moments[i] = m
	}
	return s, nil
}

// Import replaces the state by what Export returned, for the same parameters
// in any order. On an error, which names the parameter that does not fit,
// nothing is changed.
func (a *AdamW) Import(s State) error {
	if s.Steps < 0 {
		return fmt.Errorf("optim: state after %d steps", s.Steps)
	}
	byName := make(map[string]Moments, len(s.Moments))
	for _, m := range s.Moments {
		if _, twice := byName[m.Name]; twice {
			return fmt.Errorf("optim: state has %s twice", m.Name)
		}
		byName[m.Name] = m
	}
	for _, p := range a.params {
		m, ok := byName[p.Name]
		if !ok {
			return fmt.Errorf("optim: state lacks parameter %s", p.Name)
		}
		if len(m.First) != p.Len() || len(m.Second) != p.Len() {
			return fmt.Errorf("optim: state of %s has %d and %d elements, want %d for shape %v",
				p.Name, len(m.First), len(m.Second), p.Len(), p.Shape)
		}
	}
	if len(byName) != len(a.params) {
		return fmt.Errorf("optim: state of %d parameters, want %d", len(byName), len(a.params))
	}
	for i, p := range a.params {
		a.backend.Write(a.first[i], byName[p.Name].First)
		a.backend.Write(a.second[i], byName[p.Name].Second)
	}
	a.steps = s.Steps
	return nil
}
