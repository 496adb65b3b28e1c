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
	// from a JSON answer: a list under "tokens", "token_ids", "output_ids", "ids",
	// "token_logprobs", "output_token_logprobs", "completion_probabilities",
	// "logprobs", "log_probs", "logp" or "content". For other names, and other than
	// JSON, set Settings.Damage.
	FaultCount
	// FaultLogProbs lowers every log-prob in a JSON answer by 1: the numbers anywhere
	// below a key with "logp", "log_p" or "logP" in its name, but for whole ones of at
	// least 0, which may be ids. For other names, and other than JSON, set
	// Settings.Damage.
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

// damage changes the body of an answer, or returns it as it is if it finds nothing to
// change.
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
		var done bool
		if f == FaultCount {
			done = shorten(v)
		} else {
			v, done = lower(v, false)
		}
		if changed, err := json.Marshal(v); err == nil && done {
			return changed
		}
	}
	return body
}

// perToken are the names of lists with an entry for each token.
var perToken = []string{"tokens", "token_ids", "output_ids", "ids", "token_logprobs", "output_token_logprobs", "completion_probabilities", "logprobs", "log_probs", "logp", "content"}

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

// lower subtracts 1 from the log-probs of v and reports whether there are any. within
// says that v is below a key of log-probs.
func lower(v any, within bool) (lowered any, done bool) {
	switch v := v.(type) {
	case json.Number:
		x, err := v.Float64()
		if within && err == nil && (x < 0 || strings.ContainsAny(v.String(), ".eE")) {
			return x - 1, true
		}
	case []any:
		for i := range v {
			var d bool
			v[i], d = lower(v[i], within)
			done = done || d
		}
	case map[string]any:
		for name := range v {
			key := strings.ReplaceAll(strings.ToLower(name), "_", "")
			var d bool
			v[name], d = lower(v[name], within || strings.Contains(key, "logp"))
			done = done || d
		}
	}
	return v, done
}
