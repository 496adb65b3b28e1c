package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// streamPanels is how many panels of b the stream kernels read at once: with
// few rows b comes from memory, and the prefetchers of a core follow several
// streams faster than one.
const streamPanels = 4

// stream writes a micro-kernel for few rows, at most rows, and whole panels of
// two vectors, or of pairs. It computes an element with the instructions of
// gemmTile.
func stream(x *build.Context, name string, rows int, regs []reg.VecPhysical, bytes int, of *pairs, add multiplyAdd) {
	x.Function(name)
	x.Attributes(attr.NOSPLIT)
	x.SignatureExpr("func(m, k int, alpha float32, a *float32, rsa, csa int, b *float32, step int, beta float32, c *float32, ldc int)")
	x.Doc(fmt.Sprintf("%s is kernels.stream.", name))
	param := func(name string) operand.Mem {
		at, err := x.Param(name).Resolve()
		check(err)
		return at.Addr
	}
	load := func(name string) reg.GPVirtual { return x.Load(x.Param(name), x.GP64()).(reg.GPVirtual) }
	scaled := func(name string) reg.GPVirtual {
		r := load(name)
		x.SHLQ(operand.U8(2), r)
		return r
	}
	const vectors = 2 * streamPanels
	width := 2 * bytes // of a panel
	if of != nil {
		width = bytes
	}
	acc := func(row, v int) reg.VecPhysical { return regs[row*vectors+v] }
	rest := regs[rows*vectors:]
	right, bcast := rest[0:2], rest[2:2+rows]

	m := load("m")
	for r := rows; r > 1; r-- {
		x.CMPQ(m, operand.U8(r))
		x.JEQ(operand.LabelRef(fmt.Sprintf("rows%d", r)))
	}
	for r := 1; r <= rows; r++ {
		x.Label(fmt.Sprintf("rows%d", r))
		for i := range r * vectors {
			x.VXORPS(regs[i], regs[i], regs[i])
		}
		a, rsa, csa, k := load("a"), scaled("rsa"), scaled("csa"), load("k")
		panels := []reg.GPVirtual{load("b")}
		step := scaled("step")
		for range streamPanels - 1 {
			p := x.GP64()
			x.LEAQ(operand.Mem{Base: panels[len(panels)-1], Index: step, Scale: 1}, p)
			panels = append(panels, p)
		}
		loop := fmt.Sprintf("loop%d", r)
		x.Label(loop)
		for i := range r {
			at := operand.Mem{Base: a}
			if i > 0 {
				at.Index, at.Scale = rsa, uint8(i)
			}
			x.VBROADCASTSS(at, bcast[i])
		}
		for j, p := range panels {
			if of != nil {
				of.load(x, operand.Mem{Base: p}, right...)
			}
			for v := range 2 {
				if of == nil {
					x.VMOVUPS(operand.Mem{Base: p, Disp: v * bytes}, right[v])
				}
				for i := range r {
					add(x, acc(i, 2*j+v), bcast[i], right[v])
				}
			}
		}
		for _, p := range panels {
			x.ADDQ(operand.U32(width), p)
		}
		x.ADDQ(csa, a)
		x.DECQ(k)
		x.JNZ(operand.LabelRef(loop))

		factor := right[0]
		x.VBROADCASTSS(param("alpha"), factor)
		for i := range r * vectors {
			x.VMULPS(factor, regs[i], regs[i])
		}
		c, ldc, bits := load("c"), scaled("ldc"), x.GP32()
		store := fmt.Sprintf("store%d", r)
		x.MOVL(param("beta"), bits)
		x.SHLL(operand.U8(1), bits) // drops the sign of a zero
		x.JZ(operand.LabelRef(store))
		x.VBROADCASTSS(param("beta"), factor)
		old := x.GP64()
		x.MOVQ(c, old)
		for i := range r {
			for v := range vectors {
				x.VFMADD231PS(operand.Mem{Base: old, Disp: v * bytes}, factor, acc(i, v))
			}
			x.ADDQ(ldc, old)
		}
		x.Label(store)
		for i := range r {
			for v := range vectors {
				x.VMOVUPS(acc(i, v), operand.Mem{Base: c, Disp: v * bytes})
			}
			x.ADDQ(ldc, c)
		}
		x.VZEROUPPER()
		x.RET()
	}
}
