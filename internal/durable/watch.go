package durable

import (
	"errors"
	"sync/atomic"
)

// Op is a kind of change of the file system.
type Op string

// All changes that this package makes.
const (
	OpMkdir    Op = "mkdir"
	OpCreate   Op = "create"
	OpWrite    Op = "write"
	OpTruncate Op = "truncate"
	OpSync     Op = "sync" // of a file or a directory
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
)

// Call is a change that is about to be made.
type Call struct {
	Op   Op
	Path string // what is changed
	To   string // the new name, of OpRename
	Data []byte // what OpWrite appends; valid until the watcher returns
	Size int64  // what OpTruncate leaves
}

// ErrSkip, returned by a watcher, skips the call and reports success. It is meant for
// syncs, which are slow and which a test without a power failure does not need.
var ErrSkip = errors.New("skip")

// Torn, returned by a watcher, makes a write fail with Err after its first Bytes bytes.
type Torn struct {
	Bytes int
	Err   error
}

// Error returns the text of Err.
func (t *Torn) Error() string { return t.Err.Error() }

// Unwrap returns Err.
func (t *Torn) Unwrap() error { return t.Err }

var watcher atomic.Pointer[func(Call) error]

// Watch is for tests. Until stop is called, f is called before every change that this
// package makes, in any goroutine; if it returns an error, the change is not made and
// fails with that error. Watch panics if there is a watcher already.
func Watch(f func(Call) error) (stop func()) {
	if !watcher.CompareAndSwap(nil, &f) {
		panic("durable: a second watcher")
	}
	return func() { watcher.Store(nil) }
}

// announce asks the watcher about a call, and reports whether to make it.
func announce(c Call) (do bool, err error) {
	f := watcher.Load()
	if f == nil {
		return true, nil
	}
	if err := (*f)(c); errors.Is(err, ErrSkip) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, nil
}
