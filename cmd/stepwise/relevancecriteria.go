package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/study"
)

const relevanceCriteriaAbout = `TASK is a task file, as in: stepwise relevance criteria tasks/chorus.yaml

Without a task it lists the kinds of criteria that a task file can name: parameters
with their defaults, answers, and what a criterion needs of the documents. With one,
it prints how well each of the task's criteria (or, if it has none, each of a set for
product search) agrees with the labels of the training and validation pairs: how often
it applies, and the precision and recall of "relevant" and "irrelevant".`

func runRelevanceCriteria(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise relevance criteria"
	f := flag.NewFlagSet(prog, flag.ContinueOnError)
	data := newTaskFlags(f)
	names, status, done := parseArguments(f, "[TASK]", relevanceCriteriaAbout, args, out, errs)
	switch {
	case done:
		return status
	case len(names) > 1:
		return misused(f, wrongNumber(names, "[TASK]"), errs)
	case len(names) == 0:
		printKinds(out)
		return exitOK
	}
	return interruptible(prog, errs, func(context.Context) error {
		task, err := data.open(names[0], 0)
		if err != nil {
			return err
		}
		for _, r := range task.Reports {
			fmt.Fprint(errs, r)
		}
		pairs, err := study.FromTask(task)
		if err != nil {
			return err
		}
		s, err := study.New(pairs)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d training and validation pairs; relevant means %s and above\n\n", len(pairs.Examples), pairs.Labels[pairs.Relevant])
		return s.Audit(out)
	})
}

func printKinds(out io.Writer) {
	for _, k := range criteria.Kinds() {
		var params []string
		for _, p := range k.Params {
			params = append(params, p.Name+": "+strings.Trim(p.Default, `"`))
		}
		fmt.Fprintf(out, "%s\n  params   %s\n  answers  %s\n  needs    %s\n  %s\n\n", k.Name, cmp.Or(strings.Join(params, ", "), "none"),
			strings.Join(k.Answers, ", "), cmp.Or(strings.Join(k.Needs, "; "), "nothing"), k.Sentence)
	}
}
