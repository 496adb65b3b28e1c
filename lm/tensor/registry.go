package tensor

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

var (
	// ErrNoDevice says that a backend cannot be opened here: its driver is not
	// installed, or has no such device. Use another backend.
	ErrNoDevice = errors.New("no such device")
	// ErrOutOfMemory says that a buffer or a kernel's scratch memory did not fit
	// into the device's memory or the limit it was opened with. The error that
	// wraps it says what asked for how much. After Sync has cleared it the
	// backend works on, with less to hold.
	ErrOutOfMemory = errors.New("out of memory")
	// ErrDeviceLost says that the device failed, for instance by an illegal
	// address or a reset. Every later operation fails with it, after Sync too,
	// and all buffers are gone: Close the backend and open another.
	ErrDeviceLost = errors.New("device lost")
)

// Options says how a backend is opened. The zero value is its default: the
// first device, exact float32, all of the memory.
type Options struct {
	// Device is the number of the device, from 0. Each opened device is a backend
	// of its own; one device may be opened several times.
	Device int
	// Precision is that of products.
	Precision Precision
	// MemoryLimit is the most bytes of device memory to hold; 0 means what the
	// device has.
	MemoryLimit int64
	// Settings are those of one kind of backend alone. It refuses a key that it
	// does not know.
	Settings map[string]string
}

// Validate returns an error that names the first invalid field.
func (o Options) Validate() error {
	switch {
	case o.Device < 0:
		return fmt.Errorf("tensor: Options.Device is %d, want at least 0", o.Device)
	case o.Precision < PrecisionFloat32 || o.Precision > PrecisionBFloat16:
		return fmt.Errorf("tensor: Options.Precision is %v, want float32, tf32 or bf16", o.Precision)
	case o.MemoryLimit < 0:
		return fmt.Errorf("tensor: Options.MemoryLimit is %d, want at least 0", o.MemoryLimit)
	}
	return nil
}

// OnHost returns an error unless o is the zero value. It is for backends that run
// on the host's processor, and have nothing to choose.
func (o Options) OnHost() error {
	if o.Device != 0 || o.Precision != PrecisionFloat32 || o.MemoryLimit != 0 || len(o.Settings) > 0 {
		return errors.New("it has one device, float32 and the host's memory, so it takes no options")
	}
	return nil
}

var (
	registryMu sync.RWMutex
	registry   = make(map[string]func(Options) (Backend, error))
)

// Register makes a backend available to Open by name, which holds no colon and no
// comma. A backend's package calls it in init. It panics if open is nil, or if
// the name is empty, malformed or taken. open gets valid options, and returns an
// error for those that it does not have.
func Register(name string, open func(Options) (Backend, error)) {
	registryMu.Lock()
	defer registryMu.Unlock()
	if name == "" {
		panic("tensor: Register with an empty name")
	}
	if strings.ContainsAny(name, ":,") {
		panic("tensor: Register of " + name + ", a name with a colon or comma")
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

// Open returns a new instance of a registered backend. The specification is its
// name, and then, if it is not to be the default, a colon and the number of the
// device, and after commas settings as key=value: the precision (float32, tf32,
// bf16), the memory limit (bytes, or with the suffix MiB or GiB), and those of the
// backend. Examples:
//
//	cpu
//	cpu,precision=bf16
//	cuda:1
//	cuda:0,precision=bf16,memory=60GiB
//
// If the name is unknown, the error lists the known ones and shows the import that
// registers one; any other error is the backend's, for instance [ErrNoDevice].
func Open(spec string) (Backend, error) {
	name, o, err := parse(spec)
	if err != nil {
		return nil, fmt.Errorf("tensor: open backend %q: %w", spec, err)
	}
	registryMu.RLock()
	open := registry[name]
	registryMu.RUnlock()
	if open == nil {
		return nil, fmt.Errorf("tensor: unknown backend %q; registered: [%s]. A program imports the package of each backend that it uses, as in: import _ %q",
			name, strings.Join(Names(), " "), cpuPackage)
	}
	b, err := open(o)
	if err != nil {
		return nil, fmt.Errorf("tensor: open backend %q: %w", spec, err)
	}
	return b, nil
}

// parse splits a specification.
func parse(spec string) (name string, o Options, err error) {
	head, rest, more := strings.Cut(spec, ",")
	name, device, hasDevice := strings.Cut(head, ":")
	if hasDevice {
		if o.Device, err = strconv.Atoi(device); err != nil || o.Device < 0 {
			return "", Options{}, fmt.Errorf("device %q, want a number from 0", device)
		}
	}
	for more {
		var setting string
		setting, rest, more = strings.Cut(rest, ",")
		key, value, ok := strings.Cut(setting, "=")
		if !ok || key == "" || value == "" {
			return "", Options{}, fmt.Errorf("setting %q, want key=value", setting)
		}
		switch key {
		case "precision":
			err = o.Precision.UnmarshalText([]byte(value))
		case "memory":
			o.MemoryLimit, err = parseBytes(value)
		default:
			if _, twice := o.Settings[key]; twice {
				err = fmt.Errorf("setting %s is given twice", key)
			}
			if o.Settings == nil {
				o.Settings = make(map[string]string)
			}
			o.Settings[key] = value
		}
		if err != nil {
			return "", Options{}, err
		}
	}
	return name, o, nil
}

// parseBytes reads a positive number of bytes, MiB or GiB.
func parseBytes(text string) (int64, error) {
	number, shift := text, 0
	if s, ok := strings.CutSuffix(text, "GiB"); ok {
		number, shift = s, 30
	} else if s, ok := strings.CutSuffix(text, "MiB"); ok {
		number, shift = s, 20
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || n > 1<<62>>shift {
		return 0, fmt.Errorf("memory %q, want a number of bytes such as 60GiB, 512MiB or 1000000", text)
	}
	return n << shift, nil
}

// Names returns the names of the registered backends, sorted.
func Names() []string {
	registryMu.RLock()
	defer registryMu.RUnlock()
	return slices.Sorted(maps.Keys(registry))
}

// Close waits for b's operations and releases its resources and all its buffers,
// if it is an io.Closer; otherwise it does nothing. b must not be used afterwards;
// closing it again does nothing.
func Close(b Backend) error {
	if c, ok := b.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
