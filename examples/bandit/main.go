// Command bandit measures credit assignment where the truth is known.
//
// Its world is the smallest in which step credit matters. Two reasoning steps
// are drawn independently. Each is right, wrong or a shortcut: a wrong step that
// with some luck leads to a right answer all the same. There are a hard, a
// middling and an easy prompt, and the policy has a softmax for each step of
// each prompt. For several amounts of luck, and so shares of wrong steps in right
// answers, it prints for each credit
//
//   - cosine: between the credit's mean gradient and the true one of E[right
//     steps], which is what step credit is for;
//   - bias: the length of their difference, in units of the true one;
//   - noise: the standard deviation of the gradient of one group per prompt, in
//     units of its mean;
//   - cosine, answer: as cosine, with the gradient of E[right answers];
//   - trained: the share of right steps and of right answers after training, the
//     mean of several seeds and prompts.
//
// The first four are exact: sums over all groups, not samples.
//
//	go run ./examples/bandit
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/sam"
)

// normalizer compares the completions of a group by their outcomes, and for the
// credits that compare steps by those.
var normalizer = advantage.RLOO{}

var credits = []struct {
	name   string
	credit sam.Credit
}{
	{"outcome", sam.Outcome{}},
	{"outcome on r + mean verdict", sam.OutcomePlusVerdict{Norm: normalizer}},
	{"mask", sam.Mask{}},
	{"mask, positive only", sam.Mask{Sign: sam.SignPositive}},
	{"mask, leak .3", sam.Mask{LeakPositive: .3, LeakNegative: .3}},
	{"mask, fill", sam.Mask{Fill: normalizer}},
	{"prefix", sam.Prefix{}},
	{"step-loo", sam.StepGroup{Norm: normalizer}},
	{"step-group (z-score)", sam.StepGroup{Norm: advantage.GRPO{Epsilon: 1e-4}}},
	{"return-to-go", sam.ReturnToGo{Norm: advantage.DrGRPO{}}},
	{"blend: outcome, step-loo", sam.Blend{A: sam.Outcome{}, B: sam.StepGroup{Norm: normalizer}, Lambda: .5}},
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bandit: ")
	group := flag.Int("group", 4, "completions in a group")
	updates := flag.Int("updates", 60, "training updates, of one group per prompt each")
	seeds := flag.Int("seeds", 32, "training runs per credit")
	rate := flag.Float64("lr", .5, "learning rate")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	if err := run(os.Stdout, *group, training{*updates, *seeds, *rate}); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer, group int, tr training) error {
	if group < 2 || tr.updates < 0 || tr.seeds < 1 || !(tr.rate > 0 && tr.rate <= math.MaxFloat64) {
		return fmt.Errorf("%d completions in a group, %d updates, %d seeds, learning rate %v: want 2 completions or more, which are compared, no negative number of updates, a seed or more, and a finite rate above 0", group, tr.updates, tr.seeds, tr.rate)
	}
	for _, setting := range []struct {
		luck   float64
		fooled bool
	}{{.1, false}, {.4, false}, {.7, false}, {.95, false}, {.1, true}, {.7, true}} {
		w := newWorld(setting.luck, setting.fooled)
		fmt.Fprintf(out, "\nluck %.2f: %.1f%% of the steps of right answers are wrong", setting.luck, 100*w.wrongInRight())
		if setting.fooled {
			fmt.Fprint(out, "; the step rule takes shortcuts for right")
		}
		fmt.Fprintf(out, "\nbefore training: %.1f%% right steps, %.1f%% right answers\n", 100*w.rightSteps(), 100*w.rightAnswers())
		tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tab, "credit\tcosine\tbias\tnoise\tcosine, answer\ttrained: right steps\tright answers")
		for _, c := range credits {
			m, err := w.measure(group, c.credit)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			steps, answers, err := w.train(group, c.credit, tr)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(tab, "%s\t%.3f\t%.3f\t%.2f\t%.3f\t%.1f%%\t%.1f%%\n", c.name, m.cosine, m.bias, m.noise, m.answerCosine, 100*steps, 100*answers)
		}
		if err := tab.Flush(); err != nil {
			return err
		}
	}
	return nil
}
