//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package durable

import (
	"errors"
	"os"
)

// lock is an error: there are no locks here that end with their process.
func lock(*os.File, bool) error { return errors.ErrUnsupported }
