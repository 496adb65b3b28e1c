// Package report shows what a training run of package relevance found: as numbers
// (report.json) and as one page that people read (report.html).
//
// A [Run] holds the results. [Write] makes the page: one file without scripts that
// needs no network. Every text of data or model is escaped, and long ones are folded.
package report

import (
	"time"
)

// Run is what a run found: report.json.
type Run struct {
	// Name says what the data is.
	Name  string `json:"data"`
	Seed  uint64 `json:"seed"`
	Quick bool   `json:"quick,omitempty"` // a smoke run, whose numbers mean nothing
	// Best is the name of the stage whose policy is the run's model and the student's
	// teacher, and Chosen says why and where it is.
	Best     string    `json:"best,omitempty"`
	Chosen   string    `json:"chosen,omitempty"`
	Command  string    `json:"command,omitempty"`
	Finished time.Time `json:"finished"`
	Seconds  float64   `json:"seconds"` // of this process; a resumed run's earlier ones are in the stages
	Machine  Machine   `json:"machine"`
	// Settings is the run file.
	Settings any `json:"settings"`
	// Task says what was asked.
	Task Task `json:"task"`
	// Data counts rows, queries and labels.
	Data []Part `json:"parts"`
	// Notes says what was found in the data files, a sentence each.
	Notes []string `json:"notes,omitempty"`
	// Raters says how far people agree; nil if no row has several raters.
	Raters *Raters `json:"raters,omitempty"`
	// Warnings are what was said of data and task before training.
	Warnings []string `json:"warnings,omitempty"`
	// Weak says which pairs are weak, a clause; "" if none are.
	Weak string `json:"weak,omitempty"`
	// Stages are the parts of the run in order, baselines first.
	Stages []*Stage `json:"stages"`
	// Rules tallies per rule how often it scored and why it could not, in all stages.
	Rules map[string]Tally `json:"rules"`
}

// Task is what the model was asked.
type Task struct {
	Labels   []string `json:"labels"` // in ascending order
	Meanings []string `json:"meanings,omitempty"`
	Relevant string   `json:"relevant"` // the smallest label that counts as relevant
	Steps    []Step   `json:"steps"`
	// Example is a prompt as the model reads it.
	Example string `json:"example,omitempty"`
}

// Step is a reasoning step, and how its true answers go with the label.
type Step struct {
	Name        string   `json:"name"`
	Instruction string   `json:"instruction,omitempty"`
	Criteria    []string `json:"criteria,omitempty"`
	// Answers tells of each allowed answer how often it is the true one.
	Answers []Answer `json:"answers,omitempty"`
	// Known is the share of training rows for which the rule knows the truth.
	Known float64 `json:"known"`
}

// Answer is a true answer of a step over the training rows.
type Answer struct {
	Answer string `json:"answer"`
	Rows   int    `json:"rows"`
	// Relevant is the share of its rows whose label counts as relevant, and Recall
	// the share of all relevant rows that have it.
	Relevant float64 `json:"relevant"`
	Recall   float64 `json:"recall"`
	// Grade is the mean label, counted from 0.
	Grade float64 `json:"grade"`
}

// Part counts a part of the data.
type Part struct {
	Name    string `json:"name"`
	Rows    int    `json:"rows"`
	Queries int    `json:"queries"`
	// Labels counts the rows of each label, in the order of Task.Labels.
	Labels []int `json:"labels"`
}

// Raters is how far the raters of the rows agree, exactly.
type Raters struct {
	Rows int `json:"rows"` // with at least two raters
	// Agree is the share of pairs of raters of a row with the same label, and AsLabel
	// the share of raters with the row's label.
	Agree   float64 `json:"agree"`
	AsLabel float64 `json:"as_label"`
}

// Machine is where a run ran.
type Machine struct {
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Cores    int    `json:"cores"`
	Go       string `json:"go"`
	Backend  string `json:"backend"`
	PeakRSS  int64  `json:"peak_rss_bytes,omitempty"`
	HeapPeak uint64 `json:"go_memory_bytes"`
}

// Kind says what a stage is.
type Kind string

// The kinds of stages.
const (
	KindBaseline  Kind = "baseline"
	KindWarmup    Kind = "warmup"
	KindReinforce Kind = "reinforce"
	KindStudent   Kind = "student"
)

// Stage is what a stage of a run leaves behind.
type Stage struct {
	Name    string  `json:"name"`
	Kind    Kind    `json:"kind"`
	Title   string  `json:"title"`
	Seconds float64 `json:"seconds"`
	// Tokens counts the tokens that the stage sampled and trained on.
	Tokens int `json:"tokens"`
	// Validation holds the scores on the validation rows, if there are any, and
	// Tests those per test set.
	Validation *Scores            `json:"validation,omitempty"`
	Tests      map[string]*Scores `json:"test_sets,omitempty"`
	// Numbers holds what else the stage measured.
	Numbers map[string]float64 `json:"numbers,omitempty"`
	// Rules tallies what the rules have answered in the run so far.
	Rules map[string]Tally `json:"rules,omitempty"`
	// Note says in words what the stage decided.
	Note string `json:"note,omitempty"`
	// Alarms are what the monitor said, in words.
	Alarms []string `json:"alarms,omitempty"`
}

// Tally counts what came of asking a rule.
type Tally struct {
	Scored     int            `json:"scored"`
	Unscorable map[string]int `json:"unscorable,omitempty"`
}

// Mistake is a row on which a model erred, or is far from the label.
type Mistake struct {
	ID       string  `json:"id"`
	Query    string  `json:"query"`
	Document string  `json:"document"`
	Label    string  `json:"label"` // as judged by people
	Said     string  `json:"said"`  // "" if unreadable
	Grade    float64 `json:"grade"` // expected, as a position among the labels
	// Sure is the probability of what was said; 0 if it is not known.
	Sure float64 `json:"sure,omitempty"`
	// Steps are the true answer of each step beside the model's.
	Steps []StepPair `json:"steps,omitempty"`
	Text  string     `json:"text,omitempty"` // the reasoning as it was written
}

// StepPair is a step's true answer and the one that was given.
type StepPair struct {
	Name  string `json:"name"`
	Truth string `json:"truth,omitempty"`
	Said  string `json:"said,omitempty"`
}

// Logs are what a run's stages have logged.
type Logs struct {
	Metrics []Metrics
	Answers []Answered
}

// Metrics are those of a training step.
type Metrics struct {
	Stage  string
	Step   int64
	Values map[string]float64
}

// Answered is an answer that was sampled in training: a line of a log of rollouts.
type Answered struct {
	Stage  string `json:"-"`
	Step   int64  `json:"-"`
	ID     string `json:"id"`
	Sample int    `json:"sample"`
	Prompt string `json:"prompt"`
	// Truth holds the true answer per step name.
	Truth map[string]string `json:"truth"`
	// Reward is nil if the answer is unscorable: the row has no label.
	Reward    *float64        `json:"reward"`
	Advantage float64         `json:"advantage"`
	Malformed bool            `json:"malformed"`
	Steps     []AnsweredStep  `json:"steps"`
	Tokens    []AnsweredToken `json:"tokens"`
}

// AnsweredStep is a judged step with its token range.
type AnsweredStep struct {
	Name    string `json:"name"`
	Start   int    `json:"start"`
	End     int    `json:"end"`
	Verdict string `json:"verdict"`
}

// AnsweredToken is a token with its advantage before and after step credit.
type AnsweredToken struct {
	// Text is what the token wrote. Together the texts are the answer: a character that
	// several tokens write is the last one's.
	Text   string  `json:"text"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	Keep   bool    `json:"keep"`
}
