package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Requests of other connections are scored together, and the texts of one do not harm another.
func TestBatches(t *testing.T) {
	s, f, url := start(t, Config{Wait: -1, MaxBatch: 8})
	var all sync.WaitGroup
	send := func(want int, titles ...string) {
		all.Go(func() {
			status, _, text := post(t, url+"/v1/score", ask(titles...))
			assert.Equal(t, want, status, text)
		})
	}
	send(200, "block")
	<-f.entered
	for range 5 {
		send(200, "0")
	}
	send(500, "fail")
	require.Eventually(t, func() bool { return value(s, "queue_pairs") == 6 }, 5*time.Second, time.Millisecond)
	close(f.release)
	all.Wait()
	require.EqualValues(t, 2, value(s, "batch_pairs"), "batches")
	require.EqualValues(t, 6, value(s, "pairs_total"), "the one that failed was not scored")
}

// A request with many documents does not hold up others: it is in more than one batch.
func TestTurns(t *testing.T) {
	s, f, url := start(t, Config{Wait: -1, MaxBatch: 4})
	first := make(chan struct{})
	go func() {
		defer close(first)
		post(t, url+"/v1/score", ask("block", "0", "0", "0", "0", "block"))
	}()
	<-f.entered
	second := make(chan struct{})
	go func() {
		defer close(second)
		post(t, url+"/v1/score", ask("0"))
	}()
	require.Eventually(t, func() bool { return value(s, "queue_pairs") == 3 }, 5*time.Second, time.Millisecond)
	f.release <- struct{}{}
	<-f.entered // the first request's last document, in the batch of the second
	f.release <- struct{}{}
	<-second
	<-first
}

// own is a scorer that compares documents: it says the share of the others.
type own struct{ calls atomic.Int64 }

func (*own) Labels() []string { return []string{"no", "yes"} }

func (o *own) Score(_ context.Context, query string, documents []rows.Document, _ relevance.ScoreOptions) ([]relevance.Score, error) {
	o.calls.Add(1)
	scores := make([]relevance.Score, len(documents))
	for i := range scores {
		yes := 1 / float64(len(documents))
		scores[i].P = []float64{1 - yes, yes}
	}
	if query == "short" {
		scores = scores[1:]
	}
	return scores, nil
}

// A scorer that is no PairScorer gets every request in one call, with all its documents.
// What it leaves out of its scores is derived.
func TestWholeRequests(t *testing.T) {
	scorer := &own{}
	s, err := New(Config{MaxBatch: 4}, &Model{Scorer: scorer})
	require.NoError(t, err)
	defer s.Close(t.Context())
	var all sync.WaitGroup
	for n := 1; n <= 10; n++ {
		all.Go(func() {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("POST", "/v1/score", strings.NewReader(ask(strings.Fields(strings.Repeat("d ", n))...))))
			label := map[bool]string{true: "yes", false: "no"}[n == 1]
			assert.Equal(t, n, strings.Count(w.Body.String(), fmt.Sprintf(`"label":%q,"p":[%v,%v],"grade":%[3]v,"relevance_score":%[3]v}`, label, 1-1/float64(n), 1/float64(n))), w.Body)
		})
	}
	all.Wait()
	require.EqualValues(t, 10, scorer.calls.Load())
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/v1/score", strings.NewReader(`{"query": "short", "documents": ["a", "b"]}`)))
	require.Equal(t, 500, w.Code, w.Body)
	for _, m := range []*Model{nil, {}} {
		_, err := New(Config{}, m)
		require.ErrorContains(t, err, "no Scorer")
	}
}

