package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const loadAbout = `ADDRESS is that of stepwise serve, as in: stepwise load http://localhost:8080

Sends generated queries and documents, of 3 to 120 words, for -seconds each:

  first  with -connections that send again when they have an answer, for 1, 10 and 100
         documents a query: latency, pairs a second, and a second of the server's CPU;
  then   at twice the pairs a second that it could do, whether it answers or not, and at
         half of them: what it refuses, and whether it recovers.

The server's memory is that of its /metrics, after half of each part and at its end.`

func runLoad(args []string, _ io.Reader, out, errs io.Writer) int {
	const prog = "stepwise load"
	f := flag.NewFlagSet(prog, flag.ContinueOnError)
	key := newKeyFlags(f)
	seconds := f.Int("seconds", 20, "seconds of each part")
	connections := f.Int("connections", 8, "connections of the first part")
	documents := f.String("documents", "1,10,100", "documents of a query, one part for each")
	overload := f.Int("overload", 10, "documents of a query in the second part; 0 leaves it out")
	names, status, done := theArguments(f, "ADDRESS", loadAbout, args, out, errs)
	if done {
		return status
	}
	l := &loader{url: strings.TrimSuffix(names[0], "/"), length: time.Duration(*seconds) * time.Second, out: out}
	var sizes []int
	for _, text := range strings.Split(*documents, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return misused(f, fmt.Errorf("-documents is %q, want numbers from 1 on and commas", *documents), errs)
		}
		sizes = append(sizes, n)
	}
	if err := key.validate(); err != nil {
		return misused(f, err, errs)
	}
	if u, err := url.Parse(l.url); err != nil || u.Host == "" {
		return misused(f, fmt.Errorf("the address is %q, want one such as http://localhost:8080", names[0]), errs)
	}
	if *seconds < 1 || *connections < 1 {
		return misused(f, fmt.Errorf("-seconds is %d and -connections %d, want at least 1", *seconds, *connections), errs)
	}
	return interruptible(prog, errs, func(ctx context.Context) error {
		var err error
		if l.token, err = key.read(); err != nil {
			return err
		}
		fmt.Fprintf(out, "%-28s %9s %9s %9s %9s %11s %9s %9s %9s %9s\n", "", "answers/s", "p50 ms", "p99 ms", "pairs/s", "pairs/s/CPU", "refused", "other", "MiB half", "MiB end")
		capacity := 0.0 // pairs per second
		for _, n := range sizes {
			r, err := l.part(ctx, fmt.Sprintf("%d documents, %d at a time", n, *connections), n, *connections, 0)
			if err != nil {
				return err
			}
			capacity = max(capacity, r)
		}
		if *overload > 0 {
			for _, way := range []struct {
				name   string
				factor float64
			}{{"twice the capacity", 2}, {"half the capacity after", .5}} {
				if _, err := l.part(ctx, way.name, *overload, 0, way.factor*capacity/float64(*overload)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// loader sends requests and counts what comes of them.
type loader struct {
	url, token string
	length     time.Duration
	out        io.Writer
	memory     []float64 // MiB, of the part at hand
}

// tally is what came of the requests of a part.
type tally struct {
	mu             sync.Mutex
	answered       []float64 // seconds
	refused, other int
	firstOther     error
}

func (t *tally) add(seconds float64, status int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil && status == http.StatusOK:
		t.answered = append(t.answered, seconds)
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		t.refused++
	default:
		t.other++
		t.firstOther = cmp.Or(t.firstOther, err, fmt.Errorf("status %d", status))
	}
}

// part sends queries of n documents, from a number of connections or at a rate per
// second, and prints a line. It returns the pairs per second.
func (l *loader) part(ctx context.Context, name string, n, connections int, rate float64) (float64, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024, MaxConnsPerHost: 1024}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	l.memory = l.memory[:0]
	before, err := l.look(ctx, client)
	if err != nil {
		return 0, err
	}
	var t tally
	var all sync.WaitGroup
	var number atomic.Uint64
	start := time.Now()
	end, cancel := context.WithDeadline(ctx, start.Add(l.length))
	defer cancel()
	if connections > 0 {
		for range connections {
			all.Go(func() {
				for end.Err() == nil {
					if !l.send(ctx, client, n, number.Add(1), &t) {
						time.Sleep(time.Second) // as Retry-After says at least
					}
				}
			})
		}
	} else {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-end.Done():
					return
				case <-time.After(time.Until(start.Add(time.Duration(float64(i) / rate * float64(time.Second))))):
				}
				all.Go(func() { l.send(ctx, client, n, number.Add(1), &t) })
			}
		})
	}
	for end.Err() == nil {
		select {
		case <-time.After(5 * time.Second):
			if _, err := l.look(ctx, client); err != nil {
				return 0, err
			}
		case <-end.Done():
		}
	}
	all.Wait()
	took := time.Since(start).Seconds()
	after, err := l.look(ctx, client)
	switch err = cmp.Or(ctx.Err(), err); {
	case err != nil:
		return 0, err
	case len(t.answered) == 0:
		return 0, fmt.Errorf("%s: nothing was answered, %d refused; the first failure: %v", name, t.refused, t.firstOther)
	}
	slices.Sort(t.answered)
	at := func(q float64) float64 { return 1000 * t.answered[int(q*float64(len(t.answered)-1))] }
	pairs := float64(len(t.answered) * n)
	_, err = fmt.Fprintf(l.out, "%-28s %9.1f %9.1f %9.1f %9.0f %11.0f %9d %9d %9.0f %9.0f\n", name, float64(len(t.answered))/took, at(.5), at(.99), pairs/took,
		pairs/max(after-before, 1e-3), t.refused, t.other, l.memory[len(l.memory)/2], l.memory[len(l.memory)-1])
	if t.firstOther != nil {
		fmt.Fprintf(l.out, "  the first failure: %v\n", t.firstOther)
	}
	return pairs / took, err
}

