package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/eval"
)

var testSteps = []string{"category", "attribute", "setting", "label"}

// policyScores are those of a policy that is right with that probability.
func policyScores(accuracy, step, wrong float64) *Scores {
	s := &Scores{
		Examples: 1000, Accuracy: accuracy, BinaryAccuracy: accuracy + .1, MacroF1: accuracy - .02, QWK: new(accuracy),
		MeanStepAccuracy: new(step), RightAnswerWrongStep: new(wrong), Unparsable: new(.004), TokensPerSecond: 5210,
		StepAccuracy: map[string]float64{}, Intervals: map[string]Interval{},
	}
	for name, v := range map[string]float64{
		"accuracy": accuracy, "binary_accuracy": accuracy + .1, "macro_f1": accuracy - .02, "qwk": accuracy,
		"mean_step_accuracy": step, "right_answer_wrong_step": wrong,
	} {
		s.Intervals[name] = Interval{v - .02, v + .02}
	}
	for i, name := range testSteps {
		v := step + .03*float64(i-1)
		s.StepAccuracy[name], s.Intervals["step_accuracy/"+name] = v, Interval{v - .02, v + .02}
	}
	return s
}

func classifierScores(accuracy float64) *Scores {
	return &Scores{
		Examples: 1000, Accuracy: accuracy, BinaryAccuracy: accuracy + .1, MacroF1: accuracy - .05,
		Intervals: map[string]Interval{"accuracy": {accuracy - .02, accuracy + .02}},
	}
}

// detailed adds what is not a single number.
func detailed(s *Scores) *Scores {
	l := Labels{Names: testLabels, Cut: 3}
	rng := rand.New(rand.NewPCG(5, 6))
	var all []Outcome
	for i := range 400 {
		gold := rng.IntN(5)
		said := gold
		if rng.Float64() < .3 {
			said = rng.IntN(5)
		}
		if i%97 == 0 {
			said = -1
		}
		p := make([]float64, 5)
		for k := range p {
			p[k] = .05
		}
		p[max(said, 0)] = .8
		query, document := fmt.Sprintf("query %d", i%40), "a lovely lodge above the lake"
		switch i % 3 {
		case 1:
			query, document = "无线鼠标 静音", strings.Repeat("这款无线鼠标采用静音设计，适合办公室使用，续航长达十二个月。", 170)
		case 2:
			document = strings.Repeat("a5000characterdocumentwithoutanyspaces", 130)
		}
		all = append(all, Outcome{Pair: eval.Pair{Gold: gold, Pred: said}, Query: query, P: p, Mistake: func() Mistake {
			return Mistake{
				ID: fmt.Sprint(i), Query: query, Document: document, Label: testLabels[gold], Text: "<step name=\"category\">cabin, note lodge \\boxed{same}</step>",
				Said:  append(testLabels[:5:5], "")[(said+6)%6],
				Steps: []StepPair{{"category", "same", "other"}, {"attribute", "met", "met"}, {"setting", "", "none"}, {"label", testLabels[gold], ""}},
			}
		}})
	}
	d := Score(l, all)
	s.Confusion, s.Reliability, s.Queries, s.Worst, s.Disagree, s.NDCG = d.Confusion, d.Reliability, d.Queries, d.Worst, d.Disagree, d.NDCG
	return s
}

var testLabels = []string{"-1", "0", "1", "2", "3"}

func testReport() *Run {
	both := func(a, b *Scores) map[string]*Scores { return map[string]*Scores{"LONGTAIL": b, "RANDOM": a} }
	r := &Run{
		Seed: 1, Name: "generated notes", Best: "rl-mask", Command: "go run ./examples/relevance -seed 1",
		Finished: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seconds: 401,
		Machine:  Machine{OS: "linux", Arch: "amd64", Cores: 2, Go: "go1.26", Backend: "cpu", PeakRSS: 700 << 20},
		Settings: map[string]any{"warmup_steps": 1600}, Warnings: []string{`step "setting" has one truth`},
		Data: []Part{{"training", 5000, 3000, []int{500, 1500, 1000, 800, 1200}}, {"RANDOM", 1000, 700, []int{100, 300, 200, 160, 240}}},
		Task: Task{Labels: testLabels, Meanings: []string{"excluded", "off", "related", "partly", "all met"}, Relevant: "2", Example: "query: 无线鼠标\ntitle: a lodge"},
		Stages: []*Stage{
			{Name: "words", Kind: KindBaseline, Title: "Baseline: which words there are", Seconds: 2, Tests: both(classifierScores(.45), classifierScores(.40))},
			{Name: "warmup", Kind: KindWarmup, Title: "Warm-up", Seconds: 71, Tokens: 2345678, Tests: both(policyScores(.62, .70, .21), policyScores(.55, .66, .19)), Numbers: map[string]float64{"live_groups": .83}},
			{Name: "rl-outcome", Kind: KindReinforce, Title: "Outcome only", Seconds: 140, Tokens: 1345678, Tests: both(policyScores(.74, .69, .24), policyScores(.66, .64, .2))},
			{Name: "rl-mask", Kind: KindReinforce, Title: "Step credit", Seconds: 141, Tokens: 1345678, Tests: both(detailed(policyScores(.76, .83, .1)), detailed(policyScores(.67, .78, .08))), Alarms: []string{"step 120: overfitting: sampled answers are right for 0.99 of the training rows"}},
			{Name: "distill", Kind: KindStudent, Title: "Student", Seconds: 45, Tokens: 345678, Note: "teacher: rl-mask", Tests: both(classifierScores(.71), classifierScores(.60))},
		},
		Rules: map[string]Tally{"label": {Scored: 25600, Unscorable: map[string]int{"missing": 12}}, "category": {Scored: 20000}},
	}
	for i, name := range testSteps {
		r.Task.Steps = append(r.Task.Steps, Step{
			Name: name, Instruction: "Compare what the query looks for with what the note is about.", Criteria: []string{"same: the note is about that very thing.", "other: anything else."},
			Known: 1, Answers: []Answer{{"same", 2000, .7, .6, 2.9}, {"other", 3000, .1 * float64(i), .4, .9}},
		})
	}
	return r
}

