package tensor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

var (
	registryMu sync.RWMutex
	registry   = make(map[string]func() (Backend, error))
)

// Register makes a backend available to Open by name. A backend's package
// calls it in init. It panics if open is nil, if name is empty, or if the
// name is taken.
func Register(name string, open func() (Backend, error)) {
	registryMu.Lock()
	defer registryMu.Unlock()
	if name == "" {
		panic("tensor: Register with an empty name")
	}
	if open == nil {
		panic("tensor: Register of " + name + " with a nil function")
	}
	if _, dup := registry[name]; dup {
		panic("tensor: Register called twice for backend " + name)
	}
	registry[name] = open
}

// cpuPackage registers the backend "cpu".
const cpuPackage = "github.com/stepwise-rl/stepwise/lm/tensor/cpu"

// Open returns a new instance of the backend registered as name. If the name is
// unknown, the error lists the known ones and shows the import that registers one; any
// other error is the backend's, for instance that its device is absent.
func Open(name string) (Backend, error) {
	registryMu.RLock()
	open := registry[name]
	registryMu.RUnlock()
	if open == nil {
		return nil, fmt.Errorf("tensor: unknown backend %q; registered: [%s]. A program imports the package of each backend that it uses, as in: import _ %q",
			name, strings.Join(Names(), " "), cpuPackage)
	}
	b, err := open()
	if err != nil {
		return nil, fmt.Errorf("tensor: open backend %q: %w", name, err)
	}
	return b, nil
}

// Names returns the names of the registered backends, sorted.
func Names() []string {
	registryMu.RLock()
	defer registryMu.RUnlock()
	return slices.Sorted(maps.Keys(registry))
}
