package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/examples/internal/notes"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// result is what came out of a student, or of the teacher.
type result struct {
	cell
	run, model string // folder of the run, and in it that of the model
	stage      *report.Stage
	cost       float64 // FLOPs a pair
	speed      float64 // pairs/s
}

// sets are the test sets of the table.
var sets = []string{notes.Random, notes.LongTail}

func (r *result) scores(set string) (accuracy, kappa float64) {
	s := r.stage.Tests[set]
	if s.QWK != nil {
		kappa = *s.QWK
	}
	return s.Accuracy, kappa
}

// flops is 2 for each weight of the blocks and token, and 4 for each element of width
// and pair of tokens that attend to each other; logits are for the caller.
func flops(c model.Config, tokens, attended float64) float64 {
	weights := float64(c.Layers * c.Dim * (4*c.Dim + 3*c.FF))
	return 2*weights*tokens + 4*float64(c.Layers*c.Dim)*attended
}

// studentCost is a pass over the mean input, and of a decoder the logits of each answer.
func studentCost(dir string, s *report.Stage) (float64, error) {
	n := s.Tests[notes.Random].TokensPerRow
	if c, err := model.ReadEncoderConfig(dir); err == nil {
		return flops(c.Config, n, n*n), nil
	}
	info, err := relevance.ReadModelInfo(dir)
	if err != nil {
		return 0, err
	}
	c, err := model.ReadConfig(dir)
	return flops(c, n, n*n/2) + 2*float64(c.Vocab*c.Dim*(1+len(info.Steps))), err
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
	answer, prompt := s.Tests[notes.Random].TokensPerRow, 0.0
	// The prompt of the folder has an example whose texts are the names of its parts.
	around, _, _ := strings.Cut(info.Prompt, "query: {query}")
	for _, e := range src.Tests[0].Examples {
		prompt += float64(len(tok.EncodeOrdinary(around+src.Input(e)))) / float64(len(src.Tests[0].Examples))
	}
	n := prompt + answer
	return flops(config, n, n*n/2) + 2*float64(config.Vocab*config.Dim)*answer, nil
}

// writeTable writes a line for the teacher, which is the first, and one for each student.
func writeTable(w io.Writer, all []*result) {
	fmt.Fprintf(w, "| student | loss | rows | MFLOPs a pair | pairs/s | RANDOM accuracy, QWK | LONGTAIL accuracy, QWK | least share of the teacher's | ECE | training s |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for i, r := range all {
		name, loss, rows := r.size, r.loss, fmt.Sprintf("%d × %d", r.student.Examples, r.student.Epochs)
		if i == 0 {
			name, rows = "teacher", ""
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %.0f |", name, loss, rows, r.cost/1e6, r.speed)
		share := math.Inf(1)
		for _, set := range sets {
			a, k := r.scores(set)
			ta, tk := all[0].scores(set)
			share = min(share, a/ta, k/tk)
			fmt.Fprintf(w, " %.3f, %.3f |", a, k)
		}
		fmt.Fprintf(w, " %.1f%% | %.3f | %.0f |\n", 100*share, r.stage.Tests[notes.Random].ECE(), r.stage.Seconds)
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

// drawTo draws RANDOM accuracy against cost: on the left against the rows that the
// teacher labelled, of the student of two layers from nothing, on the right against
// FLOPs, of all sizes. A line is a loss and how many rows were shown.
func drawTo(path string, all []*result) error {
	shown := func(r *result) string {
		return fmt.Sprintf("%s, %d,000 shown", r.loss, r.student.Examples*r.student.Epochs/1000)
	}
	rows := curves(all, func(r *result) (string, float64, bool) {
		return shown(r), float64(r.student.Examples), r.size == "64 × 2"
	})
	flops := curves(all, func(r *result) (string, float64, bool) {
		return shown(r), r.cost / 1e6, r.student.Examples == 64_000 && r.student.Form == relevance.FormCrossEncoder
	})
	c := vgsvg.New(30*vg.Centimeter, 12*vg.Centimeter)
	left, right := draw.New(c), draw.New(c)
	left.Max.X, right.Min.X = 14.5*vg.Centimeter, 15.5*vg.Centimeter
	if err := panel(left, "rows that the teacher labelled, 64 × 2", []float64{8000, 16000, 32000, 64000}, all[0], rows); err != nil {
		return err
	}
	if err := panel(right, "MFLOPs a pair, 64000 rows labelled", []float64{.5, 1, 2, 4, 8, 16}, all[0], flops); err != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}

// curves are names and points, as plotutil takes them, of the students whose line and x
// of returns. A line has two points at least.
func curves(all []*result, of func(*result) (line string, x float64, ok bool)) (drawn []any) {
	lines, order := map[string]plotter.XYs{}, []string{}
	for _, r := range all[1:] {
		line, x, ok := of(r)
		if !ok {
			continue
		}
		if lines[line] == nil {
			order = append(order, line)
		}
		accuracy, _ := r.scores(notes.Random)
		lines[line] = append(lines[line], plotter.XY{X: x, Y: accuracy})
	}
	for _, line := range order {
		if xys := lines[line]; len(xys) > 1 {
			slices.SortFunc(xys, func(a, b plotter.XY) int { return cmp.Or(cmp.Compare(a.X, b.X), cmp.Compare(a.Y, b.Y)) })
			drawn = append(drawn, line, xys)
		}
	}
	return drawn
}

func panel(c draw.Canvas, x string, ticks []float64, teacher *result, drawn []any) error {
	accuracy, _ := teacher.scores(notes.Random)
	g := plot.New()
	g.X.Label.Text, g.Y.Label.Text = x, "accuracy on RANDOM"
	g.X.Scale = plot.LogScale{}
	var marks plot.ConstantTicks
	for _, v := range ticks {
		marks = append(marks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', -1, 64)})
	}
	g.X.Tick.Marker = marks
	target := plotter.XYs{{X: ticks[0], Y: .97 * accuracy}, {X: ticks[len(ticks)-1], Y: .97 * accuracy}}
	if err := plotutil.AddLinePoints(g, append([]any{"97% of the teacher", target}, drawn...)...); err != nil {
		return err
	}
	g.Y.Min, g.Y.Max = .2, 1
	g.Legend.TextStyle.Font.Size = vg.Points(10)
	g.Draw(c)
	return nil
}
