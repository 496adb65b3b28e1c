package main

import (
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A port that is in use is an error before anything is trained.
func TestBusyPort(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	defer l.Close()
	out := filepath.Join(t.TempDir(), "run")
	err = run(t.Context(), io.Discard, true, out, l.Addr().String())
	require.ErrorContains(t, err, "listen tcp "+l.Addr().String())
	require.NoDirExists(t, out)
}
