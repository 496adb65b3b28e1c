package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/rl/checkpoint"
)

// Compare describes how two runs differ, one difference a line: settings, data and
// seed; per stage the first training step with different metrics (but for those of times
// and of what servers did, under "time/", "async/", "engine/", "tinker/" and "judge/") and
// whether the last checkpoints hold the same policy; artefacts. Equal runs have no lines.
func Compare(ctx context.Context, a, b *Folder) (lines []string, err error) {
	for _, d := range a.manifest.Differences(&b.manifest) {
		lines = append(lines, d.String())
	}
	stages, err := union(a.Stages, b.Stages)
	if err != nil {
		return nil, err
	}
	for _, s := range stages {
		for _, compare := range []func(context.Context, string, *Folder, *Folder) (string, error){compareMetrics, compareCheckpoints} {
			line, err := compare(ctx, s, a, b)
			if err != nil {
				return nil, err
			}
			if line != "" {
				lines = append(lines, "stage "+s+": "+line)
			}
		}
	}
	names, err := union(a.Artefacts, b.Artefacts)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		x, err1 := a.Artefact(name)
		y, err2 := b.Artefact(name)
		switch missing1, missing2 := errors.Is(err1, fs.ErrNotExist), errors.Is(err2, fs.ErrNotExist); {
		case missing1 && missing2:
		case missing1 != missing2:
			lines = append(lines, "artefact "+name+": only in "+only(missing2, a, b))
		case err1 != nil || err2 != nil:
			return nil, errors.Join(err1, err2)
		case checksum(x) != checksum(y):
			lines = append(lines, "artefact "+name+": differs")
		}
	}
	return lines, nil
}

func union(a, b func() ([]string, error)) ([]string, error) {
	x, err1 := a()
	y, err2 := b()
	all := append(x, y...)
	slices.Sort(all)
	return slices.Compact(all), errors.Join(err1, err2)
}

func only(first bool, a, b *Folder) string {
	if first {
		return a.dir
	}
	return b.dir
}

// compareMetrics finds the first training step whose metrics differ.
func compareMetrics(_ context.Context, stage string, a, b *Folder) (string, error) {
	nextA, stopA := iter.Pull2(a.Lines(stage, Metrics))
	defer stopA()
	nextB, stopB := iter.Pull2(b.Lines(stage, Metrics))
	defer stopB()
	for steps := 0; ; steps++ {
		x, err1, ok1 := nextA()
		y, err2, ok2 := nextB()
		if err := errors.Join(err1, err2); err != nil {
			return "", err
		}
		switch {
		case !ok1 && !ok2:
			return "", nil
		case ok1 != ok2:
			return fmt.Sprintf("metrics end after %d steps, and go on only in %s", steps, only(ok1, a, b)), nil
		case x.Step != y.Step:
			return fmt.Sprintf("metrics of step %d in %s, of step %d in %s", x.Step, a.dir, y.Step, b.dir), nil
		}
		m, err1 := ParseMetrics(x)
		n, err2 := ParseMetrics(y)
		if err := errors.Join(err1, err2); err != nil {
			return "", err
		}
		if names := differing(m, n); len(names) > 0 {
			return fmt.Sprintf("metrics differ from step %d on: %s", x.Step, strings.Join(names, ", ")), nil
		}
	}
}

// incidental are the groups of metrics in which runs with equal bits differ.
var incidental = []string{"time", "async", "engine", "tinker", "judge"}

// differing lists the metrics that differ, with their values.
func differing(m, n map[string]float64) (names []string) {
	all := maps.Clone(m)
	maps.Copy(all, n)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, ok1 := m[name]
		y, ok2 := n[name]
		if group, _, ok := strings.Cut(name, "/"); ok && slices.Contains(incidental, group) || ok1 == ok2 && (x == y || x != x && y != y) {
			continue
		}
		names = append(names, fmt.Sprintf("%s %s and %s", name, value(x, ok1), value(y, ok2)))
	}
	return names
}

func value(x float64, ok bool) string {
	if !ok {
		return "none"
	}
	return fmt.Sprint(x)
}

func compareCheckpoints(ctx context.Context, stage string, a, b *Folder) (string, error) {
	x, err1 := a.Checkpoints(stage).Latest(ctx)
	y, err2 := b.Checkpoints(stage).Latest(ctx)
	none1, none2 := errors.Is(err1, checkpoint.ErrNone), errors.Is(err2, checkpoint.ErrNone)
	switch {
	case none1 && none2:
		return "", nil
	case none1 != none2:
		return "checkpoints only in " + only(none2, a, b), nil
	case err1 != nil || err2 != nil:
		return "", errors.Join(err1, err2)
	case x.Step != y.Step:
		return fmt.Sprintf("the last checkpoint is of step %d in %s, of step %d in %s", x.Step, a.dir, y.Step, b.dir), nil
	case !maps.Equal(x.Files, y.Files):
		return fmt.Sprintf("the policies differ in the checkpoints of step %d", x.Step), nil
	}
	return "", nil
}
