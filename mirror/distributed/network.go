package distributed

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
)

// Message is what one node sends to another in one round.
type Message struct {
	Round, From, To int
	// Point is what the receiver mixes: the sender's dual or primal point.
	Point []float64
	// Share is the receiver's share of the sender's tracker; empty without
	// tracking.
	Share []float64
}

// Network carries the messages of a round from process to process.
type Network interface {
	// Exchange sends the messages of the nodes of this process. in holds the
	// messages that have arrived for these nodes, of this round or earlier ones, in
	// any order. returned holds messages of out that the network knows it could not
	// deliver: their link is down for this round, and its other direction, if there
	// is one, must be down too.
	//
	// The slices in messages, sent and received, are valid only until the next
	// call.
	Exchange(ctx context.Context, round int, out []Message) (in, returned []Message, err error)
}

// Local is the network for a run with all nodes in one process. Its zero value
// delivers everything at once. The fields simulate faults, the same ones for the
// same seed. It serves one run at a time.
type Local struct {
	// Seed determines the faults.
	Seed uint64
	// LinkFailure is the probability that a link is down for a round, in both
	// directions. Both nodes notice, keep its weight for themselves, and nothing
	// is lost.
	LinkFailure float64
	// Drop is the probability that a message is lost without anybody noticing.
	Drop float64
	// MaxDelay is the largest delay in rounds. Each direction of a link has its own
	// delay for the whole run, drawn from 0 to MaxDelay.
	MaxDelay int

	late []lateMessage
	in   []Message
}

type lateMessage struct {
	due int
	Message
}

// Validate returns an error that names the first invalid setting.
func (l *Local) Validate() error {
	switch {
	case !(l.LinkFailure >= 0 && l.LinkFailure < 1):
		return fmt.Errorf("distributed: Local.LinkFailure is %v, want a probability below 1", l.LinkFailure)
	case !(l.Drop >= 0 && l.Drop < 1):
		return fmt.Errorf("distributed: Local.Drop is %v, want a probability below 1", l.Drop)
	case l.MaxDelay < 0:
		return fmt.Errorf("distributed: Local.MaxDelay is %d, want at least 0", l.MaxDelay)
	}
	return nil
}

// Exchange implements Network.
func (l *Local) Exchange(ctx context.Context, round int, out []Message) (in, returned []Message, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if round == 0 {
		l.late = nil // of an earlier run
	}
	in = l.in[:0]
	rest := l.late[:0]
	for _, m := range l.late {
		if m.due <= round {
			in = append(in, m.Message)
		} else {
			rest = append(rest, m)
		}
	}
	l.late = rest
	for _, m := range out {
		if l.LinkFailure > 0 && l.draw(0, round, min(m.From, m.To), max(m.From, m.To)) < l.LinkFailure {
			returned = append(returned, m)
			continue
		}
		if l.Drop > 0 && l.draw(1, round, m.From, m.To) < l.Drop {
			continue
		}
		delay := 0
		if l.MaxDelay > 0 {
			delay = int(l.draw(2, 0, m.From, m.To) * float64(l.MaxDelay+1))
		}
		if delay > 0 {
			m.Point = append([]float64(nil), m.Point...)
			m.Share = append([]float64(nil), m.Share...)
			l.late = append(l.late, lateMessage{round + delay, m})
			continue
		}
		in = append(in, m)
	}
	l.in = in
	return in, returned, nil
}

// draw returns a number from [0, 1) that depends on its arguments alone.
func (l *Local) draw(what, round, from, to int) float64 {
	key := uint64(what)<<62 ^ uint64(round)<<32 ^ uint64(from)<<16 ^ uint64(to)
	return rand.New(rand.NewPCG(l.Seed, key)).Float64()
}

// headerSize is that of round, from, to and the two lengths, 4 bytes each.
const headerSize = 20

// AppendBinary appends the message's encoding to b: round, sender, receiver, and
// the lengths of Point and Share as 32-bit numbers, then Point and Share as 64-bit
// floats, all little-endian.
func (m Message) AppendBinary(b []byte) ([]byte, error) {
	for _, v := range []int{m.Round, m.From, m.To, len(m.Point), len(m.Share)} {
		if v < 0 || v > math.MaxInt32 {
			return nil, fmt.Errorf("distributed: a message with the number %d, want one of 31 bits", v)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	for _, list := range [2][]float64{m.Point, m.Share} {
		for _, v := range list {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	return b, nil
}

// UnmarshalBinary is the inverse of AppendBinary. It is an error if b is not
// exactly one message.
func (m *Message) UnmarshalBinary(b []byte) error {
	if len(b) < headerSize {
		return fmt.Errorf("distributed: a message of %d bytes, want at least %d", len(b), headerSize)
	}
	var head [5]int
	for i := range head {
		v := binary.LittleEndian.Uint32(b[4*i:])
		if v > math.MaxInt32 {
			return fmt.Errorf("distributed: number %d of a message is %d, want one of 31 bits", i, v)
		}
		head[i] = int(v)
	}
	if want := headerSize + 8*(int64(head[3])+int64(head[4])); int64(len(b)) != want {
		return fmt.Errorf("distributed: a message of %d bytes, want %d for %d and %d numbers", len(b), want, head[3], head[4])
	}
	all := make([]float64, head[3]+head[4])
	for i := range all {
		all[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[headerSize+8*i:]))
	}
	*m = Message{Round: head[0], From: head[1], To: head[2], Point: all[:head[3]:head[3]], Share: all[head[3]:]}
	return nil
}
