// Command distill goes from a teacher to traffic: a small model learns to judge the
// relevance of generated notes in steps, a light classifier learns its beliefs, both are
// served over HTTP, and a query is sent to them as a search stack would.
//
//	go run ./examples/distill                       # a minute; -quick: seconds
//	go run ./examples/distill -addr localhost:8080  # and goes on serving the student
//
// stepwise serve does the same with the folders that a run leaves.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"github.com/stepwise-rl/stepwise/examples/internal/notes"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/serve"
	"github.com/stepwise-rl/stepwise/sam"
)

func main() {
	log.SetFlags(0)
	quick := flag.Bool("quick", false, "smoke run: a few seconds, learns little")
	out := flag.String("out", "", "run folder (default: a temporary one)")
	addr := flag.String("addr", "", "go on serving the student at this address until Ctrl-C")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *quick, *out, *addr); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer, quick bool, out, addr string) error {
	l, err := net.Listen("tcp", cmp.Or(addr, "localhost:0")) // before the training: the port may be in use
	if err != nil {
		return err
	}
	defer l.Close()
	if out == "" {
		out = filepath.Join(os.TempDir(), fmt.Sprint("distill-", os.Getpid()))
		defer os.RemoveAll(out)
	}
	c := relevance.Default()
	c.Warmup.Steps, c.Reinforce.Steps, c.Student.Examples, c.Student.Epochs = 1200, 60, 4000, 8
	if quick {
		c = relevance.Quick()
	}
	c.Reinforce.Credits = []relevance.NamedCredit{{Name: "mask", Credit: sam.Mask{}}}
	src := notes.New(notes.Config{Seed: c.Seed, TestSize: 300, Teacher: notes.DefaultTeacher()})
	_, err = relevance.Train(ctx, src, c, out, relevance.Options{Out: w})
	if err != nil {
		return err
	}
	// A query with the documents of others beside its own.
	test := src.Tests[0].Examples
	query, documents := test[0].Query, []rows.Document{}
	for i := range 32 {
		documents = append(documents, test[i].Document)
	}
	first, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	err = serving(ctx, filepath.Join(out, relevance.PolicyFolder), src, first, func(url string) error {
		return ask(ctx, w, relevance.PolicyFolder, url, query, documents, true)
	})
	if err != nil {
		return err
	}
	return serving(ctx, filepath.Join(out, relevance.StudentFolder), src, l, func(url string) error {
		err := ask(ctx, w, relevance.StudentFolder, url, query, documents, false)
		if addr != "" && err == nil {
			fmt.Fprintf(w, "serving the student at %s; try it in a browser, or end with Ctrl-C\n", url)
			<-ctx.Done()
		}
		return err
	})
}

// serving serves a model folder on a listener, which it closes, while f runs.
func serving(ctx context.Context, dir string, src *rows.Source, l net.Listener, f func(url string) error) error {
	defer l.Close()
	m, err := serve.Open(ctx, dir, src, "cpu")
	if err != nil {
		return err
	}
	s, err := serve.New(serve.Config{}, m)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	err = f("http://" + l.Addr().String())
	stop()
	return errors.Join(err, <-ended)
}

type result struct {
	Index     int
	Label     string
	Relevance float64 `json:"relevance_score"`
	Steps     []relevance.StepScore
}

// ask scores documents and prints the best one.
func ask(ctx context.Context, w io.Writer, name, url, query string, documents []rows.Document, steps bool) error {
	body, _ := json.Marshal(map[string]any{"query": query, "documents": documents, "steps": steps})
	q, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/score", bytes.NewReader(body))
	if err != nil {
		return err
	}
	start := time.Now()
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Message string
		Results []result
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, answer.Message)
	}
	best := slices.MaxFunc(answer.Results, func(a, b result) int { return cmp.Compare(a.Relevance, b.Relevance) })
	fmt.Fprintf(w, "\n%s: %d documents in %v; the best for %q is label %s (%.2f): %s\n", name,
		len(documents), time.Since(start).Round(time.Millisecond), query, best.Label, best.Relevance, documents[best.Index].Title)
	for _, s := range best.Steps {
		fmt.Fprintf(w, "    %s: %s %s\n", s.Name, s.Reason, s.Answer)
	}
	return nil
}
