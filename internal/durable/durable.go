package durable

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

// File is a file open for writing at its end.
type File struct {
	f      *os.File
	size   int64
	failed error // of an Add that could not be undone
}

// Create creates a file. It is an error if anything has that name already, even a
// symbolic link.
func Create(path string) (*File, error) {
	if _, err := announce(Call{Op: OpCreate, Path: path}); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	return &File{f: f}, nil
}

// Append opens a file to write at its end, and creates it if it does not exist. It is an
// error if path is not a regular file; symbolic links are not followed.
func Append(path string) (*File, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Create(path)
	}
	if err != nil {
		return nil, err
	}
	if err := infile.CheckMode(path, info.Mode()); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	return &File{f: f, size: info.Size()}, nil
}

// Write appends p in one call to the system.
func (f *File) Write(p []byte) (int, error) {
	_, err := announce(Call{Op: OpWrite, Path: f.f.Name(), Data: p})
	if torn, ok := errors.AsType[*Torn](err); ok {
		_, werr := f.f.Write(p[:torn.Bytes])
		f.size += int64(torn.Bytes)
		return torn.Bytes, errors.Join(werr, err)
	}
	if err != nil {
		return 0, err
	}
	n, err := f.f.Write(p)
	f.size += int64(n)
	return n, err
}

// Add appends p as a whole or not at all: after an error the file is as it was. If
// what was written cannot be cut off again, all later calls of Add fail, so that
// nothing is written behind half a record. It is an error if another file, or none, has
// the file's name by now, as after a checkout of git: nobody would find what is written.
func (f *File) Add(p []byte) error {
	if f.failed != nil {
		return f.failed
	}
	if err := f.named(); err != nil {
		return err
	}
	size := f.size
	_, err := f.Write(p)
	if err == nil {
		return nil
	}
	if terr := f.Truncate(size); terr != nil {
		f.failed = errors.Join(err, terr)
		return f.failed
	}
	return err
}

// named returns an error unless the file still has its name.
func (f *File) named() error {
	open, err := f.f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(f.f.Name())
	if err == nil && !os.SameFile(open, named) {
		err = fmt.Errorf("%s has been replaced while it was open: what is written here would be lost", f.f.Name())
	}
	return err
}

// Truncate is the function [Truncate] for an open file. It is an error if another file,
// or none, has its name.
func (f *File) Truncate(size int64) error {
	// By name, because Windows cuts no file through a handle that only appends.
	if err := f.named(); err != nil {
		return err
	}
	if err := Truncate(f.f.Name(), size); err != nil {
		return err
	}
	f.size = size
	return nil
}

// Sync makes what was written survive a power failure.
func (f *File) Sync() error {
	if do, err := announce(Call{Op: OpSync, Path: f.f.Name()}); err != nil || !do {
		return err
	}
	return f.f.Sync()
}

// Close closes the file without syncing it.
func (f *File) Close() error { return f.f.Close() }

// Truncate cuts a file to its first size bytes and syncs it.
func Truncate(path string, size int64) error {
	if _, err := announce(Call{Op: OpTruncate, Path: path, Size: size}); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	w := &File{f: f}
	return errors.Join(f.Truncate(size), w.Sync(), w.Close())
}

// Sync makes the content of a file, or the names in a directory, survive a power
// failure. On Windows it does nothing: there only files open for writing can be synced.
// Nor does it for a directory of a file system that syncs none, such as the shared
// folders of virtual machines.
func Sync(path string) error {
	if do, err := announce(Call{Op: OpSync, Path: path}); err != nil || !do || runtime.GOOS == "windows" {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		if info, serr := f.Stat(); serr == nil && info.IsDir() {
			err = nil
		}
	}
	return errors.Join(err, f.Close())
}

// Rename gives a file or directory another name. The caller syncs the directories.
func Rename(from, to string) error {
	if _, err := announce(Call{Op: OpRename, Path: from, To: to}); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// Remove deletes a file or an empty directory. The caller syncs its directory.
func Remove(path string) error {
	if _, err := announce(Call{Op: OpRemove, Path: path}); err != nil {
		return err
	}
	return os.Remove(path)
}

// RemoveAll deletes a file, or a directory with everything in it. It is no error if
// there is none.
func RemoveAll(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := RemoveAll(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return Remove(path)
}

// MkdirAll creates a directory and all missing ones above it, and syncs the parent of
// each, so that they are still there after a power failure.
func MkdirAll(path string) error {
	switch info, err := os.Stat(path); {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("there is a file of that name")}
	case err == nil:
		// Perhaps made by a process that was killed before it synced. Who may
		// not look into the directory above has not made it.
		if err := Sync(filepath.Dir(path)); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	above := filepath.Dir(path)
	if above == path {
		return &fs.PathError{Op: "mkdir", Path: path, Err: fs.ErrNotExist}
	}
	if err := MkdirAll(above); err != nil {
		return err
	}
	if err := mkdir(path); errors.Is(err, fs.ErrExist) {
		// Somebody else's, or a symbolic link to nothing.
		if info, serr := os.Stat(path); serr != nil || !info.IsDir() {
			return err
		}
	} else if err != nil {
		return err
	}
	return Sync(above)
}

func mkdir(path string) error {
	if _, err := announce(Call{Op: OpMkdir, Path: path}); err != nil {
		return err
	}
	return os.Mkdir(path, 0o777)
}

// TempDir creates a directory beside path, to be filled and then renamed to path. It is
// called .NAME.RANDOM.tmp.
func TempDir(path string) (string, error) {
	tmp := temporary(path)
	return tmp, mkdir(tmp)
}

// temporary returns a new name beside path.
func temporary(path string) string {
	dir, name := filepath.Split(path)
	return filepath.Join(dir, fmt.Sprintf(".%s.%016x.tmp", name, rand.Uint64()))
}

// Write creates a file with what write writes, and syncs it. It is not atomic: use it for
// files in a directory of TempDir.
func Write(path string, write func(w io.Writer) error) (err error) {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// ReplaceFile creates or replaces the file at path, atomically. It first writes
// .NAME.RANDOM.tmp beside it, which a crash can leave behind.
func ReplaceFile(path string, data []byte) error {
	return Replace(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Replace is ReplaceFile for content that a function writes.
func Replace(path string, write func(w io.Writer) error) error {
	tmp := temporary(path)
	err := Write(tmp, write)
	if err == nil {
		err = Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(tmp))
	}
	return Sync(filepath.Dir(path))
}

func removeIfThere(path string) error {
	if err := Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ReplaceDir renames the directory tmp to dir and removes the directory that was there
// before. That takes two renames; a crash between them leaves the earlier directory,
// complete, as tmp with ".old" added.
func ReplaceDir(dir, tmp string) error {
	old := tmp + ".old"
	_, err := os.Lstat(dir)
	replaced := err == nil
	if replaced {
		if err := Rename(dir, old); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := Rename(tmp, dir); err != nil {
		if replaced {
			err = errors.Join(err, Rename(old, dir))
		}
		return err
	}
	if err := Sync(filepath.Dir(dir)); err != nil {
		return err
	}
	return RemoveAll(old)
}

// Checksum returns the SHA-256 of a regular file in hexadecimal, and its size in bytes.
// It stops early if the context ends.
func Checksum(ctx context.Context, path string) (sum string, size int64, err error) {
	f, _, err := infile.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.CopyBuffer(h, reader{ctx, f}, make([]byte, 1<<20))
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// reader stops when its context does.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
