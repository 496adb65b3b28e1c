package main

import (
	"context"
	"fmt"
	"os"
	"slices"
)

// table has the rows so far, the first of which the others are compared with.
type table struct {
	j       *judgements
	minilm  *miniLM
	out     string
	seeds   int
	cosines [][]float64
	// reasons is the model that reasons, and best the criteria with MiniLM's cosines.
	reasons, best *predictor
	rows          []*predictor
}

func (t *table) add(rows ...*predictor) {
	t.rows = append(t.rows, rows...)
	t.j.print(os.Stdout, t.rows)
}

// trained trains the models that reason, of all seeds, and pools what they say after a
// stage.
func (t *table) trained(ctx context.Context, name, stage string, soft bool) (*predictor, error) {
	for seed := range t.seeds {
		for f := range folds {
			r := reading{[2]int{f, (f + 1) % folds}, uint64(seed + 1), soft}
			if dir, err := t.j.train(ctx, r, t.out, os.Stdout); err != nil {
				return nil, fmt.Errorf("%s: %w", dir, err)
			}
		}
	}
	return t.j.reading(name, t.out, stage, t.seeds, soft)
}

// votes is how many samples a majority is of.
const votes = 8

// reasoning are the rows of the model that reasons over the criteria's facts.
func (t *table) reasoning(ctx context.Context) error {
	own, err := t.j.pairwise("criteria, as the reasoning reads them", func(pair [2]int) (map[int][]float64, error) {
		test := t.j.inFolds(pair[:]...)
		b, err := t.j.believe(nil, false, t.j.inFolds(without(pair[:]...)...), test)
		if err != nil {
			return nil, err
		}
		all := map[int][]float64{}
		for k, i := range test {
			all[i] = b.Test[k]
		}
		return all, nil
	})
	if err != nil {
		return err
	}
	t.rows = append(t.rows, own)
	for _, stage := range []string{"warmup", "rl-outcome", "rl-mask"} {
		if t.reasons, err = t.trained(ctx, "reasoning, "+stage, stage, true); err != nil {
			return err
		}
		t.rows = append(t.rows, t.reasons)
	}
	voted, err := t.j.voting(ctx, fmt.Sprintf("reasoning, one seed, majority of %d", votes), t.out, votes)
	if err != nil {
		return err
	}
	t.add(voted, t.j.blend("reasoning and criteria", t.rows[0], t.reasons))
	return nil
}

// texts are the rows of MiniLM's cosines and of the cross-encoder after weak
// pre-training.
func (t *table) texts(ctx context.Context) (err error) {
	if t.cosines, err = t.j.cosines(ctx, t.minilm, t.out); err != nil {
		return err
	}
	if t.best, err = t.j.criteriaAlone("criteria and MiniLM's cosines", t.cosines, false); err != nil {
		return err
	}
	t.add(t.best)
	for _, seeds := range slices.Compact([]int{1, t.seeds}) { // one seed shows early what to expect
		name := fmt.Sprintf("cross-encoder, weakly pre-trained, seeds: %d", seeds)
		cross, err := t.cross(ctx, name, student{weak: true, soft: true}, seeds)
		if err != nil {
			return err
		}
		stacked, err := t.j.stack(name+", criteria and cosines, stacked", t.best, cross)
		if err != nil {
			return err
		}
		t.add(cross,
			t.j.blend(name+", and criteria", t.rows[0], cross),
			t.j.blend(name+", criteria and cosines", t.best, cross),
			stacked,
			t.j.blend(name+", criteria, cosines, reasoning", t.best, cross, t.reasons))
	}
	t.j.worst(os.Stdout, t.rows[len(t.rows)-1], 30)
	return nil
}

func (t *table) cross(ctx context.Context, name string, s student, seeds int) (*predictor, error) {
	return t.j.students(ctx, t.minilm, name, s, seeds, t.out, os.Stdout)
}

// twins are the rows of models that lack an ingredient: weak pairs, or the raters' own
// labels. A cross-encoder's are of one seed.
func (t *table) twins(ctx context.Context) error {
	for _, row := range []struct {
		name string
		s    student
	}{
		{"cross-encoder without weak pre-training, one seed", student{soft: true}},
		{"cross-encoder on gold labels only, one seed", student{weak: true}},
	} {
		p, err := t.cross(ctx, row.name, row.s, 1)
		if err != nil {
			return err
		}
		t.add(p, t.j.blend(row.name+", criteria and cosines", t.best, p))
	}
	criteria, err := t.j.criteriaAlone("criteria, gold labels only", nil, true)
	if err != nil {
		return err
	}
	gold, err := t.trained(ctx, "reasoning, rl-mask, gold labels only", "rl-mask", false)
	if err != nil {
		return err
	}
	t.add(criteria, gold)
	return nil
}

// curve are the rows of models that know the judgements of a share of the queries.
func (t *table) curve(ctx context.Context) error {
	for _, share := range []float64{.25, .5} {
		part := t.j.only(share)
		name := fmt.Sprintf(", %.0f%% of the queries", 100*share)
		alone, err := part.criteriaAlone("criteria alone"+name, nil, false)
		if err != nil {
			return err
		}
		best, err := part.criteriaAlone("criteria and cosines"+name, t.cosines, false)
		if err != nil {
			return err
		}
		cross, err := part.students(ctx, t.minilm, "cross-encoder, one seed"+name, student{weak: true, soft: true}, 1, t.out, os.Stdout)
		if err != nil {
			return err
		}
		blend := part.blend("cross-encoder, one seed, criteria and cosines"+name, best, cross)
		t.rows = append(t.rows, alone, best, cross, blend)
	}
	t.j.print(os.Stdout, t.rows)
	return nil
}

// student are the rows of the cross-encoder that the reasoning teaches, too, of one seed.
func (t *table) student(ctx context.Context) error {
	p, err := t.cross(ctx, "student of the reasoning, one seed", student{weak: true, teacher: "rl-mask", soft: true}, 1)
	if err != nil {
		return err
	}
	t.add(p,
		t.j.blend("student, one seed, and criteria", t.rows[0], p),
		t.j.blend("student, one seed, criteria and cosines", t.best, p))
	return nil
}
