package serve

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

//go:embed openapi.json
var openAPI []byte

//go:embed page.html
var page []byte

// Server is an http.Handler that scores documents. Close it in the end, or let Serve.
type Server struct {
	c        Config
	token    [sha256.Size]byte
	mux      *http.ServeMux
	metrics  *metrics
	batcher  *batcher
	reading  atomic.Int64 // requests
	held     atomic.Int64 // bytes of their bodies
	draining atomic.Bool
}

// New returns a server of a model, which it closes in the end. The error is the
// configuration's, or says what the model lacks.
func New(c Config, m *Model) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := m.prepare(); err != nil {
		return nil, err
	}
	s := &Server{c: c.withDefaults(), token: sha256.Sum256([]byte(c.Token)), mux: http.NewServeMux(), metrics: newMetrics()}
	s.metrics.describe(m)
	s.batcher = newBatcher(s.c, m, s.metrics)
	get := func(path string, open bool, f http.HandlerFunc) { s.handle("GET", path, open, f) }
	get("/{$}", true, s.page)
	get("/openapi.json", true, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(openAPI)
	})
	get("/healthz", true, s.healthy)
	get("/readyz", true, s.ready)
	get("/v1/model", false, s.describe)
	get("/metrics", false, promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP)
	s.handle("POST", "/v1/score", false, s.score)
	for _, path := range []string{"/rerank", "/v1/rerank", "/v2/rerank"} {
		s.handle("POST", path, false, s.rerank)
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.observed("other", w, r, func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, wrong(http.StatusNotFound, "no such endpoint; /openapi.json lists them"))
		})
	})
	return s, nil
}

// prepare checks a model and keeps its labels.
func (m *Model) prepare() error {
	if m == nil || m.Scorer == nil {
		return errors.New("serve: the model has no Scorer")
	}
	_, pairs := m.Scorer.(relevance.PairScorer)
	m.whole = !pairs
	m.labels = m.Scorer.Labels()
	if len(m.labels) < 2 {
		return fmt.Errorf("serve: the scorer has labels %q, want at least two", m.labels)
	}
	return nil
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Reload swaps in what load returns, on SIGHUP for example. If that fails, the model
// before goes on; the failure is logged, counted and returned.
func (s *Server) Reload(ctx context.Context, load func(context.Context) (*Model, error)) error {
	m, err := load(ctx)
	if err == nil {
		if err = s.Swap(m); err != nil && m != nil {
			err = errors.Join(err, m.Close())
		}
	}
	if err != nil && ctx.Err() == nil {
		on := s.batcher.current()
		s.metrics.swapFailures.Inc()
		s.c.Log.Error("the model was not swapped; the one before goes on", "version", on.Version, "digest", on.Digest, "error", err)
	}
	return err
}

// Swap lets m answer all requests that have not begun to be scored. The model before is
// closed once its last request is answered. After an error m is still the caller's.
func (s *Server) Swap(m *Model) error {
	if err := m.prepare(); err != nil {
		return err
	}
	if err := s.batcher.change(m); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	s.metrics.swaps.Inc()
	s.c.Log.Info("model swapped", "version", m.Version, "digest", m.Digest)
	return nil
}

// Close refuses new requests, finishes those that it has accepted, or gives them up when
// ctx ends, and closes the model. Handlers may then still be writing their answers.
func (s *Server) Close(ctx context.Context) {
	s.draining.Store(true)
	s.batcher.close(ctx)
}

// Serve answers on a listener until ctx ends. Then /readyz fails, after
// Config.DrainDelay nothing more is accepted, and what was accepted is finished. It
// returns nil after such an end, and closes the listener and the server.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	web := &http.Server{
		// Of a request that is refused unread, too: net/http reads its body before it answers.
		Handler: s, ReadTimeout: s.c.Timeout, WriteTimeout: 3 * s.c.Timeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.c.Log.Handler(), slog.LevelWarn), // no more descriptors for connections, for example
	}
	defer l.Close() // which a server that was told to stop before it began leaves open for a moment
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		s.draining.Store(true)
		s.c.Log.Info("stopping: finishing what was accepted")
		time.Sleep(s.c.DrainDelay)
	}
	// To be read, scored and written a request may take Timeout each.
	grace, cancel := context.WithTimeout(context.Background(), 3*s.c.Timeout)
	defer cancel()
	if stop := web.Shutdown(grace); stop != nil {
		web.Close()
		err = errors.Join(err, fmt.Errorf("serve: some requests did not end: %w", stop))
	}
	s.Close(grace)
	return err
}

