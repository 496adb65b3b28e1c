// Command tcp runs gradient tracking with every node in a process of its own,
// joined in a ring by TCP connections on the loopback interface, and checks that
// the result has the same bits as within one process.
//
//	go run ./examples/mirror/tcp
//
// It starts itself once for each node. A node prints its address, reads those of
// all, connects to its neighbours, and prints its point in the end. Messages have
// a fixed size, and after a minute all is over, whatever happens.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/mirror/distributed"
	"github.com/stepwise-rl/stepwise/mirror/kernel"
	"github.com/stepwise-rl/stepwise/mirror/problem"
)

const nodes, dimensions, variable = 6, 4, "STEPWISE_MIRROR_NODE"

func main() {
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "tcp: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if index, isNode := os.LookupEnv(variable); isNode {
		err = node(ctx, index, os.Stdin, os.Stdout)
	} else {
		err = parent(ctx, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tcp:", err)
		os.Exit(1)
	}
}

// solve runs node only, or all if it is negative, and returns their points.
func solve(ctx context.Context, only int, network distributed.Network) (points []string, err error) {
	p := distributed.Problem{Kernel: kernel.Simplex{}, Grads: make([]func(dst, x []float64), nodes)}
	for i := range nodes {
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		fit := problem.Fit{Loss: problem.Square{}}
		for range 5 {
			row := make([]float64, dimensions)
			for j := range row {
				row[j] = rng.NormFloat64()
			}
			fit.A, fit.B = append(fit.A, row), append(fit.B, rng.NormFloat64())
		}
		if only < 0 || only == i {
			p.Grads[i] = fit.Grad
		}
	}
	weights, err := distributed.Metropolis(distributed.Ring(nodes))
	if err != nil {
		return nil, err
	}
	s := distributed.Settings{Mixing: weights, StepSize: 0.1, Tracking: true, Space: distributed.SpaceDual, Rounds: 1000}
	r, err := distributed.Run(ctx, p, []float64{0.25, 0.25, 0.25, 0.25}, s, network)
	if err != nil {
		return nil, err
	}
	for _, n := range r.Nodes {
		points = append(points, fmt.Sprintf("%x", n.X)) // %x shows every bit
	}
	return points, nil
}

// parent starts the nodes and compares what they find.
func parent(ctx context.Context, out io.Writer) error {
	want, err := solve(ctx, -1, &distributed.Local{})
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // kills nodes that still run
	var stdin [nodes]io.Writer
	var stdout [nodes]*bufio.Reader
	addresses := ""
	for i := range nodes {
		c := exec.CommandContext(ctx, exe)
		c.Env, c.Stderr = append(os.Environ(), variable+"="+strconv.Itoa(i)), os.Stderr
		in, err1 := c.StdinPipe()
		output, err2 := c.StdoutPipe()
		if err1 != nil || err2 != nil {
			return fmt.Errorf("node %d: %v, %v", i, err1, err2)
		}
		if err := c.Start(); err != nil {
			return err
		}
		defer func() { cancel(); c.Wait() }()
		stdin[i], stdout[i] = in, bufio.NewReader(output)
		address, err := stdout[i].ReadString('\n')
		if err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
		addresses += address
	}
	for i := range nodes {
		if _, err := io.WriteString(stdin[i], addresses); err != nil {
			return err
		}
	}
	for i := range nodes {
		got, err := stdout[i].ReadString('\n')
		if err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
		if strings.TrimSpace(got) != want[i] {
			return fmt.Errorf("node %d found %s, and within one process %s", i, got, want[i])
		}
	}
	_, err = fmt.Fprintf(out, "%d processes found the same bits as one: %s\n", nodes, want[0])
	return err
}