// A full queue refuses, and says when to come again.
func TestBackPressure(t *testing.T) {
	s, f, url := start(t, Config{Wait: -1, MaxQueue: 4, MaxDocuments: 4, MaxRequests: 3})
	var all sync.WaitGroup
	all.Go(func() { post(t, url+"/v1/score", ask("block")) })
	<-f.entered
	all.Go(func() { post(t, url+"/v1/score", ask("0", "0", "0")) })
	require.Eventually(t, func() bool { return value(s, "queue_pairs") == 3 }, 5*time.Second, time.Millisecond)
	status, h, text := post(t, url+"/v1/score", ask("0", "0"))
	require.Equal(t, 429, status, text)
	require.Equal(t, "1", h.Get("Retry-After"))
	all.Go(func() { post(t, url+"/v1/score", ask("0")) })
	require.Eventually(t, func() bool { return value(s, "queue_pairs") == 4 }, 5*time.Second, time.Millisecond)
	status, _, text = post(t, url+"/v1/score", "{}")
	require.Equal(t, 429, status, "a fourth request is not even read")
	require.Contains(t, text, "too many requests at a time; try again in 1 s")
	close(f.release)
	all.Wait()
	status, _, _ = post(t, url+"/v1/score", ask("0", "0"))
	require.Equal(t, 200, status)
}

// What would hardly end in time is refused at once, unless nothing waits: of the others as
// many documents come before its last one as it has itself, and of the oldest as many as of
// all the rest. Without turns all come before.
func TestExpectedWait(t *testing.T) {
	b := &batcher{c: Config{Timeout: time.Second}.withDefaults(), metrics: newMetrics(time.Second), wake: make(chan struct{}, 1), rate: 10, model: &Model{}}
	submit := func(n int) error { return b.submit(&job{examples: make([]rows.Example, n)}) }
	busy := func(wait time.Duration) error { return busyError{"too many documents are waiting", wait} }
	require.NoError(t, submit(100), "alone it is welcome")
	require.Equal(t, busy(400*time.Millisecond), submit(4), "8 documents take .8 s, more than .75")
	require.NoError(t, submit(3), "3 of the oldest come before")
	require.NoError(t, submit(1), "1 of the second, 2 of the oldest")
	require.Equal(t, busy(800*time.Millisecond), submit(2), "2 and 1, and 3 + 2 of the oldest")
	require.NoError(t, submit(1), "1 and 1, and 3 of the oldest")
	b.taken = 5
	require.Equal(t, busy(1200*time.Millisecond), submit(1), "1, 1 and 1, 4 of the oldest, and what is being scored")
	b.model.whole = true
	require.Equal(t, busy(11*time.Second), submit(1), "105 wait")
}

// slow takes its time for each document.
type slow struct {
	fake
	each time.Duration
}

func (s *slow) ScorePairs(ctx context.Context, pairs []rows.Example, o relevance.ScoreOptions) ([]relevance.Score, error) {
	select {
	case <-time.After(time.Duration(len(pairs)) * s.each):
		return s.fake.ScorePairs(ctx, pairs, o)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// asking lets a client ask for n documents from the start on, again and again or once in
// every period, for ten minutes. It returns how many answers it had, and how many were 200.
func asking(s *Server, all *sync.WaitGroup, start time.Duration, n int, every time.Duration) (answers, good *int) {
	answers, good = new(int), new(int)
	body, end := ask(strings.Fields(strings.Repeat("d ", n))...), time.Now().Add(10*time.Minute)
	all.Go(func() {
		for time.Sleep(start); time.Now().Before(end); {
			next := time.Now().Add(every)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("POST", "/v1/score", strings.NewReader(body)))
			*answers++
			if w.Code == 200 {
				*good++
			}
			seconds, _ := strconv.Atoi(w.Header().Get("Retry-After"))
			time.Sleep(max(time.Until(next), time.Duration(seconds)*time.Second))
		}
	})
	return answers, good
}

// A client whose requests have no hope, 100 documents that a slow model does not score in
// time, does not hold up another that asks for one now and then. Nor where batches have
// become single documents, of which the oldest request has every other one.
func TestHopelessRequestsHoldUpNobody(t *testing.T) {
	for _, c := range []struct {
		each, after, pause time.Duration
		share              float64
		answers            int
	}{
		{time.Second / 2, time.Second, 3 * time.Second, .95, 150},
		{2 * time.Second, 2 * time.Minute, 15 * time.Second, .9, 25},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, err := New(Config{}, &Model{Scorer: &slow{each: c.each}})
			require.NoError(t, err)
			var all sync.WaitGroup
			_, large := asking(s, &all, 0, 100, 0)
			answers, small := asking(s, &all, c.after, 1, c.pause)
			all.Wait()
			s.Close(t.Context())
			require.Zero(t, *large)
			require.Greater(t, float64(*small), c.share*float64(*answers), "of %d", *answers)
			require.Greater(t, *answers, c.answers)
		})
	}
}

