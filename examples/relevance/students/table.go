package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// result is what came out of a student, or of the teacher.
type result struct {
	cell
	stage *report.Stage
	cost  float64 // FLOPs a pair
}

// sets are the test sets of the table.
var sets = []string{notesRandom, notesLongTail}

const notesRandom, notesLongTail = "RANDOM", "LONGTAIL"

func (r *result) scores(set string) (accuracy, kappa float64) {
	s := r.stage.Tests[set]
	if s.QWK != nil {
		kappa = *s.QWK
	}
	return s.Accuracy, kappa
}

func (r *result) pairsPerSecond() float64 {
	s := r.stage.Tests[notesRandom]
	return s.TokensPerSecond / s.TokensPerRow
}

// flops is 2 for each weight of the blocks and token, and 4 for each element of width
// and pair of tokens that attend to each other; logits are for the caller.
func flops(c model.Config, tokens, attended float64) float64 {
	weights := float64(c.Layers * c.Dim * (4*c.Dim + 3*c.FF))
	return 2*weights*tokens + 4*float64(c.Layers*c.Dim)*attended
}

// studentCost is a pass over the mean input.
func studentCost(dir string, s *report.Stage) (float64, error) {
	n := s.Tests[notesRandom].TokensPerRow
	if c, err := model.ReadEncoderConfig(dir); err == nil {
		return flops(c.Config, n, n*n), nil
	}
	c, err := model.ReadConfig(dir)
	return flops(c, n, n*n/2) + 2*float64(c.Vocab*c.Dim), err
}

// teacherCost is a pass over the prompt and over what is sampled, with logits for each
// sampled token.
func teacherCost(src *rows.Source, dir string, s *report.Stage) (float64, error) {
	info, err := relevance.ReadModelInfo(dir)
	if err != nil {
		return 0, err
	}
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return 0, err
	}
	config, err := model.ReadConfig(dir)
	if err != nil {
		return 0, err
	}
	answer, prompt := s.Tests[notesRandom].TokensPerRow, 0.0
	// The prompt of the folder has an example whose texts are the names of its parts.
	around, _, _ := strings.Cut(info.Prompt, "query: {query}")
	for _, e := range src.Tests[0].Examples {
		prompt += float64(len(tok.EncodeOrdinary(around+src.Input(e)))) / float64(len(src.Tests[0].Examples))
	}
	n := prompt + answer
	return flops(config, n, n*n/2) + 2*float64(config.Vocab*config.Dim)*answer, nil
}

func writeTable(w io.Writer, teacher result, all []result) {
	fmt.Fprintf(w, "| student | loss | rows | MFLOPs a pair | pairs/s | RANDOM accuracy, QWK | LONGTAIL accuracy, QWK | least share of the teacher's | ECE | seconds |\n|---|---|---|---|---|---|---|---|---|---|\n")
	line := func(r result, name, loss, rows string) {
		share := math.Inf(1)
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %.0f |", name, loss, rows, r.cost/1e6, r.pairsPerSecond())
		for _, set := range sets {
			a, k := r.scores(set)
			ta, tk := teacher.scores(set)
			share = min(share, a/ta, k/tk)
			fmt.Fprintf(w, " %.3f, %.3f |", a, k)
		}
		fmt.Fprintf(w, " %.1f%% | %.3f | %.0f |\n", 100*share, r.stage.Tests[notesRandom].ECE(), r.stage.Seconds)
	}
	line(teacher, "teacher", "", "")
	for _, r := range all {
		line(r, r.size, r.loss, fmt.Sprintf("%d × %d", r.student.Examples, r.student.Epochs))
	}
}

// tally is how good beliefs are.
type tally struct {
	pairs          []eval.Pair
	sure           []float64
	right          []bool
	loss, coverage float64
}

func (t *tally) add(p []float64, gold int, coverage float64) {
	said := slices.Index(p, slices.Max(p))
	t.pairs = append(t.pairs, eval.Pair{Gold: gold, Pred: said})
	t.sure, t.right = append(t.sure, p[said]), append(t.right, said == gold)
	t.loss -= math.Log(max(p[gold], 1e-9))
	t.coverage += coverage
}

// plot draws RANDOM accuracy against the rows that the teacher labelled, a line per
// student and loss.
func plot(teacher result, all []result) []byte {
	const width, height, left, top, right, bottom = 760, 440, 60, 20, 250, 50
	x := func(rows int) float64 {
		return left + (width-left-right)*math.Log2(float64(rows)/8000)/3
	}
	y := func(v float64) float64 { return top + (height-top-bottom)*(1-(v-.5)/.5) }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	for v := .5; v < 1.01; v += .1 {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.1f</text>`+"\n", left, y(v), width-right, left-8, y(v)+4, v)
	}
	for _, n := range []int{8000, 16000, 32000, 64000} {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x(n), height-bottom+18, n)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">rows that the teacher labelled</text><text x="%d" y="12">accuracy on RANDOM</text>`+"\n", (left+width-right)/2, height-10, left)
	target, _ := teacher.scores(notesRandom)
	fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#888" stroke-dasharray="5 4"/><text x="%d" y="%.1f">97%% of the teacher</text>`+"\n", left, y(.97*target), width-right, width-right+8, y(.97*target)+4)
	lines, order := map[string][]result{}, []string{}
	for _, r := range all {
		key := r.size + ", " + r.loss
		if lines[key] == nil {
			order = append(order, key)
		}
		lines[key] = append(lines[key], r)
	}
	colours := []string{"#1b6ca8", "#c1440e", "#2e8b57", "#8b3fa0", "#b8860b", "#444", "#d6569b", "#3aa6a6", "#7a4b28"}
	drawn := 0
	for _, key := range order {
		line := lines[key]
		slices.SortFunc(line, func(a, b result) int { return a.student.Examples - b.student.Examples })
		colour, path := colours[drawn%len(colours)], "M"
		for _, r := range line {
			v, _ := r.scores(notesRandom)
			path += fmt.Sprintf("%.1f %.1fL", x(r.student.Examples), y(v))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(r.student.Examples), y(v), colour)
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%d" fill="%s">%s</text>`+"\n", strings.TrimSuffix(path, "L"), colour, width-right+8, top+50+17*drawn, colour, key)
		drawn++
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
