package relevance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stepwise-rl/stepwise/internal/rss"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/split"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/audit"
	"github.com/stepwise-rl/stepwise/task"
)

// tallies are what the run's rules have answered so far, in all its processes.
func (p *pipeline) tallies() map[string]report.Tally {
	all := map[string]report.Tally{}
	for name, t := range p.rules.Tallies() {
		all[name] = report.Tally{Scored: t.Scored, Unscorable: t.Unscorable}
	}
	return all
}

// restoreTallies goes on counting from what an earlier process had.
func (p *pipeline) restoreTallies(all map[string]report.Tally) {
	tallies := map[string]reward.Tally{}
	for name, t := range all {
		tallies[name] = reward.Tally{Scored: t.Scored, Unscorable: t.Unscorable}
	}
	p.rules.Restore(tallies)
}

// report writes report.json and report.html and prints the table.
func (p *pipeline) report(ctx context.Context, stages []*report.Stage, elapsed time.Duration) (*report.Run, error) {
	best, why, err := p.bestPolicy()
	if err != nil {
		return nil, err
	}
	if _, err := p.f.Artefact(PolicyFolder + "/" + ModelFile); err == nil {
		why += fmt.Sprintf("; it is in the folder %s", PolicyFolder)
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	r := &report.Run{
		Name: p.src.Name, Seed: p.c.Seed, Quick: p.c.Smoke,
		Command:  p.o.Info["command"],
		Finished: time.Now().UTC(), Seconds: elapsed.Seconds(),
		Machine: report.Machine{
			OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(),
			Backend: p.backend.Name(), PeakRSS: rss.Peak(), HeapPeak: mem.Sys,
		},
		Settings: p.c, Best: best, Chosen: why, Task: p.describeTask(), Data: p.count(), Notes: p.o.Notes, Raters: p.agreement(),
		Warnings: p.before, Weak: p.weakly(), Stages: stages, Rules: stages[len(stages)-1].Rules,
	}
	if err := p.writeJSON(reportFile, r); err != nil {
		return nil, err
	}
	var names []string
	for _, s := range stages {
		names = append(names, s.Name)
	}
	logs, err := readLogs(p.f.Folder, names)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := report.Write(&page, r, logs); err != nil {
		return nil, err
	}
	if err := p.f.WriteArtefact("report.html", page.Bytes()); err != nil {
		return nil, err
	}
	heading(p.w, "Results")
	PrintTable(p.w, stages)
	if best != "" {
		fmt.Fprintf(p.w, "\nbest model: %s, %s\n", best, why)
	}
	if better := report.BetterBaselines(r); better != "" {
		fmt.Fprintf(p.w, "warning: a baseline is better than the best model: %s\n", better)
	}
	fmt.Fprintf(p.w, "\n%s in this process, peak memory %s\nreport: %s\n", elapsed.Round(time.Second), megabytes(r.Machine.PeakRSS), filepath.Join(p.dir, "report.html"))
	return r, ctx.Err()
}

// training returns the training rows, or the first of those that have no end.
func (p *pipeline) training() []rows.Example {
	n := p.src.Size
	if n == 0 {
		n = p.c.BaselineRows
	}
	es := make([]rows.Example, n)
	for i := range es {
		es[i] = p.src.Train(i)
	}
	return es
}

// describeTask says what the model is asked, and how far the true answer of each step
// goes with the label.
func (p *pipeline) describeTask() report.Task {
	t := report.Task{Labels: p.src.Labels, Meanings: p.src.Meanings, Relevant: p.src.Relevant, Example: p.task.Template().Render(p.src.Train(0))}
	train := p.training()
	cut := p.src.LabelIndex(p.src.Relevant)
	for k, s := range p.src.Steps {
		step := report.Step{Name: s.Name, Instruction: s.Instruction}
		for _, c := range s.Criteria {
			step.Criteria = append(step.Criteria, c.Text)
		}
		index, relevant, known := map[string]int{}, 0, 0
		for _, e := range train {
			label := p.src.LabelIndex(e.Label())
			if label < 0 {
				continue
			}
			if label >= cut {
				relevant++
			}
			truth := e.Truth[k]
			if truth == "" {
				continue
			}
			known++
			i, ok := index[truth]
			if !ok {
				i = len(step.Answers)
				index[truth] = i
				step.Answers = append(step.Answers, report.Answer{Answer: truth})
			}
			a := &step.Answers[i]
			a.Rows++
			a.Grade += float64(label)
			if label >= cut {
				a.Relevant++
			}
		}
		for i := range step.Answers {
			a := &step.Answers[i]
			a.Recall = a.Relevant / float64(max(relevant, 1))
			a.Relevant /= float64(a.Rows)
			a.Grade /= float64(a.Rows)
		}
		slices.SortStableFunc(step.Answers, func(a, b report.Answer) int {
			return slices.Index(s.Answers, a.Answer) - slices.Index(s.Answers, b.Answer)
		})
		step.Known = float64(known) / float64(max(len(train), 1))
		t.Steps = append(t.Steps, step)
	}
	return t
}

// agreement is how far the raters of all rows agree; nil without several raters.
func (p *pipeline) agreement() *report.Raters {
	all := slices.Concat(p.validation(), p.training())
	for _, t := range p.src.Tests {
		all = append(all, t.Examples...)
	}
	seen := map[string]bool{} // LONGTAIL is a part of TEST
	var r report.Raters
	pairs, same, said, asLabel := 0., 0., 0., 0.
	for _, e := range all {
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		var known []string
		for _, label := range e.Raters {
			if p.src.LabelIndex(label) >= 0 {
				known = append(known, label)
			}
		}
		if len(known) < 2 {
			continue
		}
		r.Rows++
		for i, a := range known {
			said++
			if a == e.Label() {
				asLabel++
			}
			for _, b := range known[:i] {
				pairs++
				if a == b {
					same++
				}
			}
		}
	}
	if r.Rows == 0 {
		return nil
	}
	r.Agree, r.AsLabel = same/pairs, asLabel/said
	return &r
}

// count counts the parts of the data.
func (p *pipeline) count() []report.Part {
	name := "training"
	if p.src.Size == 0 {
		name = fmt.Sprintf("training (the first %d of a stream without end)", p.c.BaselineRows)
	}
	parts := []report.Part{p.part(name, p.training())}
	if held := p.validation(); len(held) > 0 {
		parts = append(parts, p.part("validation", held))
	}
	for _, set := range p.src.Tests {
		parts = append(parts, p.part(set.Name, set.Examples))
	}
	return parts
}

func (p *pipeline) part(name string, es []rows.Example) report.Part {
	out := report.Part{Name: name, Rows: len(es), Labels: make([]int, len(p.src.Labels))}
	queries := map[string]bool{}
	for _, e := range es {
		queries[e.Query] = true
		if k := p.src.LabelIndex(e.Label()); k >= 0 {
			out.Labels[k]++
		}
	}
	out.Queries = len(queries)
	return out
}

// warnings says before training what cannot be learnt or measured.
func (p *pipeline) warnings() []string {
	out := split.Check(p.src, p.weakly())
	if p.c.Validation.Rows > 0 && len(p.validation()) == 0 {
		out = append(out, "there are no validation rows: the last checkpoint of each stage is used, however it came to be")
	}
	return out
}

// weakly says which of the run's pairs are weak, as a clause for what is said of data
// and results; "" if none are.
func (p *pipeline) weakly() string {
	var pairs []string
	if p.src.Train(0).Weak {
		pairs = append(pairs, "training pairs")
	}
	if slices.ContainsFunc(p.src.Tests, func(t rows.TestSet) bool { return len(t.Examples) > 0 && t.Examples[0].Weak }) {
		pairs = append(pairs, "test pairs")
	}
	if p.c.Student.Encoder != nil && p.c.Student.Weak.Pairs > 0 {
		pairs = append(pairs, "the pairs that the student begins with")
	}
	if pairs == nil {
		return ""
	}
	return strings.Join(pairs, " and ") + " are weak: made up, their labels nobody's judgement"
}

// auditPerRule is how many steps of each rule are laid out for people.
const auditPerRule = 30

// auditSample lays out judged steps of a policy's answers to validation or training
// rows, so that people can check the rules (package rl/audit).
func (p *pipeline) auditSample(ctx context.Context, stage string, m *Model) error {
	n := min(4*auditPerRule, max(p.c.Warmup.ProbePrompts, auditPerRule))
	problems := make([]rl.Problem, n)
	for i := range problems {
		problems[i] = p.task.Bind(p.src.Train(p.firstProbe() + i))
	}
	r, _, err := rl.EvaluateProblems(ctx, m.Engine, problems, p.c.Seed<<8|auditStream)
	if err != nil {
		return err
	}
	lines, err := audit.Sample(r, audit.SampleOptions{PerRule: auditPerRule, Seed: p.c.Seed, Prompt: func(q rl.Problem) string {
		return p.task.Template().Render(q.(*task.Bound[rows.Example]).Example())
	}})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := audit.Write(&b, lines); err != nil {
		return err
	}
	return p.f.WriteArtefact("audit/"+stage+".jsonl", b.Bytes())
}

func megabytes(n int64) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// printScores prints a finished stage's numbers.
func (p *pipeline) printScores(r *report.Stage) {
	if r.Note != "" {
		fmt.Fprintln(p.w, r.Note)
	}
	if len(r.Tests) > 0 {
		PrintTable(p.w, []*report.Stage{r})
	}
	fmt.Fprintf(p.w, "%d tokens in %s\n", r.Tokens, time.Duration(r.Seconds*float64(time.Second)).Round(100*time.Millisecond))
}

// PrintTable prints a line per test set and stage, with 95% intervals, and says which
// test sets have too few queries.
func PrintTable(out io.Writer, stages []*report.Stage) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "stage\ttest set\taccuracy\tmacro-F1\tQWK\tnDCG@10\tsteps\tright, wrong step\ttok/s")
	var notes []string
	for _, set := range report.TestSets(stages) {
		few := ""
		for _, s := range stages {
			t := s.Tests[set]
			if t == nil {
				continue
			}
			few = report.TooFew(set, t.Examples, len(t.Queries))
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f\n", s.Name, set,
				t.Cell("accuracy", &t.Accuracy), t.Cell("macro_f1", &t.MacroF1), t.Cell("qwk", t.QWK), t.Cell("ndcg", t.NDCG),
				t.Cell("mean_step_accuracy", t.MeanStepAccuracy), t.Cell("right_answer_wrong_step", t.RightAnswerWrongStep),
				t.TokensPerSecond)
		}
		if few != "" {
			notes = append(notes, few)
		}
	}
	w.Flush()
	for _, note := range append([]string{"[95% bootstrap intervals by query]"}, notes...) {
		fmt.Fprintln(out, note)
	}
}

// checkSmoke is the smoke run's sanity check.
func checkSmoke(stages []*report.Stage) error {
	var wrong []string
	for _, s := range stages {
		if s.Kind != report.KindBaseline && s.Tokens == 0 {
			wrong = append(wrong, s.Name+" has seen no tokens")
		}
		for set, t := range s.Tests {
			for name, v := range map[string]float64{"accuracy": t.Accuracy, "binary accuracy": t.BinaryAccuracy} {
				if !(v >= 0 && v <= 1) {
					wrong = append(wrong, fmt.Sprintf("%s on %s has %s %v", s.Name, set, name, v))
				}
			}
			if t.Unparsable != nil && *t.Unparsable > 0.9 {
				wrong = append(wrong, fmt.Sprintf("%s on %s: %.0f%% of the answers have no label; the warm-up has not taught the format", s.Name, set, 100**t.Unparsable))
			}
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return fmt.Errorf("the smoke run is not sane:\n  %s", strings.Join(wrong, "\n  "))
	}
	return nil
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ") + "\n"
}
