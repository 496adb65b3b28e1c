package rl

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Capabilities is a set of what not every policy can do.
type Capabilities uint8

const (
	// CapTemperature: log-probs at any temperature (Batch.Temperature), not only
	// at 1.
	CapTemperature Capabilities = 1 << iota
	// CapMaxNorm: the gradient is clipped by its global norm
	// (OptimOptions.MaxNorm).
	CapMaxNorm
	// CapSkip: an optimiser step whose gradient is not finite is skipped
	// (OptimInfo.Skipped). Without it a gradient that is not finite ends the run
	// with an error.
	CapSkip
	// CapEntropy: objectives of entropies (objective.InputEntropy).
	CapEntropy
	// CapCandidates: objectives of candidates (objective.InputCandidates).
	CapCandidates

	// CapAll is all of them.
	CapAll = CapTemperature | CapMaxNorm | CapSkip | CapEntropy | CapCandidates
)

var capabilityNames = [...]string{
	"log-probs at temperatures other than 1", "clipping of the gradient by its norm",
	"skipping of gradients that are not finite", "entropies", "candidates",
}

// String lists the capabilities in words, as errors name them.
func (c Capabilities) String() string {
	var names []string
	for i, name := range capabilityNames {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// ErrUnsupported is wrapped by the errors of a policy that lacks a capability.
var ErrUnsupported = errors.New("the policy does not support")

// Check returns an error that wraps ErrUnsupported and names what of need is not
// in c; nil if nothing is.
func (c Capabilities) Check(need Capabilities) error {
	if lacking := need &^ c; lacking != 0 {
		return fmt.Errorf("%w %v", ErrUnsupported, lacking)
	}
	return nil
}

// Required returns the capabilities that a policy needs to provide the inputs n.
func Required(n objective.Inputs) Capabilities {
	var c Capabilities
	if n&objective.InputEntropy != 0 {
		c |= CapEntropy
	}
	if n&objective.InputCandidates != 0 {
		c |= CapCandidates
	}
	return c
}

// Supporter is a policy or log-prober that cannot do everything. NewTrainer asks
// it, so that a run that cannot work does not start. One that is no Supporter is
// taken to have all capabilities.
type Supporter interface {
	// Supports returns what the policy can do. A call that needs more returns
	// the error of Capabilities.Check, wrapped or not, and changes nothing.
	Supports() Capabilities
}

// supports returns an error if p is a Supporter that lacks some of need.
func supports(p LogProber, need Capabilities) error {
	if s, ok := p.(Supporter); ok {
		return s.Supports().Check(need)
	}
	return nil
}