// Clients that wait for less than the server's timeout give up their batches, too. These
// become smaller until one is scored in time.
func TestImpatientClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{}, &Model{Scorer: &slow{each: 300 * time.Millisecond}})
		require.NoError(t, err)
		var all sync.WaitGroup
		var good atomic.Int64
		for range 8 {
			all.Go(func() {
				for end := time.Now().Add(time.Minute); time.Now().Before(end); {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					w := httptest.NewRecorder()
					s.ServeHTTP(w, httptest.NewRequest("POST", "/v1/score", strings.NewReader(ask("d"))).WithContext(ctx))
					cancel()
					if w.Code == 200 {
						good.Add(1)
					}
				}
			})
		}
		all.Wait()
		s.Close(t.Context())
		require.Greater(t, good.Load(), int64(40), "of 200 documents that can be scored in a minute")
	})
}

// A batch that is given up says how slow the model is: a server on which twice as much
// arrives as fits, from its start on, finds batches that end in time.
func TestSlowFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{}, &Model{Scorer: &slow{each: time.Second / 2}})
		require.NoError(t, err)
		var all sync.WaitGroup
		var good []*int
		for range 20 {
			_, g := asking(s, &all, 0, 8, 0)
			good = append(good, g)
		}
		all.Wait()
		s.Close(t.Context())
		sum := 0
		for _, g := range good {
			sum += *g
		}
		require.Greater(t, sum, 100, "150 requests of 8 documents are all that can be scored in 10 minutes")
	})
}

// A request whose time is up, or whose client has gone, leaves the queue.
func TestDeadlineAndCancel(t *testing.T) {
	s, f, url := start(t, Config{Wait: -1, Timeout: 100 * time.Millisecond})
	status, h, text := post(t, url+"/v1/score", ask("block"))
	require.Equal(t, 503, status, text)
	require.Equal(t, "1", h.Get("Retry-After"))
	<-f.entered

	s.c.Timeout = time.Minute
	var all sync.WaitGroup
	send := func(body string) context.CancelFunc {
		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			r, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/score", strings.NewReader(body))
			assert.NoError(t, err)
			_, err = http.DefaultClient.Do(r)
			assert.ErrorIs(t, err, context.Canceled)
		})
		return cancel
	}
	goes := func(queued, gone float64) {
		t.Helper()
		require.Eventually(t, func() bool {
			return value(s, "queue_pairs") == queued && value(s, "requests_total", "/v1/score", "499") == gone
		}, 5*time.Second, time.Millisecond)
	}
	scored := send(ask("block"))
	<-f.entered
	waits := send(ask("0", "0"))
	goes(2, 0)
	waits()
	goes(0, 1)
	scored()
	goes(0, 2)
	all.Wait()
	status, _, _ = post(t, url+"/v1/score", ask("0"))
	require.Equal(t, 200, status, "the scorer was told to stop")
}

// What is done when its time is up comes too late, though it is there.
func TestDoneTooLate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	close(done)
	b := newBatcher(Config{}.withDefaults(), newFake("first").model(), newMetrics(time.Second))
	for range 50 {
		require.ErrorIs(t, b.await(&job{ctx: ctx, finished: done}), context.Canceled)
	}
	require.NoError(t, b.close(t.Context()))
}

// A machine that is too busy to come back to a request before the connection's time is up
// still says 503.
func TestBusyMachine(t *testing.T) {
	s, err := New(Config{Timeout: 500 * time.Millisecond}, newFake("first").model())
	require.NoError(t, err)
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	body := ask("0")
	fmt.Fprintf(conn, "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:10])
	require.Eventually(t, func() bool { return s.held.Load() == 10 }, 5*time.Second, time.Millisecond)
	s.batcher.mu.Lock() // as if nothing ran
	fmt.Fprint(conn, body[10:])
	time.Sleep(4 * s.c.Timeout)
	s.batcher.mu.Unlock()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 503, resp.StatusCode)
	resp.Body.Close()
	require.Equal(t, 1., value(s, "requests_total", "/v1/score", "503"))
	stop()
	require.NoError(t, <-ended)
}

