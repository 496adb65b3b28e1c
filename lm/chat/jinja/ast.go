package jinja

// expr is a node that has a value.
type expr interface {
	// at returns the line that errors name, where Jinja sees the node.
	at() int
	eval(r *run, f *frame) value
}

// line is embedded in every node.
type line int

func (l line) at() int { return int(l) }

type (
	constExpr struct {
		line
		val value
	}
	nameExpr struct {
		line
		name  string
		where ref // set by the resolver
	}
	listExpr struct {
		line
		items []expr
	}
	tupleExpr struct {
		line
		items []expr
	}
	dictExpr struct {
		line
		keys, vals []expr
	}
	// condExpr is "then if cond else other"; other may be nil.
	condExpr struct {
		line
		then, cond, other expr
	}
	// unaryExpr is "+", "-" or "not".
	unaryExpr struct {
		line
		op  string
		arg expr
	}
	// binaryExpr is an operator of arithmetic, "and" or "or".
	binaryExpr struct {
		line
		op          string
		left, right expr
	}
	// concatExpr is the operator ~.
	concatExpr struct {
		line
		items []expr
	}
	// compareExpr is a chain of comparisons: one more operand than operators.
	compareExpr struct {
		line
		ops      []string
		operands []expr
	}
	attrExpr struct {
		line
		arg  expr
		name string
	}
	itemExpr struct {
		line
		arg, index expr
	}
	// sliceExpr stands in the brackets of an itemExpr only; its parts may be
	// nil.
	sliceExpr struct {
		line
		start, stop, step expr
	}
	callExpr struct {
		line
		fn   expr
		args arguments
	}
	// filterExpr has no arg in filter and set blocks, where the block's text
	// is filtered.
	filterExpr struct {
		line
		arg  expr
		name string
		args arguments
	}
	testExpr struct {
		line
		arg  expr
		name string
		args arguments
	}
)

// arguments are the arguments of a call.
type arguments struct {
	pos            []expr
	names          []string // of the last len(names) values of named
	named          []expr
	rest, restDict expr // after * and **, or nil
}

// signal is how a statement ends.
type signal int

const (
	next signal = iota
	breakLoop
	continueLoop
)

// stmt is a node that does something.
type stmt interface {
	exec(r *run, f *frame) signal
}

type (
	textStmt struct{ text string }
	// outputStmt is {{ … }}.
	outputStmt struct{ arg expr }
	// ifStmt has an elif as the only statement of other.
	ifStmt struct {
		line
		cond        expr
		body, other []stmt
	}
	forStmt struct {
		line
		target      target
		iter, test  expr
		recursive   bool
		body, other []stmt

		scope, testScope, otherScope *scope
		loop                         int // the slot of the variable loop
	}
	setStmt struct {
		line
		target target
		arg    expr
		// before is the line that Jinja names when the target is no namespace.
		before int
	}
	setBlockStmt struct {
		line
		target target
		filter *filterExpr
		body   []stmt
		scope  *scope
	}
	withStmt struct {
		line
		targets []target
		vals    []expr
		body    []stmt
		scope   *scope
	}
	macroStmt struct {
		line
		name  string
		where target
		def   *macroDef
	}
	// callStmt calls a macro with its body as caller.
	callStmt struct {
		line
		call *callExpr
		def  *macroDef
	}
	// generationStmt marks what an assistant is to say.
	generationStmt struct {
		line
		def *macroDef
	}
	filterStmt struct {
		line
		filter *filterExpr
		body   []stmt
		scope  *scope
	}
	controlStmt struct {
		line
		signal signal
	}
)

// macroDef is what a macro, or the body of a call block, consists of.
type macroDef struct {
	line
	name     string
	params   []string
	defaults []expr // of the last parameters
	body     []stmt

	scope                     *scope
	slots                     []int // of the parameters
	caller, kwargs, varargs   int   // slots, or -1
	explicitCaller, anonymous bool
}

// target is what values are assigned to: a name, an attribute of a namespace
// (attr set), or, with items set, a tuple of targets.
type target struct {
	line
	name, attr string
	items      []target
	tuple      bool
	where      ref
}

// names calls f for each name that is assigned.
func (t *target) each(f func(*target)) {
	if !t.tuple {
		f(t)
	}
	for i := range t.items {
		t.items[i].each(f)
	}
}
