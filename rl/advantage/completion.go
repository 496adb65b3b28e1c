package advantage

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/internal/vecmath"
)

// Broadcast sets Scalar and the advantage of every token to a, and keeps
// every token. It allocates Adv and Keep if they do not fit. It panics if
// Tokens is negative.
func (c *Completion) Broadcast(a float64) {
	c.allocate()
	c.Scalar = a
	vecmath.Fill(c.Adv, a)
}

// allocate makes Adv and Keep one entry per token, and keeps every token.
func (c *Completion) allocate() {
	if c.Tokens < 0 {
		panic(fmt.Sprintf("advantage: Completion.Tokens is %d", c.Tokens))
	}
	if len(c.Adv) != c.Tokens {
		c.Adv = make([]float64, c.Tokens)
	}
	if len(c.Keep) != c.Tokens {
		c.Keep = make([]bool, c.Tokens)
	}
	vecmath.Fill(c.Keep, true)
}
