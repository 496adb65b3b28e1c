package durabletest

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

// Journal is a record of changes. Its paths are slash-separated and relative to the root.
type Journal struct {
	mu    sync.Mutex
	calls []durable.Call
}

// Record records all changes below root, which must be an empty directory, until stop
// is called. Syncs are recorded but not made.
func Record(root string) (j *Journal, stop func()) { return new(Journal).Continue(0, root) }

// Continue notes what a second process does after one that was killed after its first
// n calls, whose state (the first of States) has been written to root.
func (j *Journal) Continue(n int, root string) (next *Journal, stop func()) {
	next = &Journal{calls: slices.Clone(j.calls[:n])}
	return next, durable.Watch(func(c durable.Call) error {
		do := skipSync(c)
		var inside bool
		if c.Path, inside = below(root, c.Path); !inside {
			return do
		}
		c.To, _ = below(root, c.To)
		c.Data = bytes.Clone(c.Data)
		next.mu.Lock()
		defer next.mu.Unlock()
		next.calls = append(next.calls, c)
		return do
	})
}

// below returns a path as one from the root, and whether it is the root or in it.
func below(root, path string) (string, bool) {
	rel, err := filepath.Rel(root, path)
	rel = filepath.ToSlash(rel)
	return rel, path != "" && err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func skipSync(c durable.Call) error {
	if c.Op == durable.OpSync {
		return durable.ErrSkip
	}
	return nil
}

// SkipSyncs skips all syncs until stop is called. It makes recovering from many states
// faster.
func SkipSyncs() (stop func()) { return durable.Watch(skipSync) }

// Fail makes the call after the first n fail with err, and all later calls too if
// forever is set. A write that fails has written its first half. No syncs are made.
func Fail(n int, err error, forever bool) (stop func()) {
	var mu sync.Mutex
	return durable.Watch(func(c durable.Call) error {
		mu.Lock()
		defer mu.Unlock()
		n--
		switch {
		case n >= 0 || n < -1 && !forever:
			return skipSync(c)
		case c.Op == durable.OpWrite:
			return &durable.Torn{Bytes: len(c.Data) / 2, Err: &os.PathError{Op: "write", Path: c.Path, Err: err}}
		default:
			return &os.PathError{Op: string(c.Op), Path: c.Path, Err: err}
		}
	})
}

// Len returns the number of calls.
func (j *Journal) Len() int { return len(j.calls) }

// Call returns call n, counted from 0, with paths relative to the root.
func (j *Journal) Call(n int) durable.Call { return j.calls[n] }

// node is a file or a directory, as it is and as it was when it was last synced.
type node struct {
	dir          bool
	data, synced []byte
	names, kept  map[string]*node
}

func newDir() *node { return &node{dir: true, names: map[string]*node{}, kept: map[string]*node{}} }

// at returns the root after the first n calls.
func (j *Journal) at(n int) *node {
	root := newDir()
	for _, c := range j.calls[:n] {
		root.apply(c)
	}
	return root
}

// find returns the directory that a path is in, nil if it is not there.
func (root *node) find(path string) (dir *node, name string) {
	names := strings.Split(path, "/")
	for dir = root; len(names) > 1 && dir != nil; names = names[1:] {
		dir = dir.names[names[0]]
	}
	return dir, names[0]
}

func (root *node) apply(c durable.Call) {
	in, name := root.find(c.Path)
	if in == nil {
		return // the call has failed
	}
	x := in.names[name]
	if name == "." {
		x = root
	}
	switch c.Op {
	case durable.OpMkdir:
		if x == nil {
			in.names[name] = newDir()
		}
	case durable.OpCreate:
		if x == nil {
			in.names[name] = &node{}
		}
	case durable.OpWrite:
		x.data = append(bytes.Clone(x.data), c.Data...)
	case durable.OpTruncate:
		x.data = bytes.Clone(x.data[:c.Size])
	case durable.OpSync:
		if x != nil {
			x.synced, x.kept = x.data, maps.Clone(x.names)
		}
	case durable.OpRename:
		dst, as := root.find(c.To)
		dst.names[as] = x
		delete(in.names, name)
	case durable.OpRemove:
		delete(in.names, name)
	}
}

// State is what may be on the disk after a crash.
type State struct {
	// Name says what happened, for test failures.
	Name string
	root *node
	// content and entries choose what is left of a file and of a directory.
	content func(*node) []byte
	entries func(*node) map[string]*node
}

// States returns what may be on the disk if the program is killed, or the power fails,
// after the first n calls or in the middle of the next. After a power failure any part
// of what was not synced may be lost, and content that was not synced may be zeros.
func (j *Journal) States(n int) []State {
	root := j.at(n)
	data := func(x *node) []byte { return x.data }
	names := func(x *node) map[string]*node { return x.names }
	synced := func(x *node) []byte { return x.synced }
	kept := func(x *node) map[string]*node { return x.kept }
	states := []State{
		{"killed", root, data, names},
		{"power failed, only what was synced is there", root, synced, kept},
		{"power failed, names are there, content is not", root, synced, names},
	}
	if n < len(j.calls) && j.calls[n].Op == durable.OpWrite {
		torn := j.at(n)
		c := j.calls[n]
		c.Data = c.Data[:len(c.Data)/2]
		torn.apply(c)
		states = append(states, State{"killed within a write", torn, data, names})
	}
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(uint64(n), seed))
		states = append(states, State{"power failed, some is there", root,
			func(x *node) []byte { return some(rng, x) },
			func(x *node) map[string]*node { return someNames(rng, x) }})
	}
	return states
}

// some returns what may be left of a file.
func some(rng *rand.Rand, x *node) []byte {
	if len(x.data) <= len(x.synced) {
		return [][]byte{x.data, x.synced}[rng.IntN(2)]
	}
	from := len(x.synced)
	switch rng.IntN(4) {
	case 0:
		return x.synced
	case 1:
		return x.data[:from+rng.IntN(len(x.data)-from)]
	case 2:
		return append(bytes.Clone(x.synced), make([]byte, len(x.data)-from)...)
	}
	return x.data
}

// someNames returns the names that may be left of a directory: each change since the
// last sync may be there or not.
func someNames(rng *rand.Rand, x *node) map[string]*node {
	all := maps.Clone(x.names)
	maps.Copy(all, x.kept)
	left := map[string]*node{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		from := []map[string]*node{x.names, x.kept}[rng.IntN(2)]
		if c, ok := from[name]; ok {
			left[name] = c
		}
	}
	return left
}

// Write creates the state in a directory.
func (s State) Write(dir string) error { return s.write(dir, s.root) }

func (s State) write(path string, x *node) error {
	if !x.dir {
		return os.WriteFile(path, s.content(x), 0o666)
	}
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	entries := s.entries(x)
	for _, name := range slices.Sorted(maps.Keys(entries)) { // the same order draws the same numbers
		if err := s.write(filepath.Join(path, name), entries[name]); err != nil {
			return err
		}
	}
	return nil
}
