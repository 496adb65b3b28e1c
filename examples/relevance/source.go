package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"iter"
	"os"
	"strings"

	"github.com/stepwise-rl/stepwise/examples/relevance/internal/chorus"
	"github.com/stepwise-rl/stepwise/examples/relevance/internal/lexical"
	"github.com/stepwise-rl/stepwise/examples/relevance/internal/notes"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// openSource returns the data that the options ask for and fits the settings
// to it.
func openSource(o options, s *settings) (*rows.Source, error) {
	if o.Data == "" {
		s.adapt(true)
		return notes.New(notes.Config{Seed: o.Seed, TestSize: s.TestSize, Teacher: notes.DefaultTeacher()}), nil
	}
	s.adapt(false)
	info, err := os.Stat(o.Data)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return chorus.Open(chorus.Config{Dir: o.Data, Fold: o.Fold, Seed: o.Seed})
	}
	return lexical.Open(lexical.Config{File: o.Data, Labels: splitLabels(o.Labels), Fold: o.Fold, Seed: o.Seed})
}

// dataDigest returns the digest of the data: of its files, or of what is generated,
// which is the test sets and a sample of the training stream.
func dataDigest(ctx context.Context, o options, src *rows.Source) (string, error) {
	if o.Data != "" {
		return run.DigestPath(ctx, o.Data)
	}
	h := sha256.New()
	enc := json.NewEncoder(h)
	if err := enc.Encode(src.Tests); err != nil {
		return "", err
	}
	for i := range 500 {
		if err := enc.Encode(src.Train(i)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func splitLabels(list string) []string {
	var labels []string
	for _, l := range strings.Split(list, ",") {
		if l = strings.TrimSpace(l); l != "" {
			labels = append(labels, l)
		}
	}
	return labels
}

// trainTokenizer learns the vocabulary from prompts and traces of training
// examples; the marks of the task's syntax are tokens of their own.
func trainTokenizer(ctx context.Context, src *rows.Source, s settings) (*tokenizer.Tokenizer, error) {
	d := definition(src)
	t := d.Template()
	corpus := func(yield func(string) bool) {
		for i := range 3000 {
			if ctx.Err() != nil {
				return
			}
			e := src.Train(i)
			if !yield(t.Render(e)) {
				return
			}
			if e.Teach != nil && !yield(trace(t, e, streamOf(tokenizerStream, 0, uint64(i)))) {
				return
			}
		}
	}
	o := tokenizer.TrainOptions{VocabSize: s.VocabSize, Special: []string{endOfText}, Added: t.Marks()}
	tok, err := tokenizer.Train(iter.Seq[string](corpus), o)
	if ctx.Err() != nil {
		return nil, ctx.Err() // it has not seen all
	}
	return tok, err
}
