package openai

import (
	"sync"
	"time"
)

// lost is the reason why a sample could not be delivered. The reasons are fixed, so
// that no server invents names of metrics.
type lost uint8

const (
	lostDeadline   lost = iota // SampleTimeout has passed
	lostConnection             // no connection, or it broke
	lostStatus                 // an error of the server
	lostAnswer                 // an answer that cannot be read, or is not what was asked for
	lostUTF8                   // llama.cpp: output that is not UTF-8 has no answer, or no log-probs
	lostReasons
)

var lostNames = [lostReasons]string{"deadline", "connection", "status", "answer", "utf8"}

// lossError ends a sample, because another attempt would not help.
type lossError struct {
	reason lost
	err    error
}

func lose(reason lost, err error) error { return &lossError{reason, err} }

func (e *lossError) Error() string { return e.err.Error() }
func (e *lossError) Unwrap() error { return e.err }

// gauge is a number that changes, and its integral over time.
type gauge struct {
	mu    sync.Mutex
	value int
	since time.Time
	area  float64 // value · seconds
}

func (g *gauge) add(now time.Time, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.area += float64(g.value) * now.Sub(g.since).Seconds()
	g.value, g.since = g.value+n, now
}

// take returns the integral and starts it anew.
func (g *gauge) take(now time.Time) float64 {
	g.add(now, 0)
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.area
	g.area = 0
	return a
}

// counters are what Metrics reports, since the last time that it did.
type counters struct {
	queue, inFlight gauge

	mu                            sync.Mutex
	since                         time.Time
	samples, tokens               int
	answered, retries, busyWaits  int
	serverSeconds, longestSeconds float64
	losses                        [lostReasons]int
	refreshSeconds                float64
}

func newCounters() *counters {
	now := time.Now()
	c := &counters{since: now}
	c.queue.since, c.inFlight.since = now, now
	return c
}

func (c *counters) count(f func(c *counters)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// Metrics returns what the engine did since the last call of it, for a rl.Recorder:
//
//	engine/samples, engine/tokens     completions delivered, and their tokens
//	engine/tokens_per_second          tokens by the time since the last call
//	engine/queue, engine/in_flight    samples that waited for a server, and requests
//	                                  at servers, both as means over that time
//	engine/busy                       in_flight by the places at all servers
//	engine/retries                    attempts after the first of a sample
//	engine/asked_to_wait              answers 429 and others with Retry-After
//	engine/server_seconds             mean time from a request to its answer
//	engine/server_seconds_max         the longest
//	engine/lost                       samples lost, and by reason:
//	engine/lost_deadline              the sample's deadline has passed
//	engine/lost_connection            connections that failed or broke
//	engine/lost_status                errors of servers
//	engine/lost_answer                answers that were not what was asked for
//	engine/lost_utf8                  llama.cpp: output that is no UTF-8
//	engine/refresh_seconds            time in weight refreshes
//	engine/servers_up, engine/servers_dead
//
// A server's text is never part of a name.
func (e *Engine) Metrics() map[string]float64 {
	f, now := e.fleet, time.Now()
	m := map[string]float64{}
	queue, inFlight := f.queue.take(now), f.inFlight.take(now)
	f.count(func(c *counters) {
		seconds := max(now.Sub(c.since).Seconds(), 1e-9)
		m["engine/samples"], m["engine/tokens"] = float64(c.samples), float64(c.tokens)
		m["engine/tokens_per_second"] = float64(c.tokens) / seconds
		m["engine/queue"], m["engine/in_flight"] = queue/seconds, inFlight/seconds
		m["engine/busy"] = inFlight / seconds / float64(f.slots())
		m["engine/retries"], m["engine/asked_to_wait"] = float64(c.retries), float64(c.busyWaits)
		m["engine/server_seconds"] = c.serverSeconds / float64(max(c.answered, 1))
		m["engine/server_seconds_max"] = c.longestSeconds
		m["engine/refresh_seconds"] = c.refreshSeconds
		all := 0
		for reason, n := range c.losses {
			m["engine/lost_"+lostNames[reason]] = float64(n)
			all += n
		}
		m["engine/lost"] = float64(all)
		c.since = now
		c.samples, c.tokens, c.answered, c.retries, c.busyWaits = 0, 0, 0, 0, 0
		c.serverSeconds, c.longestSeconds, c.refreshSeconds = 0, 0, 0
		c.losses = [lostReasons]int{}
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	up, dead := 0, 0
	for _, s := range f.servers {
		switch s.state {
		case stateUp, stateRefreshing:
			up++
		case stateDead:
			dead++
		}
	}
	m["engine/servers_up"], m["engine/servers_dead"] = float64(up), float64(dead)
	return m
}
