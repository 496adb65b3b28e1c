package cuda

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/internal/gputest"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/dynlib"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

var long = flag.Bool("long", false, "test every precision, and look for planted faults")

// work does the small work in three orders of a block's threads. It is an error
// if the bits depend on the order, or are not near the reference's.
func work(t testing.TB, f *fake, o tensor.Options) error {
	want, err := gputest.Work(reference.New())
	require.NoError(t, err)
	var first []gputest.Result
	for order := range 3 {
		dynlib.Call(f.setOrder, uintptr(order))
		b := must(t, o)
		got, err := gputest.Work(b)
		if err = errors.Join(err, b.Close()); err != nil {
			return err
		}
		if first == nil {
			first = got
		}
		for i, r := range first {
			for j, v := range r.Values {
				if math.Float32bits(v) != math.Float32bits(got[i].Values[j]) {
					return fmt.Errorf("%s: element %d depends on the order of threads: %v, %v", r.Name, j, v, got[i].Values[j])
				}
			}
		}
	}
	return gputest.Compare(first, want, 2e-5)
}

func TestWork(t *testing.T) {
	f, o := withFake(t)
	require.NoError(t, work(t, f, o))
}

// TestPlantedFaults: faults in the kernels are found, races too. Each is compiled.
func TestPlantedFaults(t *testing.T) {
	if !*long {
		t.Skip("use -long")
	}
	for _, fault := range gputest.Faults {
		t.Run(fault.Name, func(t *testing.T) {
			_, o := withFake(t)
			planted := false
			o.Settings["library"] = gputest.SabotagedCUDA(t, func(_, source string) string {
				source, ok := fault.Plant(source)
				planted = planted || ok
				return source
			})
			require.True(t, planted, "nothing to replace")
			err := work(t, controls(t, o), o)
			require.Error(t, err)
			t.Log(err)
			assert.Equal(t, fault.Race, strings.Contains(err.Error(), "order of threads"))
		})
	}
}
