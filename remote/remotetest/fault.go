package remotetest

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// Fault is what happens to a request.
type Fault uint8

const (
	// FaultNone forwards it.
	FaultNone Fault = iota
	// FaultRefuse closes its connection before the server gets it, and the port for
	// Settings.Down: further connections are refused.
	FaultRefuse
	// FaultReset resets the connection in the middle of the answer's body. The
	// server has done its work.
	FaultReset
	// FaultBusy answers 429 with Retry-After.
	FaultBusy
	// FaultError answers 500.
	FaultError
	// FaultTruncate cuts the body in half; the headers know nothing of it.
	FaultTruncate
	// FaultMalform sends a body that is neither JSON nor protobuf: an HTML page, or
	// bytes that end within a varint.
	FaultMalform
	// FaultTrickle sends the body a byte at a time with Settings.Pause between them.
	FaultTrickle
	// FaultHang sends nothing until the client gives up.
	FaultHang
	// FaultCount takes the last element of the first list of tokens or log-probs
	// from a JSON answer.
	FaultCount
	// FaultLogProbs lowers every log-prob in a JSON answer by 1.
	FaultLogProbs
	// FaultDuplicate delivers the request to the server twice and returns the
	// second answer.
	FaultDuplicate
	// FaultDoom answers 500. The server seems well after that, as GET requests
	// show, and is gone for good at the next other request: vLLM after a failed
	// reload of weights.
	FaultDoom
)

var faultNames = []string{
	FaultNone: "none", FaultRefuse: "refuse", FaultReset: "reset", FaultBusy: "busy", FaultError: "error",
	FaultTruncate: "truncate", FaultMalform: "malform", FaultTrickle: "trickle", FaultHang: "hang",
	FaultCount: "count", FaultLogProbs: "logprobs", FaultDuplicate: "duplicate", FaultDoom: "doom",
}

// Faults returns every fault but FaultNone.
func Faults() []Fault {
	all := make([]Fault, 0, len(faultNames)-1)
	for f := FaultNone + 1; int(f) < len(faultNames); f++ {
		all = append(all, f)
	}
	return all
}

// String returns the fault's name, such as "reset".
func (f Fault) String() string { return settings.EnumString(faultNames, f) }

// MarshalText returns the name that String returns. An invalid value is an error.
func (f Fault) MarshalText() ([]byte, error) { return settings.EnumText(faultNames, f) }

// UnmarshalText is the inverse of MarshalText. An unknown name is an error.
func (f *Fault) UnmarshalText(text []byte) error { return settings.ParseEnum(faultNames, text, f) }

// damage changes the body of an answer. What it does not find to change stays.
func damage(f Fault, mime string, body []byte) []byte {
	switch f {
	case FaultTruncate:
		return body[:len(body)/2]
	case FaultMalform:
		if strings.Contains(mime, "json") || strings.Contains(mime, "text") {
			return append([]byte("<html><body>502 Bad Gateway</body></html>"), body...)
		}
		return append(bytes.Clone(body), 0xff, 0xff, 0xff)
	case FaultCount, FaultLogProbs:
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber() // integers stay as they are
		var v any
		if d.Decode(&v) != nil {
			return body
		}
		if f == FaultCount {
			shorten(v)
		} else {
			v = lower(v, false)
		}
		if changed, err := json.Marshal(v); err == nil {
			return changed
		}
	}
	return body
}

// perToken are the names of lists with an entry for each token.
var perToken = []string{"tokens", "token_ids", "output_ids", "token_logprobs", "output_token_logprobs", "completion_probabilities", "logprobs", "content"}

// shorten takes the last element of a list of perToken, the first by depth and then
// by the order of perToken.
func shorten(v any) bool {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			if shorten(x) {
				return true
			}
		}
	case map[string]any:
		for _, name := range perToken {
			if list, ok := v[name].([]any); ok && len(list) > 0 {
				v[name] = list[:len(list)-1]
				return true
			}
		}
		for _, x := range v {
			if shorten(x) {
				return true
			}
		}
	}
	return false
}

// lower subtracts 1 from the numbers below a key with "logprob" in its name. within
// says that v is below one. Other numbers that may be there (ids, bytes) are whole.
func lower(v any, within bool) any {
	switch v := v.(type) {
	case json.Number:
		if x, err := v.Float64(); within && err == nil && strings.ContainsAny(v.String(), ".eE") {
			return x - 1
		}
	case []any:
		for i := range v {
			v[i] = lower(v[i], within)
		}
	case map[string]any:
		for name := range v {
			v[name] = lower(v[name], within || strings.Contains(name, "logprob"))
		}
	}
	return v
}
