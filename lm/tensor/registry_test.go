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
	broken := func(tensor.Options) (tensor.Backend, error) { return nil, noDevice }
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

func TestOpenSpecification(t *testing.T) {
	var got tensor.Options
	tensor.Register("registry-test-device", func(o tensor.Options) (tensor.Backend, error) {
		got = o
		return nil, o.OnHost()
	})
	for spec, want := range map[string]tensor.Options{
		"registry-test-device":                                   {},
		"registry-test-device:0":                                 {},
		"registry-test-device:3,precision=bf16":                  {Device: 3, Precision: tensor.PrecisionBFloat16},
		"registry-test-device,memory=60GiB":                      {MemoryLimit: 60 << 30},
		"registry-test-device,memory=512MiB,precision=tf32":      {MemoryLimit: 512 << 20, Precision: tensor.PrecisionTF32},
		"registry-test-device:1,memory=1000,products=a,plan=b=c": {Device: 1, MemoryLimit: 1000, Settings: map[string]string{"products": "a", "plan": "b=c"}},
	} {
		_, err := tensor.Open(spec)
		assert.Equal(t, want, got, spec)
		assert.NoError(t, got.Validate())
		assert.Equal(t, want.OnHost() != nil, err != nil, "a backend on the host takes no options: %s", spec)
	}
	for spec, want := range map[string]string{
		"registry-test-device:x":                       `device "x", want a number from 0`,
		"registry-test-device:-1":                      `device "-1"`,
		"registry-test-device,bf16":                    `setting "bf16", want key=value`,
		"registry-test-device,precision=fp8":           `precision "fp8", want float32, tf32 or bf16`,
		"registry-test-device,memory=much":             `memory "much"`,
		"registry-test-device,memory=-1GiB":            `memory "-1GiB"`,
		"registry-test-device,memory=1e3GiB":           `memory "1e3GiB"`,
		"registry-test-device,memory=9999999999999GiB": `memory "9999999999999GiB"`,
		"registry-test-device,a=1,a=2":                 "setting a is given twice",
	} {
		_, err := tensor.Open(spec)
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, spec)
	}
	assert.ErrorContains(t, tensor.Options{Device: -1}.Validate(), "Options.Device is -1")
	assert.ErrorContains(t, tensor.Options{Precision: 7}.Validate(), "Precision(7)")
	assert.ErrorContains(t, tensor.Options{MemoryLimit: -1}.Validate(), "Options.MemoryLimit is -1")
}

func TestRegisterMisuse(t *testing.T) {
	open := func(tensor.Options) (tensor.Backend, error) { return nil, nil }
	assert.Panics(t, func() { tensor.Register("registry-test-nil", nil) })
	assert.Panics(t, func() { tensor.Register("", open) })
	assert.Panics(t, func() { tensor.Register("registry-test:0", open) })
	tensor.Register("registry-test-twice", open)
	assert.Panics(t, func() { tensor.Register("registry-test-twice", open) })
}

func TestParamLen(t *testing.T) {
	assert.Equal(t, 12, (&tensor.Param{Shape: []int{3, 4}}).Len())
	assert.Equal(t, 1, (&tensor.Param{}).Len(), "a scalar")
}
