package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/weak"
	"github.com/stepwise-rl/stepwise/rl"
)

// student is a cross-encoder that learns from the raters and, with a teacher, from a
// model that reasons.
type student struct {
	out     [2]int // the folds that it has not seen
	seed    uint64
	weak    bool   // it begins with what weak pairs taught, not with MiniLM as it is
	teacher string // name of the stage that teaches; "" for none
	soft    bool   // it learns from all raters
}

func (s student) name(share float64) string {
	name := "cross"
	if s.weak {
		name += "-weak"
	}
	if s.teacher != "" {
		name += "-" + s.teacher
	}
	if !s.soft {
		name += "-gold"
	}
	if share < 1 {
		name += fmt.Sprintf("-share%.0f", 100*share)
	}
	return fmt.Sprintf("%s-%d%d-seed%d", name, s.out[0], s.out[1], s.seed)
}

// The settings of training, on weak pairs and then on judgements.
const (
	weakPairs     = 12_000
	weakLR        = 1e-4
	studentEpochs = 2
	studentLR     = 8e-5
	studentBatch  = 16
	studentTokens = 64
)

// weaken trains MiniLM on pairs made of the catalogue, and returns the folder. No weak
// query is equal to a judged one, in whatever fold, so one such model serves all folds.
func (j *judgements) weaken(ctx context.Context, m *miniLM, out string, w io.Writer) (string, error) {
	dir := filepath.Join(out, "weak")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	pairs, report, err := weak.Make(j.collection, weak.Settings{Pairs: weakPairs, Seed: 1, Held: j.queries()})
	if err != nil {
		return "", err
	}
	fmt.Fprintln(w, report)
	var examples []distill.Example
	for _, p := range pairs {
		input := m.input(p.Query, &j.collection.Documents()[p.Document].Document)
		examples = append(examples, distill.Example{Input: input, Belief: weak.Belief(p.Grade, len(labels)), Label: -1})
	}
	st, err := m.fit(ctx, examples, fitting{seed: 1, epochs: 1, lr: weakLR}, w)
	if err != nil {
		return "", err
	}
	defer st.Free()
	unfinished := dir + ".part"
	if err := errors.Join(os.RemoveAll(unfinished), st.Encoder().Save(unfinished)); err != nil {
		return "", err
	}
	return dir, os.Rename(unfinished, dir)
}

// input is what the cross-encoder reads.
func (m *miniLM) input(query string, d *rows.Document) []int32 {
	q, document := m.tok.EncodeOrdinary(query), m.tok.EncodeOrdinary(text(d))
	ids, _ := m.tok.AddSpecialPair(q, document[:min(len(document), studentTokens-3-len(q))])
	return ids
}

// fitting says how a cross-encoder is trained.
type fitting struct {
	folder string // that it begins with; "" is MiniLM
	seed   uint64
	epochs int
	lr     float64
}

// fit trains a cross-encoder, which the caller frees.
func (m *miniLM) fit(ctx context.Context, examples []distill.Example, s fitting, w io.Writer) (*local.Student, error) {
	e, err := m.encoder(s.seed, s.folder)
	if err != nil {
		return nil, err
	}
	st, err := local.NewStudent(local.StudentConfig{Encoder: e})
	if err != nil {
		return nil, err
	}
	f := distill.Fit{
		Student: st, Examples: examples, Classes: len(labels), Loss: distill.Loss{Soft: 1},
		Batch: studentBatch, Epochs: s.epochs, Seed: s.seed, MaxNorm: 1,
	}
	total := f.Steps()
	f.LR = rl.WarmupLinear{LR: s.lr, Warmup: int64(total / 10), Total: int64(total)}
	bar := progress.New(w, int64(total), "loss")
	for step := range total {
		loss, err := f.Step(ctx, step)
		if err != nil {
			st.Free()
			return nil, err
		}
		if err := bar.Record(int64(step+1), map[string]float64{"loss": loss}); err != nil {
			st.Free()
			return nil, err
		}
	}
	return st, bar.Close()
}

// student fits the cross-encoder on three folds, or reads what it said before, and
// returns its beliefs about the pairs of the other two.
func (j *judgements) student(ctx context.Context, m *miniLM, s student, out string, w io.Writer) (map[int][]float64, error) {
	file := filepath.Join(out, s.name(j.share)+".gob")
	var all map[int][]float64
	if f, err := os.Open(file); err == nil {
		defer f.Close()
		return all, gob.NewDecoder(f).Decode(&all)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	start := time.Now()
	how := fitting{seed: s.seed, epochs: studentEpochs, lr: studentLR}
	if s.weak {
		var err error
		if how.folder, err = j.weaken(ctx, m, out, w); err != nil {
			return nil, err
		}
	}
	examples, err := j.lessons(m, s, out)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(w, s.name(j.share))
	st, err := m.fit(ctx, examples, how, w)
	if err != nil {
		return nil, err
	}
	defer st.Free()
	test := j.inFolds(s.out[:]...)
	inputs, dst := make([][]int32, len(test)), make([][]float64, len(test))
	for k, i := range test {
		inputs[k], dst[k] = m.input(j.pairs[i].Query, &j.pairs[i].Document), make([]float64, len(labels))
	}
	if err := st.Logits(ctx, inputs, dst, false); err != nil {
		return nil, err
	}
	all = map[int][]float64{}
	for k, i := range test {
		all[i] = distill.HeadSoftmax.Probs(dst[k], len(labels))
	}
	fmt.Fprintln(w, "took", time.Since(start).Round(time.Second))
	f, err := os.Create(file + ".part")
	if err != nil {
		return nil, err
	}
	return all, errors.Join(gob.NewEncoder(f).Encode(all), f.Close(), os.Rename(file+".part", file))
}

// lessons are the training pairs of a student, with what it is to believe of them.
func (j *judgements) lessons(m *miniLM, s student, out string) ([]distill.Example, error) {
	said := map[string][]float64{}
	if s.teacher != "" {
		r := reading{s.out, 1, s.soft}
		all, err := relevance.ReadPredictions(filepath.Join(out, r.name()), s.teacher)
		if err != nil {
			return nil, err
		}
		for _, p := range all["train"] {
			said[p.ID] = p.P
		}
	}
	var examples []distill.Example
	for _, i := range j.training(without(s.out[:]...)...) {
		target := j.soft[i]
		if !s.soft {
			target = make([]float64, len(labels))
			target[j.gold[i]] = 1
		}
		if p := said[j.pairs[i].ID]; p != nil {
			target = mix([]float64{.5, .5}, target, p)
		}
		examples = append(examples, distill.Example{Input: m.input(j.pairs[i].Query, &j.pairs[i].Document), Belief: target, Label: -1})
	}
	return examples, nil
}

// students pools cross-encoders over seeds.
func (j *judgements) students(ctx context.Context, m *miniLM, name string, s student, seeds int, out string, w io.Writer) (*predictor, error) {
	return j.pairwise(name, func(pair [2]int) (map[int][]float64, error) {
		all := map[int][]float64{}
		for seed := range seeds {
			s.out, s.seed = pair, uint64(seed+1)
			one, err := j.student(ctx, m, s, out, w)
			if err != nil {
				return nil, err
			}
			for i, p := range one {
				if all[i] == nil {
					all[i] = make([]float64, len(labels))
				}
				for k, v := range p {
					all[i][k] += v / float64(seeds)
				}
			}
		}
		return all, nil
	})
}
