package progress

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Samples shows some completions every few training steps: their rewards,
// advantage, verdicts and text. Its zero value shows two at every training step.
type Samples struct {
	// Every is how many training steps apart samples are shown; 0 = 1, at every
	// step.
	Every int64
	// Count is how many completions are shown at a training step; 0 = 2. They are
	// the first of each group, then the second of each, and so on.
	Count int
	// Where chooses the completions; nil = all.
	Where func(c *rollout.Completion) bool
	// MaxRunes is how many characters of a text are shown; 0 = 2000. The middle of
	// a longer text is left out.
	MaxRunes int
}

// Text describes the samples of a training step; it returns "" if none are due or
// there are none. Call it in rl.Config.OnRollouts and write the text to a [Bar], a
// file or record.TensorBoard.Text:
//
//	OnRollouts: func(step int64, r *rl.Rollouts) error {
//		_, err := io.WriteString(bar, samples.Text(step, r))
//		return err
//	},
//
// Characters that are not printable are escaped, so a completion cannot control
// the terminal.
func (s Samples) Text(step int64, r *rl.Rollouts) string {
	if s.Every > 1 && step%s.Every != 0 {
		return ""
	}
	count, bound := s.Count, s.MaxRunes
	if count <= 0 {
		count = 2
	}
	if bound <= 0 {
		bound = 2000
	}
	size := 0
	for _, g := range r.Groups {
		size = max(size, len(g))
	}
	var b strings.Builder
	for k := range size {
		for g, group := range r.Groups {
			if k >= len(group) || s.Where != nil && !s.Where(&group[k]) {
				continue
			}
			if count--; count < 0 {
				return b.String()
			}
			describe(&b, step, r, g, k, bound)
		}
	}
	return b.String()
}

// describe writes completion k of group g.
func describe(b *strings.Builder, step int64, r *rl.Rollouts, g, k, bound int) {
	c := &r.Groups[g][k]
	problem := strconv.Itoa(g + 1)
	if g < len(r.Requests) && r.Requests[g].ID != "" {
		problem = strconv.Quote(r.Requests[g].ID)
	}
	fmt.Fprintf(b, "training step %d, problem %s, completion %d of %d", step, problem, k+1, len(r.Groups[g]))
	var names []string
	if g < len(r.Problems) {
		if n, ok := r.Problems[g].(rl.Named); ok {
			names = n.RewardNames()
		}
	}
	for i, v := range c.Rewards {
		name := strconv.Itoa(i)
		if i < len(names) {
			name = names[i]
		}
		fmt.Fprintf(b, ", reward/%s %.4g", name, v)
	}
	if c.Unscorable {
		b.WriteString(", unscorable")
	} else {
		fmt.Fprintf(b, ", advantage %.4g", c.Advantage)
	}
	if c.Finish == rollout.FinishLength {
		b.WriteString(", truncated")
	}
	b.WriteString("\n")
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, st := range c.Steps {
		verdict := st.Verdict.String()
		if st.Verdict == rollout.VerdictBroken {
			verdict += " (" + st.Status.String() + ")"
		}
		fmt.Fprintf(table, "  %s\t%s%s\n", printable(st.Name, `\n`), verdict, masked(c, st))
	}
	table.Flush()
	fmt.Fprintf(b, "  | %s\n", printable(shorten(strings.TrimSuffix(c.Text, "\n"), bound), "\n  | "))
}

// masked says how many of a step's tokens credit masked, if any.
func masked(c *rollout.Completion, st rollout.Step) string {
	n := 0
	for t := st.Start; t < st.End && t < len(c.Keep); t++ {
		if !c.Keep[t] {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of %d tokens masked", n, st.End-st.Start)
}

// shorten leaves out the middle of a text of more than so many characters.
func shorten(text string, bound int) string {
	runes := []rune(text)
	out := len(runes) - bound
	if out <= 0 {
		return text
	}
	head := (bound + 1) / 2
	return fmt.Sprintf("%s … %d characters left out … %s", string(runes[:head]), out, string(runes[head+out:]))
}

// printable escapes what is not printable; newlines become the given text.
func printable(text, newline string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '\n':
			b.WriteString(newline)
		case r == unicode.ReplacementChar && !strings.HasPrefix(text[i:], string(unicode.ReplacementChar)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsPrint(r) || r == '\t':
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
