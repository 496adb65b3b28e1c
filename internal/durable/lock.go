package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

// Holder is the process that holds a lock. It is zero if it is not known.
type Holder struct {
	PID  int    `json:"pid"`
	Host string `json:"host"`
	// Since is when it took the lock, to the second.
	Since time.Time `json:"since"`
}

// String is for errors: "process 12 on host, since 15:04:05".
func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s, since %s", h.PID, h.Host, h.Since.Format(time.DateTime))
}

// LockedError is returned by TryLock if the lock is held already.
type LockedError struct {
	Path   string
	Holder Holder
}

// Error says who holds the lock.
func (e *LockedError) Error() string { return fmt.Sprintf("%s is held by %s", e.Path, e.Holder) }

// Lock is a lock that this process holds.
type Lock struct{ f *os.File }

// errHeld is what lock returns if another open file has the lock.
var errHeld = errors.New("held")

// patience is for how long TryLock tries: somebody may just be looking.
const patience = 100 * time.Millisecond

// TryLock locks a file, or returns a *[LockedError] if it is locked. It creates the file
// if it does not exist and writes the holder into it. The system releases the lock when
// the process ends, however it ends; the file stays. Where the system or the file system
// has no such locks, as Lustre and NFS may be mounted, TryLock only writes the file and
// warns log, if that is not nil.
func TryLock(path string, log *slog.Logger) (*Lock, error) {
	f, err := openLock(path, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o666); errors.Is(err, fs.ErrExist) {
			f, err = openLock(path, os.O_RDWR)
		}
	}
	if err != nil {
		return nil, err
	}
	for start := time.Now(); ; time.Sleep(patience / 10) {
		if err = lock(f, true); !errors.Is(err, errHeld) || time.Since(start) > patience {
			break
		}
	}
	if errors.Is(err, errHeld) {
		err = &LockedError{path, holder(path)}
	}
	if errors.Is(err, errors.ErrUnsupported) {
		if log != nil {
			log.Warn("the file system has no locks: see to it that no other process writes here", "path", path, "error", err)
		}
		err = nil
	}
	if err == nil {
		err = sign(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{f}, nil
}

// openLock opens a lock's file, and not what a symbolic link of its name is to.
func openLock(path string, flag int) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if err := infile.CheckMode(path, info.Mode()); err != nil {
		return nil, err
	}
	return os.OpenFile(path, flag, 0)
}

// sign writes who holds the lock into its file.
func sign(f *os.File) error {
	host, _ := os.Hostname() // only a remark
	text, err := json.Marshal(Holder{os.Getpid(), host, time.Now().Truncate(time.Second)})
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	return err
}

func holder(path string) (h Holder) {
	text, err := infile.Read(path, 1<<16)
	if err != nil || json.Unmarshal(text, &h) != nil {
		return Holder{} // it is just being written
	}
	return h
}

// Release releases the lock. The file stays.
func (l *Lock) Release() error { return l.f.Close() }

// LockHolder reports whether a file is locked, and by whom. A file that does not exist is
// not locked, and none is where there are no locks.
func LockHolder(path string) (h Holder, held bool, err error) {
	f, err := openLock(filepath.Clean(path), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return Holder{}, false, nil
	}
	if err != nil {
		return Holder{}, false, err
	}
	defer f.Close()
	switch err := lock(f, false); {
	case errors.Is(err, errHeld):
		return holder(path), true, nil
	case errors.Is(err, errors.ErrUnsupported):
		return Holder{}, false, nil
	default:
		return Holder{}, false, err
	}
}