// A client that sends slowly does not keep its place, and one that breaks off is counted.
func TestSlowClient(t *testing.T) {
	s, _, url := start(t, Config{Timeout: 100 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	require.NoError(t, err)
	require.Contains(t, string(answer[:n]), "408 Request Timeout")

	s.c.Timeout = time.Minute
	gone, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	fmt.Fprintf(gone, "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	gone.Close()
	require.Eventually(t, func() bool {
		return value(s, "requests_total", "/v1/score", "499") == 1 && s.reading.Load() == 0
	}, 5*time.Second, time.Millisecond)
}

// A body that nobody reads does not hold a connection either: net/http waits for it
// before it answers.
func TestSlowBodyOfARefusedRequest(t *testing.T) {
	s, err := New(Config{Timeout: 100 * time.Millisecond, Token: "t"}, newFake("first").model())
	require.NoError(t, err)
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	for _, line := range []string{"POST /v1/score", "GET /healthz", "DELETE /rerank", "POST /nowhere"} {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", line)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, err = io.ReadAll(conn)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, line)
		conn.Close()
	}
	stop()
	require.NoError(t, <-ended)
}

// What was accepted is finished, while new requests are refused.
func TestGracefulStop(t *testing.T) {
	f := newFake("first")
	s, err := New(Config{Wait: -1}, f.model())
	require.NoError(t, err)
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	url := "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			status, _, text := post(t, url+"/v1/score", ask("block", "0"))
			assert.Equal(t, 200, status, text)
		})
	}
	<-f.entered
	require.Eventually(t, func() bool { return value(s, "requests_in_flight") == 3 }, 5*time.Second, time.Millisecond)
	stop()
	require.Eventually(t, func() bool {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Code == 503
	}, 5*time.Second, time.Millisecond)
	close(f.release)
	all.Wait()
	require.NoError(t, <-ended)
	require.True(t, f.closed.Load())
	_, err = http.Get(url + "/healthz")
	require.Error(t, err)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/v1/score", strings.NewReader(ask("0"))))
	require.Equal(t, 503, w.Code)
	require.Error(t, s.Swap(newFake("late").model()))
	http.DefaultClient.CloseIdleConnections()
}

// hanging does not look at its context.
type hanging struct {
	fake
	release chan struct{}
}

func (h *hanging) ScorePairs(ctx context.Context, pairs []rows.Example, o relevance.ScoreOptions) ([]relevance.Score, error) {
	<-h.release
	return h.fake.ScorePairs(ctx, pairs, o)
}

// A server whose scorer does not come back is not healthy, for it will never answer again.
func TestHangingScorer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{release: make(chan struct{})}
		s, err := New(Config{}, &Model{Scorer: h})
		require.NoError(t, err)
		status := func(method, path, body string) int {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
			return w.Code
		}
		require.Equal(t, 503, status("POST", "/v1/score", ask("1")), "after 10 s")
		time.Sleep(19 * time.Second)
		require.Equal(t, 200, status("GET", "/healthz", ""))
		time.Sleep(2 * time.Second)
		require.Equal(t, 503, status("GET", "/healthz", ""))
		close(h.release)
		synctest.Wait()
		require.Equal(t, 200, status("GET", "/healthz", ""))
		require.NoError(t, s.Close(t.Context()))
	})
}

// A server ends although its scorer hangs, within twice the timeout, and says what hangs.
func TestServeEndsWhileTheScorerHangs(t *testing.T) {
	h := &hanging{release: make(chan struct{})}
	s, err := New(Config{Timeout: 100 * time.Millisecond, Wait: -1}, &Model{Scorer: h, Version: "mine"})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	answered := make(chan int)
	go func() {
		status, _, _ := post(t, "http://"+l.Addr().String()+"/v1/score", ask("1", "2"))
		answered <- status
	}()
	require.Eventually(t, func() bool {
		s.batcher.mu.Lock()
		defer s.batcher.mu.Unlock()
		return s.batcher.taken == 2
	}, 5*time.Second, time.Millisecond)
	stop()
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "serve: the scorer of model mine hangs: it began with 2 documents ")
		require.ErrorContains(t, err, "has not come back 100ms after its context ended")
	case <-time.After(10 * time.Second):
		t.Error("Serve does not end")
	}
	require.Equal(t, 503, <-answered)
	require.False(t, h.closed.Load(), "what is in use is not closed")
	close(h.release)
	<-s.batcher.done
	require.True(t, h.closed.Load())
	http.DefaultClient.CloseIdleConnections()
}

