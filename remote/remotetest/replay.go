package remotetest

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
)

// maxBody bounds what is read of a request.
const maxBody = 64 << 20

// Exchange is a request and its answer, as recorded. As JSON it is one object on one
// line. A body that is JSON or text stands in "request" and "response" as it is; any
// other in base64 in "request_base64" and "response_base64".
//
//	{"note":"T=0.5","method":"POST","path":"/v1/completions","request":{…},"status":200,"response":{…}}
type Exchange struct {
	Note string
	// Method and Path of the request. Path may have a query.
	Method, Path string
	// RequestType and ResponseType are the content types; empty ones mean
	// application/json for JSON and text/plain for text.
	RequestType, ResponseType string
	// Request and Response are the bodies; empty = none.
	Request, Response []byte
	// Status is the answer's; 0 = the connection was closed without an answer.
	Status int
}

// line is an Exchange as JSON.
type line struct {
	Note           string          `json:"note,omitempty"`
	Method         string          `json:"method"`
	Path           string          `json:"path"`
	RequestType    string          `json:"request_content_type,omitempty"`
	Request        json.RawMessage `json:"request,omitempty"`
	RequestBase64  string          `json:"request_base64,omitempty"`
	Status         int             `json:"status"`
	ResponseType   string          `json:"response_content_type,omitempty"`
	Response       json.RawMessage `json:"response,omitempty"`
	ResponseBase64 string          `json:"response_base64,omitempty"`
}

// ReadRecording reads a recording. name is the file's name for errors, which also
// name the line. Other keys and empty lines are ignored.
func ReadRecording(name string, r io.Reader) ([]Exchange, error) {
	var all []Exchange
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxBody)
	for number := 1; in.Scan(); number++ {
		text := bytes.TrimSpace(in.Bytes())
		if len(text) == 0 {
			continue
		}
		var l line
		err := json.Unmarshal(text, &l)
		e := Exchange{Note: l.Note, Method: l.Method, Path: l.Path, Status: l.Status}
		if err == nil && (e.Method == "" || !strings.HasPrefix(e.Path, "/")) {
			err = errors.New("want a method, and a path that starts with a slash")
		}
		if err == nil {
			e.Request, e.RequestType, err = body(l.Request, l.RequestBase64, l.RequestType)
		}
		if err == nil {
			e.Response, e.ResponseType, err = body(l.Response, l.ResponseBase64, l.ResponseType)
		}
		if err != nil {
			return nil, fmt.Errorf("remotetest: %s:%d: %w", name, number, err)
		}
		all = append(all, e)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("remotetest: %s: %w", name, err)
	}
	return all, nil
}

func body(value json.RawMessage, coded, mime string) ([]byte, string, error) {
	def := func(m string) string { return cmp.Or(mime, m) }
	var text string
	switch {
	case coded != "":
		b, err := base64.StdEncoding.DecodeString(coded)
		return b, def("application/octet-stream"), err
	case len(value) == 0 || string(value) == "null":
		return nil, mime, nil
	case json.Unmarshal(value, &text) == nil:
		return []byte(text), def("text/plain; charset=utf-8"), nil
	}
	return value, def("application/json"), nil
}

// Replay is an http.Handler that answers as a recorded server did. A request is
// answered by the first exchange with its method, path and body that was not used
// yet; once all of them were, by the last. Anything else gets 404, is listed by
// Unknown, and should fail the test.
type Replay struct {
	// Match says whether a request that arrived is the recorded one; nil means
	// Same. Change it before the first request.
	Match func(recorded, got *Exchange) bool

	exchanges []Exchange
	mu        sync.Mutex
	served    []int
	unknown   []string
}

// NewReplay returns a handler that answers from a recording.
func NewReplay(recording []Exchange) *Replay {
	return &Replay{exchanges: recording, served: make([]int, len(recording))}
}

// Same reports whether two requests have the same method, the same path and equal
// bodies. JSON is compared by value, without the top-level keys named in ignore.
func Same(a, b *Exchange, ignore ...string) bool {
	if a.Method != b.Method || a.Path != b.Path {
		return false
	}
	var x, y any
	if json.Unmarshal(a.Request, &x) != nil || json.Unmarshal(b.Request, &y) != nil {
		return bytes.Equal(a.Request, b.Request)
	}
	for _, v := range []any{x, y} {
		if m, ok := v.(map[string]any); ok {
			for _, key := range ignore {
				delete(m, key)
			}
		}
	}
	return reflect.DeepEqual(x, y)
}

func (p *Replay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	got := &Exchange{Method: r.Method, Path: r.URL.RequestURI(), RequestType: r.Header.Get("Content-Type"), Request: b}
	e := p.find(got)
	switch {
	case e == nil:
		http.Error(w, "remotetest: not in the recording", http.StatusNotFound)
		return
	case e.Status == 0:
		panic(http.ErrAbortHandler)
	}
	if e.ResponseType != "" {
		w.Header().Set("Content-Type", e.ResponseType)
	}
	w.WriteHeader(e.Status)
	_, _ = w.Write(e.Response)
}

func (p *Replay) find(got *Exchange) *Exchange {
	match := p.Match
	if match == nil {
		match = func(a, b *Exchange) bool { return Same(a, b) }
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last := -1
	for i := range p.exchanges {
		if match(&p.exchanges[i], got) {
			last = i
			if p.served[i] == 0 {
				break
			}
		}
	}
	if last < 0 {
		p.unknown = append(p.unknown, fmt.Sprintf("%s %s %.200q", got.Method, got.Path, got.Request))
		return nil
	}
	p.served[last]++
	return &p.exchanges[last]
}

// Served returns how often each exchange was used, in the order of the recording.
func (p *Replay) Served() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]int(nil), p.served...)
}

// Unknown lists the requests that are not in the recording.
func (p *Replay) Unknown() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.unknown...)
}
