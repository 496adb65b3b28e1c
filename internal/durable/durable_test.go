package durable_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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

// Some file systems sync files but no directories, as /proc syncs none.
func TestSyncOfDirectoriesThatCannotBeSynced(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	require.NoError(t, durable.Sync("/proc/self"))
	require.Error(t, durable.Sync("/proc/self/status"), "a file that cannot be synced is not durable")
	require.Error(t, durable.Sync("/proc/nowhere"))
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

// Modes are those of the umask, and no symbolic link is followed.
func TestNewFilesAreExclusive(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	require.NoError(t, os.WriteFile(other, []byte("keep"), 0o600))
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(other, link))
	_, err := durable.Create(link)
	require.ErrorIs(t, err, os.ErrExist)
	_, err = durable.Append(link)
	require.ErrorContains(t, err, link+": a symbolic link, want a regular file")
	_, err = durable.TryLock(link, nil)
	require.ErrorContains(t, err, "want a regular file")
	require.NoError(t, durable.ReplaceFile(link, []byte("new"))) // the link itself
	got, err := os.ReadFile(other)
	require.NoError(t, err)
	require.Equal(t, "keep", string(got))
}

func TestMkdirAllOnALinkToNothing(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink("nothing", link))
	require.ErrorIs(t, durable.MkdirAll(link), fs.ErrExist)
	require.ErrorIs(t, durable.MkdirAll(filepath.Join(link, "a")), fs.ErrExist)
}

func TestAppendAndTruncate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for range 2 { // the first makes the file
		f, err := durable.Append(path)
		require.NoError(t, err)
		_, err = f.Write([]byte("abc"))
		require.NoError(t, errors.Join(err, f.Sync(), f.Close()))
	}
	require.NoError(t, durable.Truncate(path, 4))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "abca", string(got))
}

// A file that was replaced, as by a checkout of git, or removed takes no more records: they
// would be in none that has a name.
func TestAddToAReplacedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := durable.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Add([]byte("one\n")))
	if os.Rename(path, path+".old") != nil {
		t.Skip("the system replaces no open files")
	}
	require.ErrorIs(t, f.Add([]byte("two\n")), fs.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("new\n"), 0o600))
	require.EqualError(t, f.Add([]byte("two\n")), path+" has been replaced while it was open: what is written here would be lost")
	require.ErrorContains(t, f.Truncate(2), "has been replaced while it was open")
	other, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new\n", string(other), "another file is not cut")
	require.NoError(t, os.Rename(path+".old", path))
	require.NoError(t, f.Add([]byte("two\n")))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "one\ntwo\n", string(got))
}

func TestAddIsWholeOrNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := durable.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Add([]byte("one\n")))
	full := errors.New("disk full")
	failing := map[durable.Op]error{durable.OpWrite: &durable.Torn{Bytes: 2, Err: full}}
	defer durable.Watch(func(c durable.Call) error { return failing[c.Op] })()
	require.ErrorIs(t, f.Add([]byte("two\n")), full)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "one\n", string(got), "the half line is cut off again")

	failing[durable.OpTruncate] = fs.ErrPermission
	require.ErrorIs(t, f.Add([]byte("two\n")), fs.ErrPermission)
	clear(failing)
	require.ErrorIs(t, f.Add([]byte("three\n")), full, "it would stand behind half a line")
	require.NoError(t, f.Close())
}

func TestMkdirAllAndRemoveAll(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	require.NoError(t, durable.MkdirAll(deep))
	require.NoError(t, durable.MkdirAll(deep))
	require.NoError(t, os.WriteFile(filepath.Join(deep, "f"), nil, 0o666))
	require.ErrorContains(t, durable.MkdirAll(filepath.Join(deep, "f")), "a file of that name")
	require.NoError(t, durable.RemoveAll(filepath.Join(dir, "a")))
	require.NoError(t, durable.RemoveAll(filepath.Join(dir, "a")))
	require.Empty(t, names(t, dir))
}

func TestOnlyRegularFilesHaveAChecksum(t *testing.T) {
	for _, path := range []string{t.TempDir(), os.DevNull} {
		_, _, err := durable.Checksum(t.Context(), path)
		require.ErrorContains(t, err, "want a regular file")
	}
}

func TestSeal(t *testing.T) {
	type content struct {
		N    int
		Text string
	}
	text, err := durable.Seal(content{30, "<&>"})
	require.NoError(t, err)
	var got content
	require.NoError(t, durable.Unseal(text, &got))
	require.Equal(t, content{30, "<&>"}, got)
	for old, altered := range map[string]string{"30": "31", "<": "(", "u003c": "u003d", "content": "kontent"} {
		damaged := strings.Replace(string(text), old, altered, 1)
		if damaged != string(text) {
			require.Error(t, durable.Unseal([]byte(damaged), &got), "%s for %s", altered, old)
		}
	}
	require.Error(t, durable.Unseal(nil, &got))
	_, err = durable.Seal(math.NaN())
	require.Error(t, err)
}

// Locks are of open files: a second one is refused in the same process too.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	_, held, err := durable.LockHolder(path)
	require.NoError(t, err)
	require.False(t, held)
	l, err := durable.TryLock(path, nil)
	require.NoError(t, err)
	_, err = durable.TryLock(path, nil)
	var locked *durable.LockedError
	require.ErrorAs(t, err, &locked)
	require.Equal(t, os.Getpid(), locked.Holder.PID)
	require.ErrorContains(t, err, fmt.Sprintf("%s is held by process %d on ", path, os.Getpid()))
	h, held, err := durable.LockHolder(path)
	require.NoError(t, err)
	require.True(t, held)
	require.Equal(t, locked.Holder, h)
	require.NoError(t, l.Release())
	_, held, err = durable.LockHolder(path)
	require.NoError(t, err)
	require.False(t, held)
	l, err = durable.TryLock(path, nil)
	require.NoError(t, err)
	require.NoError(t, l.Release())
}