// stuck does not close.
type stuck struct {
	fake
	release chan struct{}
}

func (s *stuck) Close() error {
	<-s.release
	return nil
}

// Nor does a model that does not close keep a server from ending.
func TestModelThatDoesNotClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &stuck{release: make(chan struct{})}
		s, err := New(Config{}, &Model{Scorer: h, Version: "mine"})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.EqualError(t, s.Close(ctx), "serve: the model mine hangs: it is not closed after 10s")
		close(h.release)
	})
}

// flaky has no descriptor for its first connection.
type flaky struct {
	net.Listener
	failed bool
}

func (l *flaky) Accept() (net.Conn, error) {
	if !l.failed {
		l.failed = true
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// That no connection can be accepted is a line in the log of a server that else seems well.
func TestNoMoreDescriptors(t *testing.T) {
	var log bytes.Buffer
	s, err := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, newFake("first").model())
	require.NoError(t, err)
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, &flaky{Listener: l}) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/healthz")
	require.NoError(t, err)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	stop()
	require.NoError(t, <-ended)
	require.Contains(t, log.String(), "level=WARN")
	require.Contains(t, log.String(), "too many open files")
}

// A server that must stop gives up what does not end.
func TestForcedStop(t *testing.T) {
	f := newFake("first")
	s, err := New(Config{Wait: -1}, f.model())
	require.NoError(t, err)
	answered := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("POST", "/v1/score", strings.NewReader(ask("block"))))
		answered <- w.Code
	}()
	<-f.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Close(ctx)
	require.Equal(t, 503, <-answered)
	require.True(t, f.closed.Load())
}

// Models are swapped under load. Every request is answered, by one model, and a request
// sent after a swap by the new one.
func TestSwap(t *testing.T) {
	s, first, url := start(t, Config{MaxBatch: 4})
	first.closed.Store(false)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var answers atomic.Int64
	for range 8 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				status, _, text := post(t, url+"/v1/score", ask("0", "1", "2", "0", "1", "2", "0"))
				assert.Equal(t, 200, status, text)
				answers.Add(1)
			}
		})
	}
	models := []*fake{first}
	for i := range 20 {
		before := answers.Load()
		require.Eventually(t, func() bool { return answers.Load() > before+4 }, 10*time.Second, time.Millisecond)
		f := newFake(fmt.Sprint("model ", i))
		require.NoError(t, s.Swap(f.model()))
		models = append(models, f)
		_, _, text := post(t, url+"/v1/score", ask("0"))
		require.Contains(t, text, `"version":"`+f.version+`"`)
	}
	close(stop)
	all.Wait()
	for _, f := range models[:len(models)-1] {
		require.True(t, f.closed.Load(), f.version)
	}
	require.False(t, models[len(models)-1].closed.Load())
	require.Error(t, s.Swap(&Model{Scorer: noLabels{}}))
}

