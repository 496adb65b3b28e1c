package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Row is one judged step and a reader's judgement of it. As JSON it is one object
// on one line, with the keys
//
//	rule, id, prompt, completion, step, verdict, truth
//
// all of them strings. truth is "" until a reader has labelled the row. Other
// keys are ignored.
type Row struct {
	// Rule is the name of the rule, the same as its step's.
	Rule string
	// ID identifies the completion. Unless it is empty, there must be no other
	// row with the same Rule and ID.
	ID string
	// Prompt, Completion and Step are the texts that the reader needs: the
	// prompt, the whole completion, and the judged step in it. All are optional.
	Prompt, Completion, Step string
	// Verdict is the rule's judgement.
	Verdict rollout.Verdict
	// Truth is the reader's judgement; it only counts if Labeled is set.
	Truth   rollout.Verdict
	Labeled bool
}

// line is a Row as JSON.
type line struct {
	Rule       string `json:"rule"`
	ID         string `json:"id,omitempty"`
	Prompt     string `json:"prompt,omitempty"`
	Completion string `json:"completion,omitempty"`
	Step       string `json:"step,omitempty"`
	Verdict    string `json:"verdict"`
	Truth      string `json:"truth"`
}

// Write writes rows as JSON lines.
func Write(w io.Writer, rows []Row) error {
	b := bufio.NewWriter(w)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	for i, r := range rows {
		l := line{Rule: r.Rule, ID: r.ID, Prompt: r.Prompt, Completion: r.Completion, Step: r.Step, Verdict: r.Verdict.String()}
		if r.Labeled {
			l.Truth = r.Truth.String()
		}
		if err := e.Encode(l); err != nil {
			return fmt.Errorf("audit: writing row %d: %w", i, err)
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// Read reads labelled rows. name is the name of the file for errors, which also
// name the line, the field and the expected value. A row without a truth is an
// error, and so are two rows with the same rule and id. Empty lines are skipped.
func Read(name string, r io.Reader) ([]Row, error) {
	type key struct{ rule, id string }
	first := make(map[key]int)
	var rows []Row
	in := bufio.NewReader(r)
	for number := 1; ; number++ {
		text, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("audit: %s: %w", name, err)
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			row, bad := parse(text)
			if bad == nil && row.ID != "" {
				k := key{row.Rule, row.ID}
				if n := first[k]; n > 0 {
					bad = fmt.Errorf("field %q: rule %q has %q on line %d already; rows must be independent", "id", row.Rule, row.ID, n)
				}
				first[k] = number
			}
			if bad != nil {
				return nil, fmt.Errorf("audit: %s:%d: %w", name, number, bad)
			}
			rows = append(rows, row)
		}
		if err == io.EOF {
			return rows, nil
		}
	}
}

func parse(text []byte) (Row, error) {
	var l *line
	if err := json.Unmarshal(text, &l); err != nil {
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && t.Field != "" {
			return Row{}, fmt.Errorf("field %q: it is a %s, want a string", t.Field, t.Value)
		}
		return Row{}, fmt.Errorf("not a JSON object: %w", err)
	}
	if l == nil {
		return Row{}, errors.New("not a JSON object: null")
	}
	if l.Rule == "" {
		return Row{}, errors.New(`field "rule": it is empty or missing, want the rule's name`)
	}
	row := Row{Rule: l.Rule, ID: l.ID, Prompt: l.Prompt, Completion: l.Completion, Step: l.Step, Labeled: true}
	var err error
	if row.Verdict, err = verdict("verdict", l.Verdict); err != nil {
		return Row{}, err
	}
	if row.Truth, err = verdict("truth", l.Truth); err != nil {
		return Row{}, err
	}
	return row, nil
}

func verdict(field, name string) (rollout.Verdict, error) {
	var v rollout.Verdict
	if err := v.UnmarshalText([]byte(name)); err != nil || v == rollout.VerdictBroken {
		return 0, fmt.Errorf("field %q: it is %q, want correct, incorrect or unknown", field, name)
	}
	return v, nil
}
