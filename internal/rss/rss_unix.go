//go:build unix

// Package rss knows how much memory the process has taken.
package rss

import (
	"runtime"
	"syscall"
)

// Peak is the largest resident set of the process so far, in bytes.
func Peak() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(u.Maxrss) // bytes there, kilobytes elsewhere
	}
	return int64(u.Maxrss) << 10
}
