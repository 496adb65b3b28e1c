package jinja

import (
	"context"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
)

// What a template may take. Published templates stay far below.
const (
	// maxSource is the longest template in bytes; the longest published ones
	// have a sixth of it.
	maxSource = 128 << 10
	// maxNesting is how deep brackets, blocks and chains of operators nest.
	maxNesting = 500
	// maxSteps is the work of one rendering: expressions, turns of loops,
	// items of lists, and texts by 64 bytes.
	maxSteps = 20_000_000
	// maxOutput is the most text that is written, in bytes, also into
	// variables.
	maxOutput = 64 << 20
	// maxMemory is what all values of one rendering take, in bytes.
	maxMemory = 512 << 20
	maxString = 16 << 20 // bytes of one string
	maxItems  = 1 << 20  // items of one list
	maxBits   = 1 << 16  // of one int
	// maxDigits is the longest int that Python writes in decimal.
	maxDigits = 4300
	// maxCalls is how deep macros and recursive loops call each other.
	maxCalls = 150
	// maxDepth is how deep the values nest that are printed or compared.
	maxDepth = 500
	// maxRange is the longest range, as in Jinja's sandbox.
	maxRange = 100_000

	valueBytes = 16
	entryBytes = 96
)

// run is one rendering.
type run struct {
	ctx      context.Context
	template *Template
	globals  map[string]value // what the template was given
	line     int              // of the statement that runs
	steps    int
	checked  int // steps at which ctx was looked at
	memory   int
	written  int
	calls    int
	depth    int

	out   *strings.Builder
	root  *strings.Builder
	spans []prompt.Range // of {% generation %}
}

// frame holds the variables of a block that runs.
type frame struct {
	up    *frame
	scope *scope
	vars  []value
}

// step counts a unit of work.
func (r *run) step() { r.charge(1) }

// work counts the work on n bytes or items.
func (r *run) work(n int) { r.charge(n / 64) }

func (r *run) charge(n int) {
	r.steps += n
	if r.steps > maxSteps {
		panic(limitError("it takes more than %d steps", maxSteps))
	}
	if r.steps-r.checked > 1000 && r.ctx != nil {
		r.checked = r.steps
		if err := r.ctx.Err(); err != nil {
			panic(failure{err})
		}
	}
}

// grow counts n bytes of new values.
func (r *run) grow(n int) {
	if r.memory += n; r.memory > maxMemory {
		panic(limitError("its values take more than %d bytes", maxMemory))
	}
	r.charge(1 + n/64)
}

// room counts a new list of n items.
func (r *run) room(n int) {
	if n > maxItems {
		panic(limitError("a list of more than %d items", maxItems))
	}
	r.grow(n * valueBytes)
}

// fits fails if n times a size is more bytes than a string may have.
func fits(n, size int) {
	if size > 0 && n > maxString/size {
		panic(limitError("a string of more than %d bytes", maxString))
	}
}

// deeper notes that a value within a value is looked at; shallower ends it.
func (r *run) deeper() {
	if r.depth++; r.depth > maxDepth {
		r.depth--
		panic(raise("RecursionError", "values nest deeper than %d", maxDepth))
	}
}

func (r *run) shallower() { r.depth-- }

// write writes text.
func (r *run) write(s string) {
	if r.written += len(s); r.written > maxOutput {
		panic(limitError("more than %d bytes written", maxOutput))
	}
	r.out.WriteString(s)
	r.work(len(s))
}

// capture returns the text that f writes.
func (r *run) capture(f func()) string {
	out := r.out
	r.out = &strings.Builder{}
	defer func() { r.out = out }()
	f()
	fits(r.out.Len(), 1)
	r.grow(r.out.Len())
	return r.out.String()
}

// enter begins a block: its variables are looked up.
func (r *run) enter(s *scope, up *frame) *frame {
	f := newFrame(s, up)
	r.begin(f)
	return f
}

func newFrame(s *scope, up *frame) *frame {
	f := &frame{up: up, scope: s, vars: make([]value, len(s.vars))}
	f.leave()
	return f
}

// begin sets the variables of a frame, other than those given from outside, to
// what they are when its block begins.
func (r *run) begin(f *frame) {
	for i, v := range f.scope.vars {
		switch v.kind {
		case lookup:
			f.vars[i] = r.lookup(v.name)
		case alias:
			f.vars[i] = *f.at(v.from)
		case unset:
			f.vars[i] = missing
		}
	}
}

// leave ends a block. A macro that was defined in it and lives on finds its
// variables gone, as in Jinja.
func (f *frame) leave() {
	for i := range f.vars {
		f.vars[i] = missing
	}
}

// lookup returns what a template was given by a name, or what is there for
// all.
func (r *run) lookup(name string) value {
	if v, ok := r.globals[name]; ok {
		return v
	}
	if f, ok := globalFunctions[name]; ok {
		return f
	}
	return missing
}

func (f *frame) at(where ref) *value {
	for range where.up {
		f = f.up
	}
	return &f.vars[where.slot]
}
