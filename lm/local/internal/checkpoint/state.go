package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

const stateFile = "state.json"

// stateFormat counts the changes of a checkpoint's layout.
const stateFormat = 1

// state is what stateFile holds.
type state struct {
	Format  int   `json:"format"`
	Version int64 `json:"version"`
	Steps   int   `json:"optimizer_steps"`
	// SHA256 holds the checksums of the other files.
	SHA256 map[string]string `json:"sha256"`
}

// writeState writes stateFile, with the sums of the given files, which are in
// dir, and of the moments.
func writeState(ctx context.Context, dir string, s state, files ...string) error {
	s.Format, s.SHA256 = stateFormat, map[string]string{}
	for _, name := range append(files, momentsFile) {
		sum, _, err := durable.Checksum(ctx, filepath.Join(dir, name))
		if err != nil {
			return err
		}
		s.SHA256[name] = sum
	}
	return durable.Write(filepath.Join(dir, stateFile), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	})
}

// readState reads stateFile and checks the sums of the given files and of the
// moments.
func readState(ctx context.Context, dir string, files ...string) (state, error) {
	path := filepath.Join(dir, stateFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return state{}, fmt.Errorf("%s: %w", path, err)
	}
	if s.Format != stateFormat {
		return state{}, fmt.Errorf("%s: format is %d, want %d", path, s.Format, stateFormat)
	}
	if s.Version < 0 || s.Steps < 0 {
		return state{}, fmt.Errorf("%s: version is %d and optimizer_steps is %d, want neither negative", path, s.Version, s.Steps)
	}
	for _, name := range append(files, momentsFile) {
		sum, _, err := durable.Checksum(ctx, filepath.Join(dir, name))
		if err != nil {
			return state{}, err
		}
		if sum != s.SHA256[name] {
			return state{}, fmt.Errorf("%s is damaged: its SHA-256 is not the one in %s", filepath.Join(dir, name), stateFile)
		}
	}
	return s, nil
}
