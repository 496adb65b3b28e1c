package tensor_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

func TestRegistry(t *testing.T) {
	noDevice := errors.New("no device")
	broken := func() (tensor.Backend, error) { return nil, noDevice }
	tensor.Register("registry-test-b", broken)
	tensor.Register("registry-test-a", broken)

	names := tensor.Names()
	assert.IsNonDecreasing(t, names)
	assert.Subset(t, names, []string{"registry-test-a", "registry-test-b"})

	_, err := tensor.Open("registry-test-a")
	require.ErrorIs(t, err, noDevice)
	assert.ErrorContains(t, err, "registry-test-a")

	_, err = tensor.Open("abacus")
	require.ErrorContains(t, err, `"abacus"`)
	assert.ErrorContains(t, err, "registry-test-a registry-test-b")
	assert.ErrorContains(t, err, `import _ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"`)
}

func TestRegisterMisuse(t *testing.T) {
	open := func() (tensor.Backend, error) { return nil, nil }
	assert.Panics(t, func() { tensor.Register("registry-test-nil", nil) })
	assert.Panics(t, func() { tensor.Register("", open) })
	tensor.Register("registry-test-twice", open)
	assert.Panics(t, func() { tensor.Register("registry-test-twice", open) })
}

func TestParamLen(t *testing.T) {
	assert.Equal(t, 12, (&tensor.Param{Shape: []int{3, 4}}).Len())
	assert.Equal(t, 1, (&tensor.Param{}).Len(), "a scalar")
}
