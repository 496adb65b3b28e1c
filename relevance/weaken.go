package relevance

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/weak"
)

// weaken trains the student on weak pairs and returns the reference of its weights, ""
// without weak pairs. It is a stage with checkpoints of its own.
func (p *pipeline) weaken(ctx context.Context, teacher string) (ref string, err error) {
	c := p.c.Student
	if c.Weak.Pairs == 0 {
		return "", nil
	}
	stage, err := p.f.Stage(weakStage)
	if err != nil {
		return "", err
	}
	s, err := p.newStudent(ctx, teacher, stage.Checkpoints().Dir)
	if err != nil {
		return "", err
	}
	defer s.free()
	examples, err := p.weakExamples(s)
	if err != nil {
		return "", err
	}
	l := p.newLeg(stage)
	l.weights = s.weights()
	if _, err := l.resume(ctx); err != nil {
		return "", err
	}
	err = p.fitClassifier(ctx, l, c.Weak.LR, distill.Fit{
		Student: s.classifier, Examples: examples, Classes: len(p.src.Labels), Head: c.Head, Loss: distill.Loss{Soft: 1},
		Answers: s.info.answers(), Batch: c.Batch, Epochs: c.Weak.Epochs, Seed: p.c.Seed, MaxNorm: 1,
	})
	return l.Policy, err
}

// weakExamples are the weak pairs as the student reads them. Queries of the validation
// and test rows are held out.
func (p *pipeline) weakExamples(s *student) ([]distill.Example, error) {
	collection := p.o.Collection
	if collection == nil {
		var documents []rows.Document
		n := p.src.Size
		if n == 0 {
			n = p.c.BaselineRows
		}
		for i := range n {
			documents = append(documents, p.src.Train(i).Document)
		}
		collection = criteria.NewCollection(rows.Different(documents), criteria.DefaultRoles())
	}
	var held []string
	for _, e := range p.src.Validation {
		held = append(held, e.Query)
	}
	for _, set := range p.src.Tests {
		for _, e := range set.Examples {
			held = append(held, e.Query)
		}
	}
	pairs, report, err := weak.Make(collection, weak.Settings{Pairs: p.c.Student.Weak.Pairs, Seed: p.c.Seed, Held: held})
	if err != nil {
		return nil, fmt.Errorf("student.weak: %w", err)
	}
	fmt.Fprintln(p.w, report)
	examples := make([]distill.Example, len(pairs))
	for i, pair := range pairs {
		e := rows.Example{ID: fmt.Sprintf("weak-%d", i), Query: pair.Query, Document: collection.Documents()[pair.Document].Document, Truth: make([]string, len(p.src.Steps))}
		if p.src.Prepare != nil {
			e = p.src.Prepare(e)
		}
		examples[i] = distill.Example{Input: s.encode(e), Belief: weak.Belief(pair.Grade, len(p.src.Labels)), Label: -1}
	}
	return examples, nil
}
