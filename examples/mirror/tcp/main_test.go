package main

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The nodes are this test program.
func TestMain(m *testing.M) {
	if _, isNode := os.LookupEnv(variable); isNode {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestSameBitsOverTCP(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	require.NoError(t, parent(ctx, &out))
	assert.Contains(t, out.String(), "6 processes found the same bits as one: [0x")
}
