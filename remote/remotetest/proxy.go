package remotetest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Settings say which requests a Proxy hits, and with what.
type Settings struct {
	// Rate is the share of requests that are hit, with a fault of Faults drawn at
	// random. The draw depends on Seed, on method, path and body of the request, and
	// on how often this request came before, not on the order of requests.
	Rate   float64
	Faults []Fault
	Seed   uint64
	// Script gives the fault of the n-th request, from 1, in the order of arrival. It
	// goes before Rate.
	Script map[int]Fault
	// Only, if not nil, says which requests can be hit, and are numbered.
	Only func(*http.Request) bool
	// Damage replaces what FaultTruncate, FaultMalform, FaultCount or FaultLogProbs
	// does to a body of that content type: for protobuf, for example, or for JSON with
	// other names than the proxy knows. Nil, and the result nil, leave it to the proxy.
	Damage func(f Fault, contentType string, body []byte) []byte
	// RetryAfter is the header of FaultBusy; "" = "0".
	RetryAfter string
	// Down is how long FaultRefuse closes the port; 0 = 20 ms.
	Down time.Duration
	// Pause is between the bytes of FaultTrickle; 0 = 10 ms.
	Pause time.Duration
}

// Validate returns an error that names an invalid setting.
func (s *Settings) Validate() error {
	switch {
	case !(s.Rate >= 0 && s.Rate <= 1):
		return fmt.Errorf("remotetest: Settings.Rate is %v, want a share from 0 to 1", s.Rate)
	case s.Rate > 0 && len(s.Faults) == 0:
		return fmt.Errorf("remotetest: Settings.Faults is empty, want some for a Rate of %v", s.Rate)
	case s.Down < 0 || s.Pause < 0:
		return fmt.Errorf("remotetest: Settings.Down is %v and Pause is %v, want no negative times", s.Down, s.Pause)
	}
	for _, f := range s.Faults {
		if f == FaultNone || int(f) >= len(faultNames) {
			return fmt.Errorf("remotetest: Settings.Faults has %v, want one of %v", f, Faults())
		}
	}
	return nil
}

// Counts is what a proxy did.
type Counts struct {
	// Requests arrived. The server got Delivered of them, twice those of
	// FaultDuplicate.
	Requests, Delivered int
	// Faults counts the requests by what happened to them, without FaultNone. A fault
	// that found nothing in the answer to change did not happen.
	Faults map[Fault]int
}

// Proxy is a server on a local port that passes requests on to a handler, or does
// something else to them. Close it.
type Proxy struct {
	set     Settings
	next    http.Handler
	address string

	mu        sync.Mutex
	server    *http.Server
	listener  net.Listener // nil while the port is closed
	reopen    *time.Timer
	running   sync.WaitGroup // Serve and handlers
	counts    Counts
	number    int // of the last request that could be hit
	seen      map[[sha256.Size]byte]int
	doomed    bool
	closed    bool
	closeOnce sync.Once
	closing   chan struct{}
}

// NewProxy starts a proxy before next, or returns the error of Settings.Validate or
// of listening.
func NewProxy(next http.Handler, s Settings) (*Proxy, error) {
	if next == nil {
		panic("remotetest: NewProxy needs a handler")
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	s.RetryAfter = cmp.Or(s.RetryAfter, "0")
	s.Down = cmp.Or(s.Down, 20*time.Millisecond)
	s.Pause = cmp.Or(s.Pause, 10*time.Millisecond)
	l, err := anyPort()
	if err != nil {
		return nil, fmt.Errorf("remotetest: %w", err)
	}
	p := &Proxy{
		set: s, next: next, address: l.Addr().String(),
		counts: Counts{Faults: map[Fault]int{}}, seen: map[[sha256.Size]byte]int{}, closing: make(chan struct{}),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve(l)
	return p, nil
}

// anyPort listens on a port below those that systems give to clients. While the port is
// closed, a client's connection must not be given it.
func anyPort() (l net.Listener, err error) {
	for range 100 {
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))); err == nil {
			return l, nil
		}
	}
	return nil, err
}

// URL is the proxy's address, http://127.0.0.1:port.
func (p *Proxy) URL() string { return "http://" + p.address }

// serve starts serving on a listener; p.mu is held.
func (p *Proxy) serve(l net.Listener) {
	if p.server == nil {
		p.server = &http.Server{Handler: http.HandlerFunc(p.handle)}
	}
	p.listener = l
	server := p.server
	p.running.Go(func() { _ = server.Serve(l) })
}

// Close stops the proxy and ends every request under way.
func (p *Proxy) Close() {
	p.closeOnce.Do(func() { close(p.closing) })
	p.mu.Lock()
	p.closed = true
	p.kill()
	p.mu.Unlock()
	p.running.Wait()
}

// Stop closes the port and all connections, as when the server's process ends. Start
// opens the port again.
func (p *Proxy) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
}

