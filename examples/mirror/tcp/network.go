package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/mirror/distributed"
)

// network is a distributed.Network of one node: a connection to each neighbour.
type network map[int]net.Conn

// Exchange writes a message to every neighbour and reads one from each. The
// messages are small enough for the connections' buffers, so that nobody waits
// for a reader.
func (n network) Exchange(_ context.Context, round int, out []distributed.Message) (in, returned []distributed.Message, err error) {
	for _, m := range out {
		b, err := m.AppendBinary(nil)
		if err != nil {
			return nil, nil, err
		}
		if _, err := n[m.To].Write(b); err != nil {
			return nil, nil, err
		}
	}
	b := make([]byte, 20+8*2*dimensions)
	for from, conn := range n {
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil, nil, fmt.Errorf("from node %d: %w", from, err)
		}
		var m distributed.Message
		if err := m.UnmarshalBinary(b); err != nil {
			return nil, nil, err
		}
		if m.From != from || m.Round != round {
			return nil, nil, fmt.Errorf("node %d sent a message of node %d for round %d, not %d", from, m.From, m.Round, round)
		}
		in = append(in, m)
	}
	return in, nil, nil
}

// node is one process: it connects and solves.
func node(ctx context.Context, index string, stdin io.Reader, stdout io.Writer) error {
	self, err := strconv.Atoi(index)
	if err != nil || self < 0 || self >= nodes {
		return fmt.Errorf("%s is %q, want a number below %d", variable, index, nodes)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	fmt.Fprintln(stdout, listener.Addr())
	lines := bufio.NewScanner(stdin)
	var addresses [nodes]string
	for i := range addresses {
		if !lines.Scan() {
			return fmt.Errorf("node %d: %d addresses, want %d", self, i, nodes)
		}
		addresses[i] = strings.TrimSpace(lines.Text())
	}
	peers := network{}
	deadline, _ := ctx.Deadline()
	neighbors := distributed.Ring(nodes).Neighbors(self)
	for _, j := range neighbors {
		var conn net.Conn
		if j < self { // dial those before, and say who it is
			if conn, err = new(net.Dialer).DialContext(ctx, "tcp", addresses[j]); err == nil {
				_, err = conn.Write([]byte{byte(self)})
			}
		} else { // any of those after
			listener.(*net.TCPListener).SetDeadline(deadline)
			if conn, err = listener.Accept(); err == nil {
				who := make([]byte, 1)
				_, err = io.ReadFull(conn, who)
				j = int(who[0])
			}
		}
		if err != nil {
			return err
		}
		defer conn.Close()
		if !slices.Contains(neighbors, j) || peers[j] != nil {
			return fmt.Errorf("node %d: a connection from %d, which is not awaited", self, j)
		}
		conn.SetDeadline(deadline)
		peers[j] = conn
	}
	points, err := solve(ctx, self, peers)
	if err == nil {
		fmt.Fprintln(stdout, points[0])
	}
	return err
}
