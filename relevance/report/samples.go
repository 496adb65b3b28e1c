package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"unicode"
)

// samplesBudget bounds the bytes that sampled answers take in the page.
const samplesBudget = 1_100_000

// samplesView is the sampled answers of all stages.
type samplesView struct {
	Stages []sampleStage
	// Shown of All answers fit into the page.
	Shown, All int
	// Scale is the largest advantage, which has the darkest shade.
	Scale float64
	Most  string
}

type sampleStage struct {
	Label, Class string
	Steps        []*sampleStep
}

type sampleStep struct {
	Step     int64
	Open     bool
	Problems []*sampleProblem
	lines    []*Answered
}

type sampleProblem struct {
	ID, Prompt string
	Truth      []namedText
	Answers    []sampleAnswer
}

type sampleAnswer struct {
	Number            int
	Reward, Advantage string
	Right, Malformed  bool
	Parts             []samplePart
}

// samplePart is a step of an answer, or the tokens between steps.
type samplePart struct {
	Name, Class, Mark, Word string
	Truth                   string
	Before, After           string
	Tokens                  []sampleToken
}

type sampleToken struct{ Class, Title, Text string }

// samples lays out the answers: the first and the last sampled step of every
// stage come first, the others as far as they fit.
func samples(r *Run, lines []Answered) samplesView {
	v := samplesView{All: len(lines)}
	for i := range lines {
		for _, t := range lines[i].Tokens {
			for _, a := range []float64{t.Before, t.After} {
				if finite(a) {
					v.Scale = max(v.Scale, math.Abs(a))
				}
			}
		}
	}
	v.Most = fmt.Sprintf("%.2f", v.Scale)
	var names []string
	stages := map[string][]*sampleStep{}
	for i := range lines {
		l := &lines[i]
		steps := stages[l.Stage]
		if steps == nil {
			names = append(names, l.Stage)
		}
		k := slices.IndexFunc(steps, func(s *sampleStep) bool { return s.Step == l.Step })
		if k < 0 {
			k, steps = len(steps), append(steps, &sampleStep{Step: l.Step})
			stages[l.Stage] = steps
		}
		steps[k].lines = append(steps[k].lines, l)
	}
	for _, name := range names {
		steps := stages[name]
		left := samplesBudget / len(names)
		for _, k := range ends(len(steps)) {
			steps[k].Open = k == 0 || k == len(steps)-1
			left = v.fill(r, steps[k], left)
		}
		steps = slices.DeleteFunc(steps, func(s *sampleStep) bool { return len(s.Problems) == 0 })
		v.Stages = append(v.Stages, sampleStage{stageLabel(name), stageClass(name), steps})
	}
	return v
}

// ends lists 0 to n-1, the two ends first, then from the last to the first.
func ends(n int) []int {
	var order []int
	if n > 0 {
		order = append(order, 0)
	}
	for k := n - 1; k > 0; k-- {
		order = append(order, k)
	}
	return order
}

// fill lays out a step's answers while there is room, and returns what is left.
func (v *samplesView) fill(r *Run, s *sampleStep, left int) int {
	for _, l := range s.lines {
		k := slices.IndexFunc(s.Problems, func(p *sampleProblem) bool { return p.ID == l.ID })
		a := v.answer(r, l)
		cost := a.size()
		if k < 0 {
			cost += 300 + escapedLen(l.Prompt)
		}
		if cost > left {
			continue
		}
		left -= cost
		if k < 0 {
			k = len(s.Problems)
			s.Problems = append(s.Problems, &sampleProblem{l.ID, strings.TrimSpace(l.Prompt), truths(r, l), nil})
		}
		s.Problems[k].Answers = append(s.Problems[k].Answers, a)
		v.Shown++
	}
	return left
}

func truths(r *Run, l *Answered) []namedText {
	var out []namedText
	for _, name := range stepNames(r) {
		if t := l.Truth[name]; t != "" {
			out = append(out, namedText{name, t})
		}
	}
	return out
}

// size is about the number of bytes in the page.
func (a *sampleAnswer) size() int {
	n := 300
	for _, p := range a.Parts {
		n += 300
		for _, t := range p.Tokens {
			n += 36 + escapedLen(t.Title) + escapedLen(t.Text)
		}
	}
	return n
}

func escapedLen(s string) int { return len(template.HTMLEscapeString(s)) }

