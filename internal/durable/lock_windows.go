package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock takes a lock on an open file, alone or together with other lookers, which
// ends when the file is closed. The locked byte is far behind the content, because
// nobody else could read a locked one.
func lock(f *os.File, alone bool) error {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if alone {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	at := windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errHeld
	}
	return err
}
