package rollout

import (
	"errors"
	"fmt"
	"math"
)

// Validate returns an error that names the first field that no engine could
// honour.
func (p *Params) Validate() error {
	switch {
	case !(p.Temperature >= 0) || math.IsInf(p.Temperature, 1):
		return fmt.Errorf("Temperature is %v, want 0 or more", p.Temperature)
	case !(p.TopP >= 0 && p.TopP <= 1):
		return fmt.Errorf("TopP is %v, want 0 to 1", p.TopP)
	case p.TopK < 0:
		return fmt.Errorf("TopK is %d, want 0 or more", p.TopK)
	case p.MaxTokens < 1:
		return fmt.Errorf("MaxTokens is %d, want 1 or more", p.MaxTokens)
	}
	for i, s := range p.Stop {
		if s == "" {
			return fmt.Errorf("Stop[%d] is empty", i)
		}
	}
	return nil
}

// Validate returns an error that names the first field that no engine could
// honour. What a particular model can't do, the engine has to check: token
// ids outside its vocabulary, prompts that are too long.
func (r *Request) Validate() error {
	switch {
	case len(r.Prompt) == 0:
		return errors.New("Prompt is empty")
	case r.N < 1:
		return fmt.Errorf("N is %d, want 1 or more", r.N)
	}
	for i, id := range r.Prompt {
		if id < 0 {
			return fmt.Errorf("Prompt[%d] is %d, not a token id", i, id)
		}
	}
	return r.Params.Validate()
}

// Validate checks all requests, and each with more as well, if not nil: what
// an engine checks of its own. The error names the request by index and ID.
// Engines call it before they sample anything.
func Validate(reqs []Request, more func(*Request) error) error {
	for i := range reqs {
		err := reqs[i].Validate()
		if err == nil && more != nil {
			err = more(&reqs[i])
		}
		if err != nil {
			return fmt.Errorf("rollout: request %d (%q): %w", i, reqs[i].ID, err)
		}
	}
	return nil
}
