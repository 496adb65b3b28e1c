package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

// Keep says which checkpoints stay: those that Last, Every or Best selects, and
// always the last one. The zero value keeps all.
type Keep struct {
	// Last is how many of the last checkpoints stay; 0 = 1.
	Last int
	// Every keeps the checkpoints whose training step is a multiple of it; 0 = none.
	Every int64
	// Best is how many checkpoints with the best values of Metric stay. Of equal
	// values the earlier is better. Checkpoints without the metric do not count.
	Best int
	// Metric is the name of one of the training step's metrics: "reward/0", or
	// "eval/accuracy" if checkpoints and evaluations fall on the same steps.
	Metric string
	// Lower says that lower values of Metric are better.
	Lower bool
}

// Validate returns an error that names the first invalid setting.
func (k Keep) Validate() error {
	switch {
	case k.Last < 0 || k.Every < 0 || k.Best < 0:
		return fmt.Errorf("Keep is %+v, want no negative number", k)
	case k.Best > 0 && k.Metric == "":
		return errors.New("Keep.Best needs Keep.Metric")
	case k.Best == 0 && (k.Metric != "" || k.Lower):
		return errors.New("Keep.Metric and Keep.Lower need Keep.Best")
	}
	return nil
}

// choose reports for each checkpoint, in the order of saving, whether it stays.
func (k Keep) choose(all []Checkpoint) []bool {
	stay := make([]bool, len(all))
	for i, c := range all {
		stay[i] = k == Keep{} || i >= len(all)-max(k.Last, 1) || k.Every > 0 && c.Step%k.Every == 0
	}
	if k.Best == 0 {
		return stay
	}
	var ranked []int
	for i, c := range all {
		if _, ok := c.Metrics[k.Metric]; ok {
			ranked = append(ranked, i)
		}
	}
	slices.SortStableFunc(ranked, func(i, j int) int {
		a, b := all[i].Metrics[k.Metric], all[j].Metrics[k.Metric]
		switch {
		case a == b:
			return 0
		case (a > b) != k.Lower:
			return -1
		default:
			return 1
		}
	})
	for _, i := range ranked[:min(k.Best, len(ranked))] {
		stay[i] = true
	}
	return stay
}

// prune removes the checkpoints that are not kept: first the whole ones, then the
// damaged ones, which nobody can go back to, before as many whole ones as Last says
// (at least one).
func (s *Store) prune(ctx context.Context) error {
	if s.Keep == (Keep{}) {
		return nil
	}
	all, err := s.List()
	if err != nil {
		return err
	}
	var whole, damaged []Checkpoint
	for _, c := range all {
		if c.Damage == nil {
			whole = append(whole, c)
		}
	}
	enough := len(whole) - max(s.Keep.Last, 1)
	for _, c := range all {
		if c.Damage != nil && enough >= 0 && c.serial() < whole[enough].serial() {
			damaged = append(damaged, c)
		}
	}
	for i, stays := range s.Keep.choose(whole) {
		if stays {
			continue
		}
		if err := s.remove(ctx, whole[i]); err != nil {
			return err
		}
	}
	for _, c := range damaged {
		s.log().Warn("removing a damaged checkpoint", "checkpoint", c.Name, "damage", c.Damage)
		if err := s.remove(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a checkpoint: first its manifest, for good, then everything else
// of it. What the policy saved of a damaged one elsewhere stays there, because its
// reference is unknown.
func (s *Store) remove(ctx context.Context, c Checkpoint) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var m *manifest
	if c.Damage == nil {
		var err error
		if m, err = s.readManifest(c.Name); err != nil {
			return err
		}
	}
	if err := durable.Remove(s.manifestPath(c.Name)); err != nil {
		return err
	}
	if err := durable.Sync(s.Dir); err != nil {
		return err
	}
	switch {
	case m == nil:
		_, err := s.tidy()
		return err
	case m.Entry != "":
		return durable.RemoveAll(filepath.Join(s.Dir, m.Entry))
	case s.Remove != nil:
		return s.Remove(ctx, c.Ref)
	}
	return nil
}
