package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/serve"
)

const serveAbout = `MODEL is a model folder, as in: stepwise serve -task tasks/chorus.yaml RUN/student
or the Hugging Face folder of a reranker, as in: stepwise serve bge-reranker-v2-m3

Scores documents for queries over HTTP: POST /v1/score, and POST /rerank in the shape
of Cohere, Jina and vLLM. A page at / is for trying it. SIGHUP reads the folder again
and swaps the model without losing a request; SIGTERM and Ctrl-C finish what was
accepted. docs/serving.md says the rest.`

func runServe(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise serve"
	f := flag.NewFlagSet(prog, flag.ContinueOnError)
	open := newTaskFlags(f)
	open.unjudged = true
	backendFlag(f, &open.backend)
	task := f.String("task", "", "the task file that the model was trained for; a student with a pretrained encoder and no criteria needs none")
	var reranker relevance.RerankerOptions
	f.StringVar(&reranker.Instruction, "instruction", "", "what a published reranker that takes an instruction, as Qwen3-Reranker does, is told to search for")
	f.IntVar(&reranker.MaxTokens, "max-tokens", 0, "the most tokens of a pair that a published reranker reads (default: what it can read, at most 8192)")
	addr := f.String("addr", "localhost:8080", "where to listen, such as :8080 for all interfaces")
	key := newKeyFlags(f)
	var c serve.Config
	f.DurationVar(&c.Timeout, "timeout", 0, "the most time of a request, waiting included (default 10s)")
	f.DurationVar(&c.Wait, "batch-wait", 0, "how long a batch that is not full waits for others, negative not at all (default 500µs)")
	f.IntVar(&c.MaxBatch, "max-batch", 0, "the most documents that are scored at once (default 64)")
	f.IntVar(&c.MaxQueue, "max-queue", 0, "the most documents that wait (default 4096)")
	f.IntVar(&c.MaxRequests, "max-requests", 0, "the most requests at a time (default 256)")
	f.IntVar(&c.MaxDocuments, "max-documents", 0, "the most documents of a request (default 1000)")
	f.IntVar(&c.MaxBody, "max-body", 0, "the most bytes of a request (default 8 MiB)")
	f.IntVar(&c.MaxText, "max-text", 0, "the most bytes of a query or of a document (default 256 KiB)")
	f.IntVar(&c.MaxHeld, "max-held", 0, "the most bytes of all requests' bodies together (default 128 MiB, at least -max-body)")
	f.DurationVar(&c.DrainDelay, "drain-delay", 0, "how long to accept requests after SIGTERM, while /readyz fails")
	f.BoolVar(&c.LogTexts, "log-texts", false, "write queries and documents to the log")
	names, status, done := theArguments(f, "MODEL", serveAbout, args, out, errs)
	if done {
		return status
	}
	if err := key.validate(); err != nil {
		return misused(f, err, errs)
	}
	load := func(ctx context.Context) (*serve.Model, error) {
		published, err := isPublished(names[0])
		switch {
		case err != nil:
			return nil, err
		case published && *task != "":
			return nil, fmt.Errorf("%s has no %s: it is a published model, which takes no -task", names[0], relevance.ModelFile)
		case published:
			reranker.Backend = open.backend
			return serve.OpenReranker(ctx, names[0], reranker)
		case reranker.Instruction != "" || reranker.MaxTokens != 0:
			return nil, fmt.Errorf("%s has a %s, which says what the model reads: -instruction and -max-tokens are for published rerankers", names[0], relevance.ModelFile)
		case *task == "":
			m, err := serve.Open(ctx, names[0], nil, open.backend)
			if errors.Is(err, relevance.ErrNoTask) {
				err = fmt.Errorf("%w: name its task file with -task", err)
			}
			return m, err
		}
		s, _, err := open.openModel(ctx, names[0], *task, errs)
		if err != nil {
			return nil, err
		}
		m, err := serve.NewModel(ctx, names[0], s)
		if err != nil {
			s.Close()
		}
		return m, err
	}
	if os.Getenv("GOGC") == "" {
		// Most of the heap are weights, which cost the collector nothing. By default it
		// would wait until there is as much garbage.
		defer debug.SetGCPercent(debug.SetGCPercent(20))
	}
	ctx, stop := untilStopped()
	defer stop()
	c.Log = slog.New(slog.NewTextHandler(errs, nil))
	return finish(prog, serveUntil(ctx, c, key, *addr, load), errs, exitInput)
}

// isPublished reports whether a folder holds a model in Hugging Face's layout that is not
// of this library's training.
func isPublished(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, relevance.ModelFile))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	_, err = os.Stat(filepath.Join(dir, model.ConfigFile))
	return err == nil, nil
}

// serveUntil serves the model that load reads until ctx ends, and reads it again on
// SIGHUP.
func serveUntil(ctx context.Context, c serve.Config, key keyFlags, addr string, load func(context.Context) (*serve.Model, error)) error {
	var err error
	if c.Token, err = key.read(); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP) // from now on, so that none ends the program
	defer signal.Stop(reload)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	m, err := load(ctx)
	if err != nil {
		l.Close()
		return err
	}
	s, err := serve.New(c, m)
	if err != nil {
		m.Close()
		l.Close()
		return err
	}
	if c.Token == "" {
		if host, _, _ := net.SplitHostPort(l.Addr().String()); !net.ParseIP(host).IsLoopback() {
			c.Log.Warn("anybody who reaches this address may ask: neither -token-env nor -token-file names a token")
		}
	}
	c.Log.Info("serving", "address", "http://"+l.Addr().String(), "version", m.Version, "digest", m.Digest)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-reload:
			_ = s.Reload(ctx, load) // it has said what is wrong
		}
	}
}

// keyFlags say where a bearer token is.
type keyFlags struct{ env, file *string }

func newKeyFlags(f *flag.FlagSet) keyFlags {
	return keyFlags{
		env:  f.String("token-env", "", "the environment variable with the bearer token"),
		file: f.String("token-file", "", "the file with the bearer token"),
	}
}

// validate returns an error if both are set.
func (k keyFlags) validate() error {
	if *k.env != "" && *k.file != "" {
		return errors.New("-token-env and -token-file are both set, want one of them")
	}
	return nil
}

// read returns the token, or "" if none is named. One that is named and empty is an error.
func (k keyFlags) read() (string, error) {
	var token, from string
	switch {
	case *k.env != "":
		token, from = os.Getenv(*k.env), "the environment variable "+*k.env
	case *k.file != "":
		text, err := os.ReadFile(*k.file)
		if err != nil {
			return "", err
		}
		token, from = string(text), *k.file
	default:
		return "", nil
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", fmt.Errorf("%s is empty, want a token", from)
	}
	return token, nil
}