// kill closes the port and all connections; p.mu is held.
func (p *Proxy) kill() {
	if p.reopen != nil {
		p.reopen.Stop()
	}
	if p.server != nil {
		_ = p.server.Close()
	}
	if p.listener != nil {
		_ = p.listener.Close() // which a server that does not serve yet leaves open
	}
	p.server, p.listener = nil, nil
}

// Start opens the port after Stop or FaultDoom, at the same address.
func (p *Proxy) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = false
	if p.closed || p.listener != nil {
		return nil
	}
	l, err := p.listen()
	if err != nil {
		return err
	}
	if p.server != nil {
		p.server.SetKeepAlivesEnabled(true)
	}
	p.serve(l)
	return nil
}

// listen takes the port again. Another program may have it for a moment.
func (p *Proxy) listen() (net.Listener, error) {
	for k := 0; ; k++ {
		l, err := net.Listen("tcp", p.address)
		if err == nil || k == 50 {
			return l, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// refuse closes the port and idle connections for a while. Requests under way go on.
func (p *Proxy) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return
	}
	_ = p.listener.Close()
	p.listener = nil
	p.server.SetKeepAlivesEnabled(false)
	p.reopen = time.AfterFunc(p.set.Down, func() { _ = p.Start() })
}

// Counts returns what was done so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	c.Faults = maps.Clone(p.counts.Faults)
	return c
}

// enter notes that a handler runs, unless the proxy is closed.
func (p *Proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.running.Add(1)
	}
	return !p.closed
}

// choose returns the fault of a request.
func (p *Proxy) choose(r *http.Request, body []byte) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Requests++
	if p.doomed && r.Method != http.MethodGet {
		p.kill()
		return FaultDoom
	}
	if p.set.Only != nil && !p.set.Only(r) {
		return FaultNone
	}
	p.number++
	f, ok := p.set.Script[p.number]
	if !ok && p.set.Rate > 0 {
		f = p.draw(r, body)
	}
	if f != FaultNone && !slices.Contains(damages, f) {
		p.counts.Faults[f]++
	}
	if f == FaultDoom {
		p.doomed = true
	}
	return f
}

func (p *Proxy) draw(r *http.Request, body []byte) Fault {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s %s\n", p.set.Seed, r.Method, r.URL.RequestURI())
	_, _ = h.Write(body)
	key := [sha256.Size]byte(h.Sum(nil))
	before := uint64(p.seen[key])
	p.seen[key]++
	g := rand.New(rand.NewPCG(binary.BigEndian.Uint64(key[:]), before))
	if g.Float64() >= p.set.Rate {
		return FaultNone
	}
	return p.set.Faults[g.IntN(len(p.set.Faults))]
}

func (p *Proxy) handle(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		panic(http.ErrAbortHandler)
	}
	defer p.running.Done()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f := p.choose(r, body)
	switch f {
	case FaultRefuse:
		p.refuse()
		reset(w)
		return
	case FaultBusy:
		w.Header().Set("Retry-After", p.set.RetryAfter)
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	case FaultError, FaultDoom:
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	case FaultHang:
		select {
		case <-r.Context().Done():
		case <-p.closing:
		}
		reset(w)
		return
	case FaultDuplicate:
		if p.deliver(r, body) == nil {
			reset(w)
			return
		}
	}
	answer := p.deliver(r, body)
	if answer == nil {
		reset(w)
		return
	}
	p.send(w, r, f, answer)
}

// deliver asks the handler, and returns nil if it ended the connection.
func (p *Proxy) deliver(r *http.Request, body []byte) (answer *httptest.ResponseRecorder) {
	p.mu.Lock()
	p.counts.Delivered++
	p.mu.Unlock()
	defer func() {
		if e := recover(); e != nil {
			if err, ok := e.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(e)
			}
			answer = nil
		}
	}()
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	answer = httptest.NewRecorder()
	p.next.ServeHTTP(answer, again)
	return answer
}

// damages are the faults that change a body.
var damages = []Fault{FaultTruncate, FaultMalform, FaultCount, FaultLogProbs}

// send passes an answer on, or what the fault makes of it.
func (p *Proxy) send(w http.ResponseWriter, r *http.Request, f Fault, answer *httptest.ResponseRecorder) {
	body := answer.Body.Bytes()
	if mime := answer.Header().Get("Content-Type"); slices.Contains(damages, f) {
		var changed []byte
		if p.set.Damage != nil {
			changed = p.set.Damage(f, mime, body)
		}
		if changed == nil {
			changed = damage(f, mime, body)
		}
		if !bytes.Equal(changed, body) {
			p.mu.Lock()
			p.counts.Faults[f]++
			p.mu.Unlock()
		}
		body = changed
	}
	maps.Copy(w.Header(), answer.Header())
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(answer.Code)
	switch f {
	case FaultReset:
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		reset(w)
	case FaultTrickle:
		for i := range body {
			if _, err := w.Write(body[i : i+1]); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-p.closing:
				return
			case <-time.After(p.set.Pause):
			}
		}
	default:
		_, _ = w.Write(body)
	}
}

// reset closes the connection of a request so that the client sees a reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
