package gputest

import "strings"

// Fault is a mistake that a test plants in the kernels' source.
type Fault struct {
	Name     string
	From, To string
	// Race says that the kernel then depends on the order of a block's threads;
	// otherwise its results are wrong.
	Race bool
}

// Plant returns the source with the fault, and whether it has its place there.
func (f Fault) Plant(source string) (string, bool) {
	return strings.Replace(source, f.From, f.To, 1), strings.Contains(source, f.From)
}

// Faults are mistakes that are easily made.
var Faults = []Fault{
	{
		Name: "no barrier within a reduction", Race: true,
		From: "scratch[TID + half_]);   \\\n      BARRIER();", To: "scratch[TID + half_]);   \\\n      ",
	},
	{
		Name: "wrong causal mask",
		From: "ahead <= right &&", To: "ahead <= right + 1 &&",
	},
	{
		Name: "one row too many",
		From: "if (r < m && s < n)", To: "if (r <= m && s < n)",
	},
	{
		Name: "no barrier after a product's step", Race: true,
		From: "acc[i][j]);\n    }\n    BARRIER();", To: "acc[i][j]);\n    }\n",
	},
	{
		Name: "no barrier before values replace keys", Race: true,
		From: "BARRIER();\n      LOAD_ROWS(kv, BN, v", To: "LOAD_ROWS(kv, BN, v",
	},
	{
		Name: "the next token's log-prob",
		From: "z[targets[row]]", To: "z[targets[row] + 1]",
	},
	{
		Name: "a column too few",
		From: "for (int j = TID; j < cols; j += RT) PUT(y, at + j, GET(x, at + j) * r * w[j]);", To: "for (int j = TID; j < cols - 1; j += RT) PUT(y, at + j, GET(x, at + j) * r * w[j]);",
	},
}