func (v *samplesView) answer(r *Run, l *Answered) sampleAnswer {
	reward := math.NaN()
	if l.Reward != nil {
		reward = *l.Reward
	}
	a := sampleAnswer{
		Number: l.Sample + 1, Reward: short(reward), Advantage: signed(l.Advantage),
		Right: reward >= 1, Malformed: l.Malformed,
	}
	steps := slices.Clone(l.Steps)
	slices.SortStableFunc(steps, func(a, b AnsweredStep) int { return a.Start - b.Start })
	at := 0
	for _, s := range steps {
		start, end := clamp(s.Start, at, len(l.Tokens)), clamp(s.End, at, len(l.Tokens))
		a.Parts = v.outside(a.Parts, l.Tokens[at:start])
		a.Parts = append(a.Parts, v.step(s, l.Truth[s.Name], l.Tokens[start:max(start, end)]))
		at = max(start, end)
	}
	a.Parts = v.outside(a.Parts, l.Tokens[at:])
	return a
}

func clamp(v, lo, hi int) int { return min(max(v, lo), hi) }

func (v *samplesView) step(s AnsweredStep, truth string, tokens []AnsweredToken) samplePart {
	p := v.part(tokens)
	p.Name, p.Truth = s.Name, truth
	switch {
	case s.Verdict == "broken":
		p.Class, p.Mark, p.Word = "wrong broken", "✗", "broken"
	case s.Verdict == "correct":
		p.Class, p.Mark, p.Word = "right", "✓", "correct"
	case s.Verdict == "incorrect":
		p.Class, p.Mark, p.Word = "wrong", "✗", "incorrect"
	default:
		p.Class, p.Mark, p.Word = "unknown", "?", "unknown"
	}
	if len(tokens) == 0 {
		p.Word += ", missing"
	}
	return p
}

// outside adds tokens that belong to no step: as a part of their own, or, if
// they are mere space or the end of the text, behind the step before.
func (v *samplesView) outside(parts []samplePart, tokens []AnsweredToken) []samplePart {
	if len(tokens) == 0 {
		return parts
	}
	p := v.part(tokens)
	p.Class, p.Word = "outside", outsideSteps
	blank := !slices.ContainsFunc(tokens, func(t AnsweredToken) bool { return strings.TrimSpace(t.Text) != "" })
	if n := len(parts); n > 0 && blank && len(parts[n-1].Tokens) > 0 {
		for _, t := range p.Tokens {
			t.Class += " glue"
			t.Title += ", " + outsideSteps
			t.Text = strings.TrimRight(t.Text, "\n")
			parts[n-1].Tokens = append(parts[n-1].Tokens, t)
		}
		return parts
	}
	return append(parts, p)
}

const outsideSteps = "outside the steps"

// part lays out tokens, and sums up what credit did to them.
func (v *samplesView) part(tokens []AnsweredToken) samplePart {
	p := samplePart{Before: summary(tokens, func(t AnsweredToken) string { return signed(t.Before) }), After: summary(tokens, afterText)}
	for i, t := range tokens {
		p.Tokens = append(p.Tokens, sampleToken{
			Class: "b" + v.shade(t.Before) + " a" + v.afterShade(t),
			Title: fmt.Sprintf("%s  before %s, after %s", quoted(t.Text), signed(t.Before), afterText(t)),
			Text:  visible(t.Text, i == len(tokens)-1),
		})
	}
	return p
}

// masked is what the page says of a token with Keep false.
const masked = "masked"

func afterText(t AnsweredToken) string {
	if !t.Keep {
		return masked
	}
	return signed(t.After)
}

// summary is what all tokens have in common.
func summary(tokens []AnsweredToken, text func(AnsweredToken) string) string {
	if len(tokens) == 0 {
		return ""
	}
	first := text(tokens[0])
	for _, t := range tokens[1:] {
		if text(t) != first {
			return "mixed"
		}
	}
	return first
}

// shade is the name of an advantage's colour: p or n with a strength of 1 to
// 4, z for zero.
func (v *samplesView) shade(a float64) string {
	if !finite(a) || math.Abs(a) < .005 || v.Scale == 0 {
		return "z"
	}
	sign := "p"
	if a < 0 {
		sign = "n"
	}
	return fmt.Sprintf("%s%d", sign, clamp(int(math.Ceil(4*math.Abs(a)/v.Scale)), 1, 4))
}

func (v *samplesView) afterShade(t AnsweredToken) string {
	if !t.Keep {
		return "m"
	}
	return v.shade(t.After)
}

func quoted(text string) string {
	if text == "" {
		return "end of text"
	}
	return "“" + strings.ReplaceAll(text, "\n", "↵") + "”"
}

// visible shows what would be invisible in a token.
func visible(text string, last bool) string {
	if text == "" {
		return "∎"
	}
	var b strings.Builder
	for i, c := range text {
		switch {
		case c == '\n':
			b.WriteString("↵")
			if !last || i+1 < len(text) {
				b.WriteByte('\n')
			}
		case c == '\t':
			b.WriteString("⇥")
		case c == ' ' || unicode.IsPrint(c):
			b.WriteRune(c)
		default:
			b.WriteRune(unicode.ReplacementChar)
		}
	}
	return b.String()
}
