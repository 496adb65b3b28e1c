package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress prints one line per report: stage, step, numbers, speed, time left.
type progress struct {
	w      io.Writer
	stage  string
	total  int
	every  int
	first  int // the step at which this process began
	start  time.Time
	tokens float64
}

func newProgress(w io.Writer, stage string, done, total, every int) *progress {
	return &progress{w: w, stage: stage, total: total, every: max(every, 1), first: done, start: time.Now()}
}

// step notes that step n (from 1) is done.
func (p *progress) step(n int, tokens float64, format string, args ...any) {
	p.tokens += tokens
	if n%p.every != 0 && n != p.total {
		return
	}
	elapsed := time.Since(p.start)
	left := time.Duration(float64(elapsed) / float64(n-p.first) * float64(p.total-n))
	fmt.Fprintf(p.w, "%-12s %4d/%d  %s  %6.0f tok/s  %s left\n",
		p.stage, n, p.total, fmt.Sprintf(format, args...), p.tokens/elapsed.Seconds(), left.Round(time.Second))
}

// heading prints a line that opens a stage.
func heading(w io.Writer, title string) {
	fmt.Fprintf(w, "\n%s\n%s\n", title, strings.Repeat("─", len([]rune(title))))
}
