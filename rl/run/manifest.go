package run

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/internal/infile"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
)

// Config says what a run is and how its folder is kept.
type Config struct {
	// Dir is the folder; Start creates it if it does not exist. Required.
	Dir string

	// Settings is the configuration of the run: anything that encodes as JSON.
	Settings any
	// Data holds the digest of each data set under a name of your choice; see
	// DigestPath and rl.Digest.
	Data map[string]string
	// Seed is the run's seed.
	Seed uint64

	// Info is recorded, but not compared when the run is resumed: paths, versions.
	Info map[string]string
	// Keep says which checkpoints of each stage stay; the zero value keeps all.
	Keep checkpoint.Keep
	// Remove is that of checkpoint.Store: it deletes the policy's part of a
	// checkpoint that is not kept, if its reference is not a path.
	Remove func(ctx context.Context, ref string) error
	// Logger is told what was cut off, skipped or lost, and that the folder cannot be
	// locked; nil = no log.
	Logger *slog.Logger
}

// Validate returns an error that names the first invalid setting.
func (c *Config) Validate() error {
	if c.Dir == "" {
		return errors.New("run: Config.Dir is empty")
	}
	if err := c.Keep.Validate(); err != nil {
		return fmt.Errorf("run: Config.%w", err)
	}
	_, err := c.manifest()
	return err
}

// manifestFormat counts the changes of the folder's layout.
const manifestFormat = 1

// Manifest is the content of run.json.
type Manifest struct {
	// Format is the version of the folder's layout.
	Format int `json:"format"`
	// Version is the version of this module in the program that started the run; ""
	// if the program does not know it.
	Version string `json:"version"`
	// Created is when the run was started, in UTC and whole seconds.
	Created time.Time `json:"created"`
	// Seed, Settings, Data and Info are those of the Config.
	Seed     uint64            `json:"seed"`
	Settings json.RawMessage   `json:"settings"`
	Data     map[string]string `json:"data"`
	Info     map[string]string `json:"info,omitempty"`
}

func (c *Config) manifest() (Manifest, error) {
	settings, err := json.Marshal(c.Settings)
	if err != nil {
		return Manifest{}, fmt.Errorf("run: Config.Settings: %w", err)
	}
	m := Manifest{Format: manifestFormat, Version: version(), Created: time.Now().UTC().Truncate(time.Second), Seed: c.Seed, Settings: settings, Data: c.Data, Info: c.Info}
	return m, nil
}

// version is that of this module in the program.
func version() string {
	const module = "github.com/stepwise-rl/stepwise"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module {
			return m.Version
		}
	}
	return ""
}

// readManifest reads run.json. The error is ErrNoRun, wrapped, if there is none.
func readManifest(dir string) (m Manifest, err error) {
	path := filepath.Join(dir, manifestName)
	text, err := infile.Read(path, infile.NoLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("run: %s: %w: %s is missing", dir, ErrNoRun, manifestName)
	}
	if err != nil {
		return m, fmt.Errorf("run: %w", err)
	}
	if err := durable.Unseal(text, &m); err != nil {
		return m, fmt.Errorf("run: %s %w: %w", path, ErrDamaged, err)
	}
	if m.Format != manifestFormat {
		return m, fmt.Errorf("run: %s has format %d, want %d", path, m.Format, manifestFormat)
	}
	return m, nil
}

// identity is what must not change in a run.
type identity struct {
	Seed     uint64            `json:"seed"`
	Settings json.RawMessage   `json:"settings"`
	Data     map[string]string `json:"data"`
}

func (m *Manifest) identity() []byte {
	text, err := json.Marshal(identity{m.Seed, m.Settings, m.Data})
	if err != nil {
		panic("run: a manifest that was valid JSON is not: " + err.Error())
	}
	return text
}

// Digest returns the SHA-256, in hexadecimal, of seed, settings and data. Every checkpoint
// records it.
func (m *Manifest) Digest() string {
	sum := sha256.Sum256(m.identity())
	return hex.EncodeToString(sum[:])
}

// Difference is a setting, a data digest or a seed in which two runs differ.
type Difference struct {
	// Path says where it is: "settings.rl_lr".
	Path string
	// A and B are the values in the two runs, as JSON; "" in a run that has none.
	A, B string
}

// String returns "settings.rl_lr: 0.001 and 0.002".
func (d Difference) String() string {
	return fmt.Sprintf("%s: %s and %s", d.Path, cmp.Or(d.A, "none"), cmp.Or(d.B, "none"))
}

// Differences lists the settings, data digests and seeds in which m and o differ.
func (m *Manifest) Differences(o *Manifest) []Difference {
	a, b := *m, *o
	if len(a.Data) > 0 || len(b.Data) > 0 { // entries are named one by one, also if the other run has none
		a.Data, b.Data = entries(a.Data), entries(b.Data)
	}
	return differences("", decode(a.identity()), decode(b.identity()))
}

// entries is a map that is not nil.
func entries(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func decode(text []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		panic("run: a manifest that was valid JSON is not: " + err.Error())
	}
	return v
}

// differences walks two JSON values. Objects are compared member by member, all else
// as a whole.
func differences(path string, a, b any) (all []Difference) {
	x, ok1 := a.(map[string]any)
	y, ok2 := b.(map[string]any)
	if !ok1 || !ok2 {
		if s, t := encode(a), encode(b); s != t {
			all = append(all, Difference{path, s, t})
		}
		return all
	}
	names := maps.Clone(x)
	maps.Copy(names, y)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, differences(strings.TrimPrefix(path+"."+name, "."), x[name], y[name])...)
	}
	return all
}

func encode(v any) string {
	if v == nil {
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic("run: a value that was decoded from JSON does not encode: " + err.Error())
	}
	return string(text)
}

// DifferenceError is returned by Resume if the run was started with other settings, data
// or seed.
type DifferenceError struct {
	// Dir is the run's folder.
	Dir string
	// Differences have the run's value as A and that of the Config as B.
	Differences []Difference
}

// Error names all differences.
func (e *DifferenceError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "run: %s was started with something else:", e.Dir)
	for _, d := range e.Differences {
		fmt.Fprintf(&b, "\n  %s is now %s, the run has %s", d.Path, cmp.Or(d.B, "missing"), cmp.Or(d.A, "none"))
	}
	return b.String()
}

// DigestPath returns the SHA-256, in hexadecimal, of a regular file, or of a directory.
// That of a directory covers the names and contents of all files in it, at any depth.
// Anything else, such as a pipe, is an error.
func DigestPath(ctx context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("run: %w", err)
	}
	if !info.IsDir() {
		sum, _, err := durable.Checksum(ctx, path)
		if err != nil {
			return "", fmt.Errorf("run: %w", err)
		}
		return sum, nil
	}
	if path, err = filepath.EvalSymlinks(path); err != nil { // WalkDir enters no link
		return "", fmt.Errorf("run: %w", err)
	}
	h := sha256.New()
	err = filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(path, file)
		if err != nil {
			return err
		}
		sum, _, err := durable.Checksum(ctx, file)
		fmt.Fprintf(h, "%q %s\n", filepath.ToSlash(rel), sum)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("run: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
