package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

// id is a checkpoint's name in numbers.
type id struct {
	serial int64 // place in the order of saving, from 1
	step   int64
}

func (i id) String() string { return fmt.Sprintf("%06d-step-%d", i.serial, i.step) }

// manifestEnd is what the name of a manifest adds to the checkpoint's.
const manifestEnd = ".manifest.json"

// lockName is the file that is locked during Save.
const lockName = ".lock"

func (s *Store) manifestPath(name string) string { return filepath.Join(s.Dir, name+manifestEnd) }

// ours matches the names in the directory that are the store's: a checkpoint's
// name, perhaps with an ending, and hidden while it is being written.
var ours = regexp.MustCompile(`^\.?(([0-9]{6,})-step-([0-9]+))(\..*)?$`)

// parseID returns the id of a checkpoint's name.
func parseID(name string) (id, bool) {
	match := ours.FindStringSubmatch(name)
	if match == nil {
		return id{}, false
	}
	serial, err1 := strconv.ParseInt(match[2], 10, 64)
	step, err2 := strconv.ParseInt(match[3], 10, 64)
	i := id{serial, step}
	return i, err1 == nil && err2 == nil && i.String() == name
}

// ids returns the checkpoints that have a manifest, in the order of saving.
func (s *Store) ids() ([]id, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var all []id
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), manifestEnd)
		if !ok {
			continue
		}
		if i, ok := parseID(name); ok {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b id) int {
		return cmp.Or(cmp.Compare(a.serial, b.serial), cmp.Compare(a.step, b.step))
	})
	return all, nil
}

// tidy removes what a crash left behind: all files of the store that belong to no
// manifest. It returns the checkpoints.
func (s *Store) tidy() ([]id, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	whole := make(map[string]bool, len(ids))
	for _, i := range ids {
		whole[i.String()] = true
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		match := ours.FindStringSubmatch(e.Name())
		if match == nil || whole[match[1]] && e.Name()[0] != '.' {
			continue
		}
		if err := durable.RemoveAll(filepath.Join(s.Dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
