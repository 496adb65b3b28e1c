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
	all := ymm
	if l.wide {
		all = zmm
	}
	for range l.parts {
		v = append(v, all[l.next])
		l.next++
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
	v := make(eight, l.parts)
	for i := range v {
		v[i] = m
	}
	return v
}

// held is a constant for use over and over: AVX-512 has registers enough to
// keep it in one.
func (l *lanes) held(name string, x float64) eight {
	c := l.bits(name, math.Float64bits(x))
	if !l.wide {
		return c
	}
	v := l.vector()
	l.do(l.VBROADCASTSD, c, v)
	return v
}

// register is v in registers: scratch, if it is in memory.
func (l *lanes) register(v, scratch eight) eight {
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
	v := l.vector()
	for _, r := range v {
		l.VBROADCASTSD(c.Addr, r)
	}
	return v
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
	l.index = nil
}

// at is the eight numbers at hand of those from base on; outside of a loop, the
// first.
func (l *lanes) at(base reg.Register) (v eight) {
	for i := range l.parts {
		m := operand.Mem{Base: base, Disp: 32 * i}
		if l.index != nil {
			m.Index, m.Scale = l.index, 8
		}
		v = append(v, m)
	}
	return v
}

func (l *lanes) move(from, to eight) { l.do(l.VMOVUPD, from, to) }

// do writes op with operands in the order of Go's assembler: the last is the
// result and the first may be in memory.
func (l *lanes) do(op func(...operand.Op), vs ...eight) {
	for i := range l.parts {
		var ops []operand.Op
		for _, v := range vs {
			ops = append(ops, v[i])
		}
		op(ops...)
	}
}

func (l *lanes) zero(v eight) {
	for _, r := range v {
		if l.wide {
			l.VPXORQ(r, r, r)
		} else {
			l.VXORPD(r, r, r)
		}
	}
}
