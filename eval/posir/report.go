package posir

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// Report is what is known of a retriever in one setting.
type Report struct {
	// Model and Setting are names, such as "bge-m3" and "eng-eng".
	Model, Setting string
	// Method says in a sentence how documents were ranked; empty leaves it out.
	Method   string
	Analysis *Analysis
	// All and ByLength are the bias of the curves of all lengths and of each.
	All      *Bias
	ByLength [Buckets]*Bias
	// Reversal is nil if mirrored documents were not searched.
	Reversal *Reversal
	// Saliency is nil unless gradients were computed.
	Saliency *Saliency
	// Faults are what is wrong with the benchmark or the run.
	Faults []error
}

// NewReport analyses the results of a setting. The error is that of [MeasureBias].
func NewReport(model, setting string, results []Result, o BiasOptions) (*Report, error) {
	r := &Report{Model: model, Setting: setting, Analysis: Analyze(results)}
	var err error
	if r.All, err = MeasureBias(results, -1, o); err != nil {
		return nil, err
	}
	for i := range r.ByLength {
		if r.ByLength[i], err = MeasureBias(results, i, o); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// noise is the share of permutations, and small the PSI and slope, up to which there is
// no bias to care about.
const noise, small = .01, .1

// biased reports whether a bias is large enough to care about and more than noise,
// which is asked of five curves.
func (b *Bias) biased() bool {
	return b.P <= noise && b.Split > small || b.SlopeP <= noise && math.Abs(b.Slope.Estimate) > small
}

// Advice says in one line what to do about the retriever.
//
// A bias counts if its PSI remains above 0.1 when the bins are chosen on other queries, or
// if the slope is above 0.1 either way; and if no more than 1% of permuted positions give
// that PSI or slope. That shorter documents have none is said only if they have
// 20 queries or more and the interval of their slope lies within 0.1 of 0. Beside every advice it says how sparse the bins are, if
// one has fewer than 20 queries.
func (r *Report) Advice() string {
	switch a := r.Analysis; {
	case a.Queries == 0:
		return "Nothing to say: there are no results."
	case a.NDCG == 0:
		return fmt.Sprintf("Nothing found: no query has its document among the first %d. Do the run and the corpus have the same IDs?", Depth)
	}
	return r.verdict() + r.sparse()
}

// sparse is a sentence about bins with few queries, or "".
func (r *Report) sparse() string {
	fewest, empty := math.MaxInt, 0
	for i := range r.Analysis.ByLength {
		for _, n := range r.Analysis.ByLength[i].Count {
			if n == 0 {
				empty++
			} else {
				fewest = min(fewest, n)
			}
		}
	}
	switch {
	case empty == Buckets*Bins:
		return " (No query is in a bin.)"
	case fewest < enough || empty > 0:
		return fmt.Sprintf(" (Sparse bins: of %d by length and position, %d are empty; queries in the sparsest of the others: %d.)", Buckets*Bins, empty, fewest)
	}
	return ""
}

// enough is the number of queries below which a bin is sparse, and a length says nothing.
const enough = 20

// flat reports whether there are enough queries to say that a slope is small.
func (b *Bias) flat() bool { return b.Slope.Low >= -small && b.Slope.High <= small }

// verdict is the advice on a retriever that finds something.
func (r *Report) verdict() string {
	short, long := r.ByLength[0].biased(), -1
	for i := Buckets - 1; i > 0; i-- {
		if r.ByLength[i].biased() {
			long = i
		}
	}
	kind := func(b *Bias) string {
		switch {
		case b.Slope.High < 0:
			return "it prefers beginnings"
		case b.Slope.Low > 0:
			return "it prefers ends"
		}
		return "it prefers neither beginnings nor ends, but some positions"
	}
	shorter := "in shorter ones it does not"
	for i := range max(long, 0) {
		if c := &r.Analysis.ByLength[i]; c.queries() < enough || !r.ByLength[i].flat() {
			shorter = "with too few queries to tell at shorter lengths"
		}
	}
	switch {
	case short:
		return fmt.Sprintf("Change the model: even in documents of up to %d tokens %s, so shorter chunks help little.", bucketEnds[0], kind(r.ByLength[0]))
	case long > 0 && r.unread(long):
		return fmt.Sprintf("Truncate or chunk: of documents of more than %d tokens it reads the beginning only, %s. Cutting off the rest loses nothing and saves time; chunks of up to %d tokens, the best one counting, find the rest too.", bucketEnds[long-1], shorter, bucketEnds[0])
	case long > 0:
		return fmt.Sprintf("Chunk: in documents of more than %d tokens %s, %s. Search chunks of up to %d tokens, the best one counting.", bucketEnds[long-1], kind(r.ByLength[long]), shorter, bucketEnds[0])
	case r.All.biased():
		return "Chunk: over all lengths " + kind(r.All) + ", though there are too few queries to say at which length."
	case r.All.Sparsest < enough || r.All.Empty > 0:
		return "Ask more: no bias shows, but there are too few queries to tell."
	}
	return "Keep it: no position bias shows."
}

// unread reports whether the last third of long documents is hardly ever found.
func (r *Report) unread(bucket int) bool {
	var begin, end float64
	for i := bucket; i < Buckets; i++ {
		c := &r.Analysis.ByLength[i]
		for bin := range Bins {
			if c.Count[bin] == 0 {
				continue
			}
			switch sum := c.Mean[bin] * float64(c.Count[bin]); {
			case bin < Bins/3:
				begin += sum
			case bin >= Bins-Bins/3:
				end += sum
			}
		}
	}
	return begin > 0 && end < .05*begin
}

// Write writes the report as Markdown. It ends with the published figures of the
// setting, if there are any.
func (r *Report) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	a := r.Analysis
	fmt.Fprintf(out, "# Position bias of %s on %s\n\n**%s**\n\n", r.Model, r.Setting, r.Advice())
	if r.Method != "" {
		fmt.Fprintf(out, "%s\n\n", r.Method)
	}
	if len(r.Faults) > 0 {
		fmt.Fprintf(out, "Faults were found, which are listed at the end: %d. The first:\n\n", len(r.Faults))
		for _, f := range r.Faults[:min(3, len(r.Faults))] {
			fmt.Fprintf(out, "- %v\n", f)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "nDCG@10 is %s over %d queries", number(a.NDCG, 4), a.Queries)
	if a.NoPosition+a.NoLength > 0 {
		fmt.Fprintf(out, " (%d without a position, %d without a length)", a.NoPosition, a.NoLength)
	}
	fmt.Fprint(out, ". By length of the document, in tokens:\n\n")
	fmt.Fprintln(out, "| length | queries | nDCG@10 | PSI | without bias | P | split-half PSI | slope | P | sparsest bin | empty bins |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|---|")
	row := func(name string, c *Curve, b *Bias) {
		fmt.Fprintf(out, "| %s | %d | %s | %s | %s | %s | %s | %s (%s to %s) | %s | %d | %d |\n", name, c.queries(), number(c.NDCG(), 4), number(c.PSI(), 3),
			number(b.Null, 3), number(b.P, 3), number(b.Split, 3), number(b.Slope.Estimate, 3), number(b.Slope.Low, 3), number(b.Slope.High, 3), number(b.SlopeP, 3), b.Sparsest, b.Empty)
	}
	lengths := [Buckets]string{"1–512", "513–1024", "1025–1536", "1537 or more"}
	for i := range a.ByLength {
		row(BucketNames[i]+" "+lengths[i], &a.ByLength[i], r.ByLength[i])
	}
	row("all", &a.All, r.All)
	fmt.Fprint(out, "\nnDCG@10 of a row is the mean over its bins. \"Without bias\" is the PSI that permuted positions give on average, P the share of permutations that reach the PSI or the slope found. Split-half PSI has its bins chosen on other queries. The slope is the change of nDCG@10 from beginning to end, with a 95% interval: below 0 is primacy, above 0 recency.\n")
	if m := r.Reversal; m != nil {
		fmt.Fprintf(out, "\n## Mirrored documents\n\n| evidence | queries | nDCG@10 | mirrored |\n|---|---|---|---|\n| front | %d | %s | %s |\n| back | %d | %s | %s |\n\n", m.Front, number(m.FrontBefore, 4), number(m.FrontAfter, 4), m.Back, number(m.BackBefore, 4), number(m.BackAfter, 4))
		fmt.Fprintf(out, "δ is %s (%s to %s): what the back gains by moving to the front less what the front gains by moving to the back. It is 0 without a bias.\n", number(m.Delta.Estimate, 4), number(m.Delta.Low, 4), number(m.Delta.High, 4))
	}
	if s := r.Saliency; s != nil {
		fmt.Fprintf(out, "\n## Saliency\n\nThe gradient of the score at each token, by tenths of what the model reads, over %d documents with the evidence in the middle:\n\n|", s.Documents)
		deciles := s.Deciles()
		for i := range deciles {
			fmt.Fprintf(out, " %d |", i+1)
		}
		fmt.Fprintf(out, "\n|%s\n|", strings.Repeat("---|", len(deciles)))
		for _, v := range deciles {
			fmt.Fprintf(out, " %s |", number(v, 3))
		}
		fmt.Fprintln(out)
	}
	r.writePublished(out)
	if len(r.Faults) > 0 {
		fmt.Fprintf(out, "\n## Faults of the benchmark or the run\n\n%d in all.\n\n", len(r.Faults))
		for _, f := range r.Faults[:min(20, len(r.Faults))] {
			fmt.Fprintf(out, "- %v\n", f)
		}
	}
	return out.Flush()
}

// writePublished writes this model beside those of the benchmark's paper.
func (r *Report) writePublished(out io.Writer) {
	all := Published()
	fmt.Fprintf(out, "\n## Beside published models on %s\n\n", r.Setting)
	models := slices.Sorted(maps.Keys(all))
	if _, ok := all[models[0]][r.Setting]; !ok {
		fmt.Fprintln(out, "Nothing is published of this setting.")
		return
	}
	fmt.Fprintln(out, "| model | nDCG@10 | Q1 | Q2 | Q3 | Q4 | PSI | Q1 | Q2 | Q3 | Q4 |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|---|")
	row := func(name string, m Metrics) {
		_, values := m.numbers()
		fmt.Fprintf(out, "| %s |", name)
		for _, v := range values {
			fmt.Fprintf(out, " %s |", number(*v, 3))
		}
		fmt.Fprintln(out)
	}
	row("**"+r.Model+"**", r.Analysis.Metrics())
	for _, model := range models {
		row(model, all[model][r.Setting])
	}
	fmt.Fprint(out, "\nThose are from https://github.com/Ziyang1060/PosIR. They are comparable only if the queries and documents are the benchmark's.\n")
}
