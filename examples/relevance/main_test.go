package main

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOptions(t *testing.T) {
	for args, want := range map[string]string{
		"-credit nonsense":       `-credit is "nonsense", want one of mask, mask-fill, step-group, outcome`,
		"-steps -1":              "-steps is -1",
		"-resume":                "needs -out",
		"-resume -out a -seed 2": "leave the other flags out",
		"surplus":                `unexpected argument "surplus"`,
	} {
		_, err := parseOptions(strings.Fields(args), io.Discard)
		require.ErrorContains(t, err, want)
	}
	o, err := parseOptions(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "mask", o.config.Reinforce.Credits[1].Name)
	require.Contains(t, o.out, "runs/relevance-")
	require.NoError(t, o.config.Validate())
}
