//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package durable

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// On a file system without locks, the file is written, and whoever asks for a lock is
// told; any other failure is an error.
func TestFileSystemsWithoutLocks(t *testing.T) {
	defer func() { flock = unix.Flock }()
	path := filepath.Join(t.TempDir(), "lock")
	for _, lack := range []unix.Errno{unix.ENOSYS, unix.EOPNOTSUPP, unix.ENOLCK} {
		flock = func(int, int) error { return lack }
		var said bytes.Buffer
		l, err := TryLock(path, slog.New(slog.NewTextHandler(&said, nil)))
		require.NoError(t, err)
		require.Contains(t, said.String(), "level=WARN msg=\"the file system has no locks: see to it that no other process writes here\" path="+path)
		require.Contains(t, said.String(), lack.Error())
		require.NotZero(t, holder(path).PID)
		_, held, err := LockHolder(path)
		require.NoError(t, err)
		require.False(t, held)
		require.NoError(t, l.Release())
		l, err = TryLock(path, nil)
		require.NoError(t, err)
		require.NoError(t, l.Release())
	}
	flock = func(int, int) error { return unix.EIO }
	_, err := TryLock(path, nil)
	require.ErrorIs(t, err, unix.EIO)
}
