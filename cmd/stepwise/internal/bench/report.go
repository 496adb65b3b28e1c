package bench

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
)

// Report is what [Run] measures. Speeds are those of the fastest of several
// rounds, because other work on the machine only ever slows a round down.
type Report struct {
	// Machine describes the processor, and the instruction set and workers or the
	// backend and its precision.
	Machine string `json:"machine"`
	// FMAPeakGFLOPS is the speed of multiply-adds that stay in registers, of bfloat16s if
	// that is the backend's precision, and
	// MemoryGBps that of reading a buffer larger than the caches, both on all
	// workers. They are measured again in every section, in turn with what is
	// compared with them; these are the highest. They are 0, and so is all that is a
	// fraction of them, for a backend that does not measure them.
	FMAPeakGFLOPS float64 `json:"fma_peak_gflops"`
	MemoryGBps    float64 `json:"memory_gbps"`

	GEMM   []GEMM   `json:"gemm"`
	Train  []Train  `json:"train"`
	Sample []Sample `json:"sample"`
	Shared []Shared `json:"shared"`
	Cores  Cores    `json:"cores"`

	// PeakRSSBytes is the most memory that the process ever held; 0 where the
	// system does not tell.
	PeakRSSBytes int64 `json:"peak_rss_bytes"`
}

// GEMM is the speed of a matrix product c [m×n] = a [m×k]·b [k×n].
type GEMM struct {
	// Op is NN, NT (b is stored transposed: a linear layer forward), TN (a is:
	// the gradient of weights) or NP (b is packed: a linear layer in decoding).
	Op string `json:"op"`
	M  int    `json:"m"`
	N  int    `json:"n"`
	K  int    `json:"k"`
	// Rotated: every call has another b, so that it comes from memory.
	Rotated bool    `json:"rotated"`
	GFLOPS  float64 `json:"gflops"`
	// PeakFraction is GFLOPS over FMAPeakGFLOPS of the same rounds.
	PeakFraction float64 `json:"peak_fraction"`
	// MemoryFraction is the speed at which a rotated b is read over
	// MemoryGBps of the same rounds.
	MemoryFraction float64 `json:"memory_fraction,omitempty"`
}

// Train is the speed of training steps: forward, backward and AdamW.
type Train struct {
	Model           string  `json:"model"`
	Parameters      int     `json:"parameters"`
	Sequences       int     `json:"sequences"`
	Length          int     `json:"length"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	// FLOPsUtilization counts the multiply-adds that the model needs, those of
	// masked attention not, as a fraction of FMAPeakGFLOPS of the same rounds.
	FLOPsUtilization float64 `json:"flops_utilization"`
	// TFLOPS is that count in 10¹² operations per second.
	TFLOPS float64 `json:"tflops"`
	// ActivationBytes is what the step holds besides parameters and optimiser.
	ActivationBytes int `json:"activation_bytes"`
	// AllocatedBytesPerStep is what a step allocates on Go's heap.
	AllocatedBytesPerStep int64 `json:"allocated_bytes_per_step"`
}

// Sample is the speed of sampling at temperature 1 with lm/local.
type Sample struct {
	Model string `json:"model"`
	// Weights is how they are held: float32 or bfloat16.
	Weights string `json:"weights"`
	// Batch is how many completions run at once, each of its own prompt of
	// Prompt tokens.
	Batch           int     `json:"batch"`
	Prompt          int     `json:"prompt"`
	Tokens          int     `json:"tokens"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	// MemoryFraction is the speed at which the steps read the weights over
	// MemoryGBps of the same rounds: at most 1 where weights exceed the caches
	// and batches are small.
	MemoryFraction         float64 `json:"memory_fraction"`
	AllocatedBytesPerToken float64 `json:"allocated_bytes_per_token"`
}

// Shared compares training steps in which the completions of a prompt share
// its rows with steps in which each has a copy.
type Shared struct {
	Model       string `json:"model"`
	Prompt      int    `json:"prompt"`
	Completions int    `json:"completions"`
	Tokens      int    `json:"tokens"`
	// Speedup is the ratio of the two speeds.
	CompletionsPerSecond         float64 `json:"completions_per_second"`
	UnsharedCompletionsPerSecond float64 `json:"unshared_completions_per_second"`
	Speedup                      float64 `json:"speedup"`
	ActivationBytes              int     `json:"activation_bytes"`
	UnsharedActivationBytes      int     `json:"unshared_activation_bytes"`
}

// Cores compares one core with all. Of a pair of figures, the first is of one core.
type Cores struct {
	// Workers is how many all are: GOMAXPROCS.
	Workers int `json:"workers"`
	// PeakGFLOPS and MemoryGBps are what could be done at best: cores share
	// memory, and perhaps their clock.
	PeakGFLOPS [2]float64 `json:"peak_gflops"`
	MemoryGBps [2]float64 `json:"memory_gbps"`
	Uses       []CoreUse  `json:"uses"`
}

// CoreUse is how long a training step, or a call of sampling, takes.
type CoreUse struct {
	Model string `json:"model"`
	// Work is train or sample.
	Work string `json:"work"`
	// Seconds is the sum over all operations.
	Seconds    [2]float64  `json:"seconds"`
	Operations []Operation `json:"operations"`
}

