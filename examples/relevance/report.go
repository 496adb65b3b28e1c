package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stepwise-rl/stepwise/reward"
)

// report is what report.json holds and report.html shows.
type report struct {
	Seed     uint64         `json:"seed"`
	Data     string         `json:"data"`
	Credit   string         `json:"credit"`
	Quick    bool           `json:"quick"`
	Command  string         `json:"command"`
	Finished time.Time      `json:"finished"`
	Seconds  float64        `json:"seconds"` // of this process; a resumed run's earlier ones are in the stages
	Machine  machine        `json:"machine"`
	Settings settings       `json:"settings"`
	Labels   []string       `json:"labels"`
	Steps    []string       `json:"steps"`
	Stages   []*stageResult `json:"stages"`
	// Rules tallies per rule how often it scored and why it could not.
	Rules map[string]ruleTally `json:"rules"`
}

type machine struct {
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Cores    int    `json:"cores"`
	Go       string `json:"go"`
	Backend  string `json:"backend"`
	PeakRSS  int64  `json:"peak_rss_bytes,omitempty"`
	HeapPeak uint64 `json:"go_memory_bytes"`
}

type ruleTally struct {
	Scored     int            `json:"scored"`
	Unscorable map[string]int `json:"unscorable,omitempty"`
}

// tallies are what the run's rules have answered so far, in all its processes.
func (p *pipeline) tallies() map[string]ruleTally {
	all := map[string]ruleTally{}
	for name, t := range p.rules.Tallies() {
		all[name] = ruleTally{t.Scored, t.Unscorable}
	}
	return all
}

// restoreTallies goes on counting from what an earlier process had.
func (p *pipeline) restoreTallies(all map[string]ruleTally) {
	tallies := map[string]reward.Tally{}
	for name, t := range all {
		tallies[name] = reward.Tally{Scored: t.Scored, Unscorable: t.Unscorable}
	}
	p.rules.Restore(tallies)
}

// report writes report.json and report.html and prints the table.
func (p *pipeline) report(stages []*stageResult, elapsed time.Duration) error {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	r := &report{
		Seed: p.o.Seed, Data: p.src.Name, Credit: p.o.Credit, Quick: p.o.Quick,
		Command:  "go run ./examples/relevance " + strings.Join(os.Args[1:], " "),
		Finished: time.Now().UTC(), Seconds: elapsed.Seconds(),
		Machine: machine{
			runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version(), p.backend.Name(), peakRSS(), mem.Sys,
		},
		Settings: p.s, Labels: p.src.Labels, Stages: stages,
		Rules: p.tallies(),
	}
	for _, s := range p.src.Steps {
		r.Steps = append(r.Steps, s.Name)
	}
	if err := p.writeJSON("report.json", r); err != nil {
		return err
	}
	var names []string
	for _, s := range stages {
		names = append(names, s.Name)
	}
	metrics, err := readMetrics(p.f.Folder, names)
	if err != nil {
		return err
	}
	rollouts, err := readRollouts(p.f.Folder, names)
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := writeHTML(&page, r, metrics, rollouts); err != nil {
		return err
	}
	if err := p.f.WriteArtefact("report.html", page.Bytes()); err != nil {
		return err
	}
	heading(p.w, "Results")
	p.printTable(stages)
	fmt.Fprintf(p.w, "\n%s in this process, peak memory %s\nreport: %s\n", elapsed.Round(time.Second), megabytes(r.Machine.PeakRSS), filepath.Join(p.o.Out, "report.html"))
	return nil
}

func megabytes(n int64) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// printScores prints a finished stage's numbers.
func (p *pipeline) printScores(r *stageResult) {
	if r.Note != "" {
		fmt.Fprintln(p.w, r.Note)
	}
	if len(r.Tests) > 0 {
		p.printTable([]*stageResult{r})
	}
	fmt.Fprintf(p.w, "%d tokens in %s\n", r.Tokens, time.Duration(r.Seconds*float64(time.Second)).Round(100*time.Millisecond))
}

// printTable prints a line per stage and test set, with 95% intervals.
func (p *pipeline) printTable(stages []*stageResult) {
	w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "stage\ttest set\taccuracy\tbinary\tmacro-F1\tQWK\tsteps\tright, wrong step\ttok/s")
	for _, set := range p.src.Tests {
		for _, s := range stages {
			t := s.Tests[set.Name]
			if t == nil {
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f\n", s.Name, set.Name,
				t.cell("accuracy", &t.Accuracy), t.cell("binary_accuracy", &t.BinaryAccuracy),
				t.cell("macro_f1", &t.MacroF1), t.cell("qwk", t.QWK),
				t.cell("mean_step_accuracy", t.MeanStepAccuracy), t.cell("right_answer_wrong_step", t.RightAnswerWrongStep),
				t.TokensPerSecond)
		}
	}
	w.Flush()
	fmt.Fprintln(p.w, "[95% bootstrap intervals by query]")
}

// cell is a number with its interval; "–" where there is none.
func (s *scores) cell(name string, v *float64) string {
	if v == nil || math.IsNaN(*v) {
		return "–"
	}
	i, ok := s.Intervals[name]
	if !ok {
		return fmt.Sprintf("%.3f", *v)
	}
	return fmt.Sprintf("%.3f [%.3f %.3f]", *v, i[0], i[1])
}

// checkQuick is the smoke run's sanity check.
func checkQuick(stages []*stageResult) error {
	var wrong []string
	for _, s := range stages {
		if s.Name != "baseline" && s.Tokens == 0 {
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
