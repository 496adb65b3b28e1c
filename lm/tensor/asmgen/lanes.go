package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// lanes writes kernels over float64 that work on eight numbers at a time, the
// same code for both instruction sets: with AVX-512 they are in one register,
// with AVX2 in two. So sums are added up in the same order on either, and all
// results have the same bits.
type lanes struct {
	*build.Context
	suffix string
	wide   bool // AVX-512
	parts  int  // registers for eight numbers
	next   int  // the first register that is free
	index  reg.GPVirtual

	constants map[string]operand.Mem
}

func lanesAVX2(x *build.Context) *lanes {
	return &lanes{Context: x, suffix: "AVX2", parts: 2, constants: map[string]operand.Mem{}}
}

func lanesAVX512(x *build.Context) *lanes {
	return &lanes{Context: x, suffix: "AVX512", wide: true, parts: 1, constants: map[string]operand.Mem{}}
}

// eight is a vector of eight numbers: registers, or a constant in memory.
type eight []operand.Op

// function begins a function that goes over n numbers, a multiple of 8.
func (l *lanes) function(name, signature string, doc ...string) {
	name += l.suffix
	l.next = 0
	l.Function(name)
	l.Attributes(attr.NOSPLIT)
	l.Pragma("noescape")
	l.SignatureExpr(signature)
	doc[0] = name + " " + doc[0]
	l.Doc(doc...)
}

func (l *lanes) end() {
	l.VZEROUPPER()
	l.RET()
}

func (l *lanes) pointer(param string) reg.GPVirtual {
	return l.Load(l.Param(param), l.GP64()).(reg.GPVirtual)
}

// vector takes the next registers for eight numbers.
func (l *lanes) vector() (v eight) {
	for range l.parts {
		v = append(v, l.register())
	}
	return v
}

// register takes the next register.
func (l *lanes) register() reg.VecPhysical {
	l.next++
	if l.wide {
		return zmm[l.next-1]
	}
	return ymm[l.next-1]
}

// repeat is eight numbers of which all registers' worth are the same.
func (l *lanes) repeat(o operand.Op) (v eight) {
	for range l.parts {
		v = append(v, o)
	}
	return v
}

// bits is a constant in memory, once for each number of a register of AVX2.
func (l *lanes) bits(name string, bits uint64) eight {
	m, ok := l.constants[name]
	if !ok {
		m = l.StaticGlobal(name)
		l.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := range 4 {
			l.AddDatum(8*i, operand.U64(bits))
		}
		l.constants[name] = m
	}
	return l.repeat(m)
}

// held is a constant for use over and over: AVX-512 has registers enough to
// keep it in one.
func (l *lanes) held(name string, x float64) eight { return l.heldBits(name, math.Float64bits(x)) }

func (l *lanes) heldBits(name string, bits uint64) eight {
	c := l.bits(name, bits)
	if !l.wide {
		return c
	}
	v := l.vector()
	l.do(l.VBROADCASTSD, c, v)
	return v
}

// loaded is v in registers: scratch, if it is in memory.
func (l *lanes) loaded(v, scratch eight) eight {
	if _, memory := v[0].(operand.Mem); !memory {
		return v
	}
	l.move(v, scratch)
	return scratch
}

// scalar is an argument, eight times.
func (l *lanes) scalar(param string) eight {
	c, err := l.Param(param).Resolve()
	check(err)
	r := l.register()
	l.VBROADCASTSD(c.Addr, r)
	return l.repeat(r)
}

// loop writes body for eight numbers after eight; n is a multiple of 8.
func (l *lanes) loop(name string, n reg.GPVirtual, body func()) {
	l.index = l.GP64()
	done := name + "Done"
	l.XORQ(l.index, l.index)
	l.TESTQ(n, n)
	l.JZ(operand.LabelRef(done))
	l.Label(name)
	body()
	l.ADDQ(operand.U8(8), l.index)
	l.CMPQ(l.index, n)
	l.JLT(operand.LabelRef(name))
	l.Label(done)
}

// at is the eight numbers at hand of those from base on.
func (l *lanes) at(base reg.Register) eight {
	return l.memory(operand.Mem{Base: base, Index: l.index, Scale: 8})
}

// memory is the eight numbers from an address on.
func (l *lanes) memory(m operand.Mem) (v eight) {
	for i := range l.parts {
		v = append(v, m.Offset(32*i))
	}
	return v
}

func (l *lanes) move(from, to eight) { l.do(l.VMOVUPD, from, to) }

// do writes op with operands in the order of Go's assembler: the last is the
// result and the first may be in memory.
func (l *lanes) do(op func(...operand.Op), vs ...eight) {
	for i := range vs[0] {
		var ops []operand.Op
		for _, v := range vs {
			ops = append(ops, v[i])
		}
		op(ops...)
	}
}