// Operation is how long all calls of a tensor.Backend's operation take together, each
// in the round in which it took least.
type Operation struct {
	Name    string     `json:"name"`
	Seconds [2]float64 `json:"seconds"`
}

// serialShare is the share s of the time on one core for which Amdahl's law,
// T(n) = T(1)·(s + (1−s)/n), gives the time on n cores. It counts whatever keeps n
// cores from being n times as fast, such as the memory that they share.
func serialShare(seconds [2]float64, n int) float64 {
	if seconds[0] == 0 {
		return 0
	}
	return (float64(n)*seconds[1]/seconds[0] - 1) / float64(n-1)
}

// Print writes the report as tables.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(format string, args ...any) { fmt.Fprintf(t, format+"\t\n", args...) }
	fmt.Fprintln(w, r.Machine)
	if r.FMAPeakGFLOPS > 0 {
		fmt.Fprintf(w, "FMA peak %.0f GFLOP/s, memory %.1f GB/s, ", r.FMAPeakGFLOPS, r.MemoryGBps)
	}
	fmt.Fprintf(w, "peak RSS %d MiB\n", r.PeakRSSBytes>>20)
	if len(r.GEMM) > 0 {
		line("\ngemm\tm\tn\tk\tb\tGFLOP/s\tof peak\tof memory")
		for _, g := range r.GEMM {
			memory, operand := "", "cached"
			if g.Rotated {
				memory, operand = percent(g.MemoryFraction), "rotated"
			}
			line("%s\t%d\t%d\t%d\t%s\t%.1f\t%s\t%s", g.Op, g.M, g.N, g.K, operand, g.GFLOPS, percent(g.PeakFraction), memory)
		}
	}
	if len(r.Train) > 0 {
		line("\ntrain\tparameters\tbatch\ttokens/s\tTFLOP/s\tof peak\tactivations\tallocated/step")
		for _, x := range r.Train {
			line("%s\t%d\t%d×%d\t%.0f\t%.2f\t%s\t%.1f MiB\t%d B", x.Model, x.Parameters, x.Sequences, x.Length, x.TokensPerSecond, x.TFLOPS,
				percent(x.FLOPsUtilization), mib(x.ActivationBytes), x.AllocatedBytesPerStep)
		}
	}
	if len(r.Sample) > 0 {
		line("\nsample\tweights\tbatch\ttokens/s\tof memory\tallocated/token")
		for _, x := range r.Sample {
			line("%s\t%s\t%d\t%.0f\t%s\t%.0f B", x.Model, x.Weights, x.Batch, x.TokensPerSecond, percent(x.MemoryFraction), x.AllocatedBytesPerToken)
		}
	}
	if len(r.Shared) > 0 {
		line("\nshared prompt\tshape\tcompletions/s\twithout\tspeedup\tactivations\twithout")
		for _, x := range r.Shared {
			line("%s\t%d+%d×%d\t%.2f\t%.2f\t%.2f\t%.1f MiB\t%.1f MiB", x.Model, x.Prompt, x.Completions, x.Tokens, x.CompletionsPerSecond,
				x.UnsharedCompletionsPerSecond, x.Speedup, mib(x.ActivationBytes), mib(x.UnsharedActivationBytes))
		}
	}
	if c := &r.Cores; len(c.Uses) > 0 {
		row := func(name, format string, x, seconds [2]float64) {
			line("%s\t"+format+"\t"+format+"\t%.2f\t%.1f%%", name, x[0], x[1], seconds[0]/seconds[1], 100*serialShare(seconds, c.Workers))
		}
		line("\ncores\tone\tall %d\tratio\tserial", c.Workers)
		row("multiply-adds in registers", "%.0f GFLOP/s", c.PeakGFLOPS, [2]float64{1 / c.PeakGFLOPS[0], 1 / c.PeakGFLOPS[1]})
		row("reading memory", "%.1f GB/s", c.MemoryGBps, [2]float64{1 / c.MemoryGBps[0], 1 / c.MemoryGBps[1]})
		for _, u := range c.Uses {
			line("\n%s %s\t\t\t\t", u.Work, u.Model)
			for _, o := range append([]Operation{{"all", u.Seconds}}, u.Operations...) {
				row(o.Name, "%.3f ms", [2]float64{1e3 * o.Seconds[0], 1e3 * o.Seconds[1]}, o.Seconds)
			}
		}
	}
	return t.Flush()
}

func percent(x float64) string {
	if x == 0 {
		return "?"
	}
	return fmt.Sprintf("%.0f%%", 100*x)
}

func mib(bytes int) float64 { return float64(bytes) / (1 << 20) }

// machine describes what the figures were measured on.
func machine(b tensor.Backend) string {
	c, ok := b.(*cpu.Backend)
	if !ok {
		device := b.Name()
		if d, ok := b.(interface{ Describe() string }); ok {
			device += ": " + d.Describe()
		}
		return fmt.Sprintf("%s, backend %s, precision %v, %s %s/%s", processor(), device, tensor.PrecisionOf(b), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	}
	return fmt.Sprintf("%s, %v kernels, precision %v, GOMAXPROCS %d, %s %s/%s", processor(), c.ISA(), c.Precision(), runtime.GOMAXPROCS(0), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