// testMetrics is a log as a run would write it.
func testMetrics(steps int) []Metrics {
	rng := rand.New(rand.NewPCG(1, 2))
	var out []Metrics
	add := func(stage string, step int, m map[string]float64) {
		out = append(out, Metrics{stage, int64(step), m})
	}
	for i := range 5 * steps {
		add("warmup", i+1, map[string]float64{"loss": .28 + 6*math.Exp(-float64(i)/30) + .02*rng.NormFloat64(), "grad_norm": 1})
	}
	for k, stage := range []string{"rl-outcome", "rl-mask"} {
		for i := range steps {
			x := float64(i) / float64(max(steps, 2))
			m := map[string]float64{
				"reward/label": .62 + .15*x + .04*rng.NormFloat64(), "right_answer_wrong_step": .21 + (.04-.12*float64(k))*x + .02*rng.NormFloat64(),
				"group/live": .85 - .2*x + .05*rng.NormFloat64(), "malformed": max(0, .01*(1-x)+.003*rng.NormFloat64()),
				"grad_norm": math.Exp(.4 * rng.NormFloat64()),
			}
			for s, name := range testSteps {
				m["step/"+name+"/correct"] = .7 + .03*float64(s) + (-.02+.15*float64(k))*x + .02*rng.NormFloat64()
				m["credit/"+name+"/masked"] = float64(k) * max(0, .3-.05*float64(s)-.15*x+.02*rng.NormFloat64())
			}
			add(stage, i+1, m)
		}
	}
	for i := range steps {
		add("distill", i+1, map[string]float64{"loss": .4 + math.Exp(-float64(i)/20)})
	}
	return out
}

// testRollouts samples answers of four steps, the last token outside of them.
func testRollouts(steps, prompts, answers int) []Answered {
	rng := rand.New(rand.NewPCG(3, 4))
	var out []Answered
	for _, stage := range []string{"rl-outcome", "rl-mask"} {
		for s := range steps {
			for p := range prompts {
				for a := range answers {
					out = append(out, testAnswer(rng, stage, 20*(s+1), p, a))
				}
			}
		}
	}
	return out
}

func testAnswer(rng *rand.Rand, stage string, step, prompt, n int) Answered {
	l := Answered{
		Stage: stage, Step: int64(step), ID: fmt.Sprintf("train-%d", 1000*step+prompt), Sample: n,
		Prompt: "query: quiet cabin with a fireplace in the Alps, no pets\ntitle: lovely lodge above the lake\nbody: a lodge with an open fire. dogs stay outside.\nfacts: place Tyrol, season winter",
		Truth:  map[string]string{"category": "same", "attribute": "met", "setting": "met", "label": "3"},
		Reward: new(float64(rng.IntN(2))),
	}
	l.Advantage = []float64{-1.21, .83}[int(*l.Reward)]
	for k, text := range [][]string{
		{"category", ":", " cabin", ",", " note", " lodge", " {", "same", "}", "\n"},
		{"attribute", ":", " fire", "place", ",", " note", " open", " fire", " {", "met", "}", "\n"},
		{"setting", ":", " Alps", ",", " note", " Tyrol", " {", "missed", "}", "\n"},
		{"label", ":", " {", "3", "}"},
	} {
		s := AnsweredStep{Name: testSteps[k], Start: len(l.Tokens), Verdict: []string{"correct", "correct", "incorrect", "unknown"}[rng.IntN(4)]}
		if n == 3 && k == 2 {
			s.End, s.Verdict, l.Malformed = s.Start, "broken", true
			l.Steps = append(l.Steps, s)
			continue
		}
		for _, t := range text {
			keep := stage == "rl-outcome" || k == 3 || s.Verdict == "unknown" || (s.Verdict == "correct") == (*l.Reward == 1)
			after := l.Advantage
			if !keep {
				after = 0
			}
			l.Tokens = append(l.Tokens, AnsweredToken{t, l.Advantage, after, keep})
		}
		s.End = len(l.Tokens)
		l.Steps = append(l.Steps, s)
	}
	l.Tokens = append(l.Tokens, AnsweredToken{"", l.Advantage, l.Advantage, true})
	return l
}
