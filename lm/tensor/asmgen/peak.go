package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// peak writes a loop of multiply-adds in registers: as many independent ones
// as registers allow, so that only the units' throughput counts.
func peak(x *build.Context, name string, regs []reg.VecPhysical) {
	x.Function(name)
	x.Attributes(attr.NOSPLIT)
	x.SignatureExpr("func(n int)")
	x.Doc(fmt.Sprintf("%s is kernels.peak: %d multiply-adds of vectors, n times.", name, len(regs)-2))
	n := x.Load(x.Param("n"), x.GP64())
	for _, r := range regs {
		x.VXORPS(r, r, r)
	}
	x.Label("loop")
	for _, r := range regs[2:] {
		x.VFMADD231PS(regs[0], regs[1], r)
	}
	x.DECQ(n)
	x.JNZ(operand.LabelRef("loop"))
	x.VZEROUPPER()
	x.RET()
}
