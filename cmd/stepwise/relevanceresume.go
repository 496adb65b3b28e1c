package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// taskDigest is the task file's name among a run's data.
const taskDigest = "task file"

// anotherTask begins the error about a run that was started with something else with the
// task file, where that is another or has changed. To that about a run that has begun it
// adds the flags.
func anotherTask(err error, dir, path string) error {
	if errors.Is(err, run.ErrBegun) {
		return fmt.Errorf("%w (with -resume, or with another -out)", err)
	}
	different, ok := errors.AsType[*run.DifferenceError](err)
	if !ok || !slices.ContainsFunc(different.Differences, func(d run.Difference) bool { return d.Path == "data."+taskDigest }) {
		return err
	}
	_, info, bad := relevance.RunConfig(dir)
	switch was := info["task"]; {
	case bad != nil:
		return err
	case filepath.Base(was) != filepath.Base(path):
		return fmt.Errorf("another task: the run in %s is of %s, not of %s; resume it with its own, or begin a run in another folder (%w)", dir, was, path, err)
	default:
		return fmt.Errorf("the task file %s has changed since the run in %s began; put it back, or begin a run in another folder (%w)", path, dir, err)
	}
}