// handle adds an endpoint; open ones need no token.
func (s *Server) handle(method, path string, open bool, f http.HandlerFunc) {
	name := strings.TrimSuffix(path, "{$}")
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		s.observed(name, w, r, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method != method && (method != "GET" || r.Method != "HEAD"):
				w.Header().Set("Allow", method)
				refuse(w, wrong(http.StatusMethodNotAllowed, "want %s", method))
			case !open && !s.authorized(r):
				w.Header().Set("WWW-Authenticate", "Bearer")
				refuse(w, wrong(http.StatusUnauthorized, "want the header Authorization: Bearer TOKEN"))
			default:
				f(w, r)
			}
		})
	})
}

func (s *Server) authorized(r *http.Request) bool {
	if s.c.Token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	have := sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(have[:], s.token[:]) == 1
}

// answer records what a handler answers.
type answer struct {
	http.ResponseWriter
	status int
	pairs  int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// statusGone is recorded for a client that did not wait for its answer.
const statusGone = 499

var requestID = regexp.MustCompile(`^[0-9A-Za-z._-]{1,64}$`)

// observed gives a request its ID, counts and logs it.
func (s *Server) observed(name string, w http.ResponseWriter, r *http.Request, f http.HandlerFunc) {
	start := time.Now()
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()
	id := r.Header.Get("X-Request-ID")
	if !requestID.MatchString(id) {
		id = rand.Text()
	}
	w.Header().Set("X-Request-ID", id)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a := &answer{ResponseWriter: w}
	f(a, r)
	if a.status == 0 {
		a.status = http.StatusOK
	}
	took := time.Since(start)
	s.metrics.requests.WithLabelValues(name, strconv.Itoa(a.status)).Inc()
	s.metrics.seconds.WithLabelValues(name).Observe(took.Seconds())
	level := slog.LevelInfo
	if r.Method == "GET" {
		level = slog.LevelDebug // probes
	}
	s.c.Log.Log(r.Context(), level, "request", "endpoint", name, "status", a.status, "documents", a.pairs, "ms", float64(took.Microseconds())/1000, "id", id)
}

func respond(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic("serve: " + err.Error()) // a NaN that nobody looked for
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(text, '\n'))
}

// refuse answers with a problem.
func refuse(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", "application/json")
	text, _ := json.Marshal(map[string]string{"message": p.message, "id": w.Header().Get("X-Request-ID")})
	w.WriteHeader(p.status)
	w.Write(append(text, '\n'))
}

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	if s.batcher.hangs(time.Now()) {
		refuse(w, wrong(http.StatusServiceUnavailable, "the model hangs: a batch takes more than three times %v", s.c.Timeout))
		return
	}
	io.WriteString(w, "ok\n")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.draining.Load() {
		refuse(w, wrong(http.StatusServiceUnavailable, "stopping"))
		return
	}
	io.WriteString(w, "ok\n")
}

func (s *Server) describe(w http.ResponseWriter, _ *http.Request) {
	m := s.batcher.current()
	respond(w, described{
		identity: m.identity(), Kind: m.Info.Kind, Labels: m.labels, Meanings: m.Info.Meanings, Steps: m.reasons(),
		MaxLength: m.Info.MaxLength, Truncation: m.Info.Truncation,
		Limits: limits{Documents: s.c.MaxDocuments, BodyBytes: s.c.MaxBody, TextBytes: s.c.MaxText},
	})
}

// pageScript and pageStyle are what the page may run and look like: nothing but its own.
var pageScript, pageStyle = hashOf("script"), hashOf("style")

func hashOf(tag string) string {
	_, text, _ := strings.Cut(string(page), "<"+tag+">")
	text, _, _ = strings.Cut(text, "</"+tag+">")
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src "+pageScript+"; style-src "+pageStyle)
	w.Write(page)
}

// scored is what came of a request.
type scored struct {
	scores []relevance.Score
	model  *Model
}

// intake is the place that a request takes, and its body.
type intake struct {
	s    *Server
	body io.Reader
	held int64
}

// leave gives back the place.
func (in *intake) leave() {
	in.s.reading.Add(-1)
	in.s.held.Add(-in.held)
	in.s.metrics.bodies.Sub(float64(in.held))
}

// hold counts n more bytes of the body if there is room for them, and reports whether
// there is. What is refused is never counted, or it would get others refused as well.
func (in *intake) hold(n int64) bool {
	for {
		held := in.s.held.Load()
		if held+n > int64(in.s.c.MaxHeld) {
			return false
		}
		if in.s.held.CompareAndSwap(held, held+n) {
			in.held += n
			in.s.metrics.bodies.Add(float64(n))
			return true
		}
	}
}

// Read reads from the body as long as there is room for all bodies.
func (in *intake) Read(p []byte) (int, error) {
	n, err := in.body.Read(p)
	if !in.hold(int64(n)) {
		err = errHeld
	}
	return n, err
}

