package objective

import "fmt"

// Kind is an estimator of the divergence KL(π‖ref) from one sampled token with
// d = logπ - logref (Schulman, "Approximating KL divergence", 2020). What an
// estimator estimates well and what its gradient does are different things;
// gradients here are taken at fixed samples of π.
type Kind uint8

const (
	// K1 is d: unbiased in value, its gradient 1 is zero in expectation.
	K1 Kind = iota + 1
	// K2 is d²/2: biased in value, its gradient d is that of KL(π‖ref).
	K2
	// K3 is exp(-d) - 1 + d: unbiased and never negative, the usual choice;
	// its gradient 1 - exp(-d) is that of KL(ref‖π), the other direction.
	K3
	// KAbs is |d|, verl's and SkyRL's "abs"; its gradient is the sign of d.
	KAbs
)

var kindNames = [...]string{K1: "k1", K2: "k2", K3: "k3", KAbs: "abs"}

// String returns "k1", "k2", "k3" or "abs".
func (k Kind) String() string {
	if k.valid() {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// ParseKind is the inverse of Kind.String.
func ParseKind(name string) (Kind, error) {
	for k := K1; int(k) < len(kindNames); k++ {
		if kindNames[k] == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("objective: unknown KL estimator %q, want k1, k2, k3 or abs", name)
}

func (k Kind) valid() bool { return k >= K1 && int(k) < len(kindNames) }