// send sends one request, and reports whether it was answered.
func (l *loader) send(ctx context.Context, client *http.Client, n int, number uint64, t *tally) bool {
	r := rand.New(rand.NewPCG(number, 1))
	documents := make([]string, n)
	for i := range documents { // half of them have fewer than 30 words
		documents[i] = words(r, 3+int(117*r.Float64()*r.Float64()))
	}
	body, err := json.Marshal(map[string]any{"query": words(r, 3), "documents": documents})
	start, status := time.Now(), 0
	if err == nil {
		var resp *http.Response
		if resp, err = l.do(ctx, client, "POST", "/v1/score", bytes.NewReader(body)); err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			status = resp.StatusCode
		}
	}
	if ctx.Err() == nil {
		t.add(time.Since(start).Seconds(), status, err)
	}
	return status == http.StatusOK
}

func (l *loader) do(ctx context.Context, client *http.Client, method, path string, body io.Reader) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, method, l.url+path, body)
	if err != nil {
		return nil, err
	}
	if l.token != "" {
		q.Header.Set("Authorization", "Bearer "+l.token)
	}
	return client.Do(q)
}

// look notes the server's memory and returns the CPU time that it has taken, in seconds.
func (l *loader) look(ctx context.Context, client *http.Client) (cpu float64, err error) {
	resp, err := l.do(ctx, client, "GET", "/metrics", nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s/metrics: status %s, want 200", l.url, resp.Status)
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		v, _ := strconv.ParseFloat(text, 64)
		switch name {
		case "process_cpu_seconds_total":
			cpu = v
		case "process_resident_memory_bytes":
			l.memory = append(l.memory, v/(1<<20))
		}
	}
	if len(l.memory) == 0 {
		l.memory = append(l.memory, 0) // not every system tells it
	}
	return cpu, nil
}

var loadWords = strings.Fields("red blue green white lamp desk chair clock mouse printer paper cable light small large for home office with without old new the a of and in wood steel 12 inch")

// words is a text of n words.
func words(r *rand.Rand, n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = loadWords[r.IntN(len(loadWords))]
	}
	return strings.Join(all, " ")
}
