package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/taskfile"
)

// mainJob is package relevance's whole training on a task file, with the policy and the
// engine of a configuration: warm-up, reinforcement learning with both credits from
// there, and the student.
func mainJob(ctx context.Context, w io.Writer, c config, path, dir string, resume bool, log *slog.Logger) error {
	t, err := taskfile.Open(path, taskfile.Options{Seed: c.Seed})
	if err != nil {
		return err
	}
	settings, err := c.job()
	if err != nil {
		return err
	}
	m, err := readModel(c.Model)
	if err != nil {
		return err
	}
	made := &models{ctx: ctx, c: c, pretrained: m, log: log}
	_, err = relevance.Train(ctx, t.Source, settings, dir, relevance.Options{
		Resume: resume && hasRun(dir), Out: w, Models: made,
		Remove: func(ctx context.Context, ref string) error { return made.last.remove(ctx, ref) },
	})
	return err
}

// job returns the settings of package relevance's training: what a configuration does not
// say, such as the size of the student, is that of its quick mode.
func (c config) job() (relevance.Config, error) {
	if c.Async.Staleness > 0 {
		return relevance.Config{}, errors.New("async is not for -task: package relevance's main job samples and trains in turns")
	}
	settings := relevance.Quick()
	settings.Seed = c.Seed
	// The teacher's weights may be on a server, so the student begins with others.
	settings.Student.Encoder = relevance.Scratch{Vocab: 1000, Shape: relevance.Shape{Dim: 64, Layers: 2, Heads: 4, FF: 128, MaxSeq: 320}}
	settings.Warmup.Steps, settings.Warmup.LR = c.Warmup, c.WarmupLR
	settings.Reinforce.Steps, settings.Reinforce.Prompts, settings.Reinforce.LR = int(c.Steps), c.Prompts, c.Policy.LR
	if c.Policy.Kind == "tinker" {
		settings.Reinforce.MaxNorm = 0
	}
	return settings, nil
}

// models makes the policies of a run.
type models struct {
	ctx context.Context
	c   config
	*pretrained
	log  *slog.Logger
	last *pair // of the stage that is trained
}

func (m *models) Tokenizer() *tokenizer.Tokenizer { return m.tok }
func (m *models) End() []int32                    { return m.eos }
func (m *models) MaxSeq() int                     { return m.maxSeq }

func (m *models) EncodePrompt(t *prompt.Template[rows.Example], e rows.Example) ([]int32, error) {
	return chat.Encode[rows.Example](m.template, m.tok, chat.Options{Generate: true})(t, e)
}

func (m *models) New(dir string) (*relevance.Model, error) {
	p, err := openPair(m.ctx, m.c, m.tok, m.eos, dir, m.log)
	if err != nil {
		return nil, err
	}
	if err := p.refresh(m.ctx); err != nil { // before hours of warm-up
		p.close()
		return nil, err
	}
	m.last = p
	return &relevance.Model{Policy: p.policy, Engine: p.engine, Free: p.close}, nil
}

// relevanceTexts are a task file's prompts and completions, for a tokenizer.
func relevanceTexts(path string) (texts, marks []string, err error) {
	t, err := taskfile.Open(path, taskfile.Options{})
	if err != nil {
		return nil, nil, err
	}
	d := t.Source.Definition()
	template := d.Template()
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 400 {
		e := t.Source.Train(i)
		text, err := template.Write(e.Teach(r))
		if err != nil {
			return nil, nil, err
		}
		texts = append(texts, template.Render(e), text)
	}
	return texts, template.Marks(), nil
}