// A model that cannot be loaded, or is none, is counted and closed; the one before goes on
// and is named.
func TestReload(t *testing.T) {
	var log bytes.Buffer
	s, _, url := start(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for i, load := range []func(context.Context) (*Model, error){
		func(context.Context) (*Model, error) { return nil, errors.New("half a folder") },
		func(context.Context) (*Model, error) { return &Model{Scorer: noLabels{newFake("none")}}, nil },
		func(context.Context) (*Model, error) { return nil, nil },
	} {
		require.Error(t, s.Reload(t.Context(), load))
		require.EqualValues(t, i+1, value(s, "swap_failures_total"))
		require.EqualValues(t, 1, value(s, "model_info", "digest of first", "first"))
		require.Zero(t, value(s, "swaps_total"))
	}
	require.Contains(t, log.String(), `version=first digest="digest of first" error="half a folder"`)
	_, _, text := post(t, url+"/v1/score", ask("0"))
	require.Contains(t, text, `"version":"first"`)
	second := newFake("second")
	require.NoError(t, s.Reload(t.Context(), func(context.Context) (*Model, error) { return second.model(), nil }))
	require.EqualValues(t, 3, value(s, "swap_failures_total"))
	require.EqualValues(t, 1, value(s, "swaps_total"))
	require.Eventually(t, func() bool { return value(s, "model_info", "digest of second", "second") == 1 }, 5*time.Second, time.Millisecond)
	require.Zero(t, value(s, "model_info", "digest of first", "first"))
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, s.Reload(stopped, func(ctx context.Context) (*Model, error) { return nil, ctx.Err() }))
	require.EqualValues(t, 3, value(s, "swap_failures_total"), "who stops the server is not told of a failure")
}

// The bodies of all requests have a bound, and its bytes are given back.
func TestHeldBodies(t *testing.T) {
	const size = 1 << 20
	s, f, url := start(t, Config{Wait: -1, Timeout: time.Minute, MaxBody: 2 * size, MaxHeld: 4*size + size/2, MaxText: 2 * size, MaxRequests: 100})
	large := `{"query": "q", "documents": ["block", "` + strings.Repeat("x", size) + `"]}`
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	var held atomic.Int64
	for range 20 {
		all.Go(func() {
			// Half of them do not say how long they are.
			var body io.Reader = strings.NewReader(large)
			if held.Add(1)%2 == 0 {
				body = io.MultiReader(body)
			}
			resp, err := http.Post(url+"/v1/score", "application/json", body)
			if err != nil {
				return // refused while it still sent
			}
			defer resp.Body.Close()
			switch resp.StatusCode {
			case 200:
			case 429:
				assert.Equal(t, "1", resp.Header.Get("Retry-After"))
				text, err := io.ReadAll(resp.Body)
				assert.NoError(t, err)
				assert.Contains(t, string(text), "the bodies of all requests together are too large")
			default:
				assert.Fail(t, "status", resp.Status)
			}
		})
	}
	<-f.entered
	require.Eventually(t, func() bool {
		inFlight := value(s, "requests_in_flight")
		decoded := value(s, "request_pairs") // decoding takes more, for a moment
		return inFlight <= 4 && decoded == inFlight && inFlight+value(s, "requests_total", "/v1/score", "429") == 20
	}, 30*time.Second, time.Millisecond)
	require.LessOrEqual(t, value(s, "body_bytes"), 4.5*size)
	var during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&during)
	require.Less(t, float64(during.HeapAlloc)-float64(before.HeapAlloc), 4*4.5*size, "what a body takes in memory")
	close(f.release)
	all.Wait()
	require.Eventually(t, func() bool { return value(s, "body_bytes") == 0 }, 5*time.Second, time.Millisecond)
	status, _, text := post(t, url+"/v1/score", large)
	require.Equal(t, 200, status, text)
}

// A body for which there is no room does not get one refused that has arrived: neither at
// its end nor while it waits for more.
func TestRefusedBodyHarmsNoOther(t *testing.T) {
	s, _, url := start(t, Config{MaxBody: 1000, MaxHeld: 1000})
	first := ask("0")
	reader, writer := io.Pipe()
	status := make(chan int)
	go func() {
		resp, err := http.Post(url+"/v1/score", "application/json", reader)
		if assert.NoError(t, err) {
			resp.Body.Close()
			status <- resp.StatusCode
		}
	}()
	_, err := io.WriteString(writer, first)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return value(s, "body_bytes") == float64(len(first)) }, 5*time.Second, time.Millisecond)

	in := intake{s: s, body: strings.NewReader(strings.Repeat("x", 1000))}
	s.reading.Add(1)
	_, err = io.ReadAll(&in)
	require.Equal(t, errHeld, err)
	require.NoError(t, writer.Close()) // while the other has not left
	require.Equal(t, 200, <-status)
	in.leave()
}

type noLabels struct{ *fake }

func (noLabels) Labels() []string { return nil }