// read reads and decodes a request's body. Its caller leaves in the end.
func (in *intake) read(w http.ResponseWriter, r *http.Request, to any) *problem {
	s := in.s
	if n := s.reading.Add(1); n > int64(s.c.MaxRequests) {
		return s.refusal(w, busyError{"too many requests at a time", time.Second})
	}
	if err := s.batcher.welcome(); err != nil {
		return s.refusal(w, err)
	}
	if encoding := strings.Join(r.Header.Values("Content-Encoding"), ","); encoding != "" && !strings.EqualFold(encoding, "identity") {
		w.Header().Set("Accept-Encoding", "identity") // RFC 9110, 15.5.16
		return wrong(http.StatusUnsupportedMediaType, "the body is encoded (Content-Encoding), want it as it is")
	}
	// A client that sends slowly does not keep its place. Not every writer can do it.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.c.Timeout))
	in.body = http.MaxBytesReader(w, r.Body, int64(s.c.MaxBody))
	body, err := io.ReadAll(in)
	if err == nil {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // else it ends the request's context
	} else {
		w.Header().Set("Connection", "close") // what is left of the body will not be read
	}
	var large *http.MaxBytesError
	var network net.Error
	switch {
	case errors.Is(err, errHeld):
		return s.refusal(w, errHeld)
	case errors.As(err, &large):
		return wrong(http.StatusRequestEntityTooLarge, "the body has more than %d bytes", s.c.MaxBody)
	case errors.As(err, &network) && network.Timeout():
		return wrong(http.StatusRequestTimeout, "the body did not arrive in %v", s.c.Timeout)
	case err != nil:
		return wrong(statusGone, "the body ended early")
	}
	return decode(body, to)
}

// refusal is the answer to a request that is not queued.
func (s *Server) refusal(w http.ResponseWriter, err error) *problem {
	busy, ok := errors.AsType[busyError](err)
	if !ok {
		return s.unavailable(w, "%v", err)
	}
	seconds := min(max(int(busy.retry.Seconds()+.999), 1), 60)
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	return wrong(http.StatusTooManyRequests, "%v; try again in %d s", busy, seconds)
}

// run scores a request.
func (s *Server) run(w http.ResponseWriter, r *http.Request, query string, documents []document, steps bool) (scored, *problem) {
	if p := s.c.check(query, documents); p != nil {
		return scored{}, p
	}
	if a, ok := w.(*answer); ok {
		a.pairs = len(documents)
	}
	s.metrics.perQuery.Observe(float64(len(documents)))
	if s.c.LogTexts {
		texts := make([]rows.Document, len(documents))
		for i, d := range documents {
			texts[i] = d.Document
		}
		s.c.Log.Info("texts", "query", query, "documents", texts, "id", w.Header().Get("X-Request-ID"))
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.c.Timeout)
	defer cancel()
	j := &job{ctx: ctx, examples: examples(query, documents), steps: steps, arrived: time.Now()}
	if err := s.batcher.submit(j); err != nil {
		return scored{}, s.refusal(w, err)
	}
	var err error
	select {
	case <-j.finished:
		err = j.err // that of ctx, perhaps
	case <-ctx.Done():
		s.batcher.abandon(j)
		err = ctx.Err()
	}
	switch {
	case err == nil:
	case r.Context().Err() != nil:
		return scored{}, wrong(statusGone, "the client has gone")
	case ctx.Err() != nil:
		return scored{}, s.unavailable(w, "not scored in %v", s.c.Timeout)
	default:
		return scored{}, s.failure(w, err)
	}
	lost := 0
	for i := range j.scores {
		if unscorable(&j.scores[i]) {
			lost++
		}
	}
	s.metrics.unscorable.Add(float64(lost))
	if lost == len(j.scores) && j.scores[0].Unscorable != "" {
		s.c.Log.Error("nothing was scored", "first", j.scores[0].Unscorable)
		return scored{}, s.unavailable(w, "the model's engine delivers nothing")
	}
	return scored{j.scores, j.model}, nil
}

func (s *Server) unavailable(w http.ResponseWriter, format string, args ...any) *problem {
	w.Header().Set("Retry-After", "1")
	return wrong(http.StatusServiceUnavailable, format, args...)
}

// failure is what to answer for an error of the scorer. Only what is wrong with the
// request's texts is told.
func (s *Server) failure(w http.ResponseWriter, err error) *problem {
	row, bad := errors.AsType[*rows.RowError](err)
	switch {
	case bad:
		return wrong(http.StatusUnprocessableEntity, "%s: %s", row.Field, row.Problem)
	case errors.Is(err, context.Canceled): // the server gave up
		return s.unavailable(w, "%v", errClosed)
	}
	s.c.Log.Error("scoring failed", "error", err, "id", w.Header().Get("X-Request-ID"))
	return wrong(http.StatusInternalServerError, "scoring failed")
}
