package main

import (
	"context"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	curves, err := run(context.Background(), io.Discard)
	require.NoError(t, err)
	last := func(i int) float64 { return curves[i].y[rounds] }
	assert.Greater(t, last(0), 5e-3, "descent stops beside the optimum")
	assert.Less(t, last(0), 5e-2)
	assert.Less(t, last(1), 1e-8)
	assert.Less(t, last(2), 1e-8, "failed links do no harm")
	assert.Greater(t, last(3), 1e-3, "lost messages do")

	d := xml.NewDecoder(strings.NewReader(string(plot(curves))))
	for {
		if _, err := d.Token(); err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
	}
}
