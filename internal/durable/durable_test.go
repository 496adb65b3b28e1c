package durable_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".a.tmp"), []byte("left by a crash"), 0o666))
	for _, want := range []string{"one", "", "three"} {
		require.NoError(t, durable.ReplaceFile(path, []byte(want)))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		require.Equal(t, []string{"a"}, names(t, dir))
	}
	// A directory cannot be replaced by a file: it stays, and nothing else does.
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "d", "e"), 0o777))
	require.Error(t, durable.ReplaceFile(filepath.Join(dir, "d"), nil))
	require.Equal(t, []string{"a", "d"}, names(t, dir))
	require.Error(t, durable.ReplaceFile(filepath.Join(dir, "nowhere", "a"), nil))
}

func TestWriteNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	full := errors.New("disk full")
	err := durable.Write(path, func(io.Writer) error { return full })
	require.ErrorIs(t, err, full)
	require.ErrorContains(t, err, path)
}

func TestReplaceDir(t *testing.T) {
	root := t.TempDir()
	dir, tmp := filepath.Join(root, "d"), filepath.Join(root, ".d.1")
	for _, content := range []string{"one", "two"} {
		require.NoError(t, os.Mkdir(tmp, 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(tmp, "f"), []byte(content), 0o666))
		require.NoError(t, durable.ReplaceDir(dir, tmp))
		require.Equal(t, []string{"d"}, names(t, root))
		got, err := os.ReadFile(filepath.Join(dir, "f"))
		require.NoError(t, err)
		require.Equal(t, content, string(got))
	}
	require.ErrorIs(t, durable.ReplaceDir(dir, tmp), os.ErrNotExist)
	require.Equal(t, []string{"d"}, names(t, root), "the earlier one is put back")
}

// The sum of "abc" is FIPS 180-2's example.
func TestChecksum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	require.NoError(t, os.WriteFile(path, []byte("abc"), 0o666))
	sum, size, err := durable.Checksum(t.Context(), path)
	require.NoError(t, err)
	require.EqualValues(t, 3, size)
	require.Equal(t, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", sum)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = durable.Checksum(ctx, path)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, path)
	_, _, err = durable.Checksum(t.Context(), path+"b")
	require.ErrorIs(t, err, os.ErrNotExist)
}
