package relevance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// A source whose pairs have findings gets the baseline of criteria, which reads whole
// texts: that of others has not.
func TestBaselineOfCriteria(t *testing.T) {
	src := toy(150)
	plain, err := prepared(t, src, toySettings())
	require.NoError(t, err)
	require.Len(t, plain.baselines(), 4)
	require.Nil(t, plain.agreement())

	train := src.Train
	src.Train = func(i int) rows.Example {
		e := train(i)
		e.Found, e.Raters = []rows.Found{{Name: "words"}}, []string{e.Label(), "0", ""}
		return e
	}
	p, err := prepared(t, src, toySettings())
	require.NoError(t, err)
	require.Len(t, p.baselines(), 5)
	require.Equal(t, "criteria", p.baselines()[4].name)
	p.src.Tests = nil // what was cut does not matter
	r, err := p.criteria(t.Context())
	require.NoError(t, err)
	require.Equal(t, 20, r.Validation.Examples)
	require.Equal(t, 30, r.Tests["TEST"].Examples)
	require.Greater(t, r.Tests["TEST"].Accuracy, .6)

	zeros := 0.0
	for i := range 150 {
		if e := train(i); e.Label() == "0" {
			zeros++
		}
	}
	share := zeros / 150
	require.Equal(t, &report.Raters{Rows: 150, Agree: share, AsLabel: (1 + share) / 2}, p.agreement())
}
