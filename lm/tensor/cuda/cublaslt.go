package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/dynlib"
	"github.com/stepwise-rl/stepwise/lm/tensor/internal/gpu"
)

// libraries lists where cuBLASLt may be, for the setting cublaslt. It is 500 MB
// that no driver brings.
func libraries(setting string) []string {
	if setting != "auto" {
		return []string{setting}
	}
	var list []string
	if path := os.Getenv("CUBLASLT"); path != "" {
		list = append(list, path)
	}
	for _, version := range []string{"13", "12"} {
		list = append(list, "libcublasLt.so."+version)
	}
	for _, venv := range []string{os.Getenv("VIRTUAL_ENV"), "venv", ".venv"} {
		if venv == "" {
			continue
		}
		for _, dir := range []string{"cu13/lib/libcublasLt.so.13", "cublas/lib/libcublasLt.so.12"} {
			found, _ := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages", "nvidia", dir)) // the pattern is well formed
			list = append(list, found...)
		}
	}
	return list
}

// cublas is a handle of cuBLASLt with its plans.
type cublas struct {
	d    *driver
	path string
	create, destroy, descCreate, descDestroy, descSet,
	layoutCreate, layoutDestroy, prefCreate, prefDestroy, prefSet, heuristic, matmul uintptr
	handle    uintptr
	workspace gpu.Memory
	plans     map[planKey]*plan
	scale     [2]float32 // alpha, beta
}

// workspaceSize is what NVIDIA recommends for Hopper.
const workspaceSize = 32 << 20

// planKey is what an algorithm depends on.
type planKey struct {
	m, n, k, row int
	half, halfC  bool
	aligned      bool // c, to 16 bytes; a and b always are
}

// plan is how a product of a shape is computed.
type plan struct {
	desc, a, b, c uintptr
	// result is cublasLtMatmulHeuristicResult_t: an algorithm of 64 bytes, the
	// size of its workspace, a status, and more.
	result [96]byte
}

// Constants of cublasLt.h and cublas_api.h.
const (
	real32F, realBF16                = 0, 14
	compute32F, computeTF32          = 68, 77
	descTransA                       = 3
	prefMaxWorkspace, prefReductions = 1, 3
	prefMinAlignmentA                = 5 // B, C and D follow
	reductionOutOfPlace              = 2 // CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: partial sums in a fixed order
	operationT                       = 1 // CUBLAS_OP_T
)

// openCublas loads cuBLASLt for d.
func openCublas(d *driver, setting string) (*cublas, error) {
	lib, err := dynlib.Open(libraries(setting)...)
	if err != nil {
		return nil, fmt.Errorf("no cuBLASLt: %w", err)
	}
	c := &cublas{d: d, path: lib.Path(), plans: map[planKey]*plan{}}
	if err := lib.Bind(map[string]*uintptr{
		"cublasLtCreate": &c.create, "cublasLtDestroy": &c.destroy,
		"cublasLtMatmulDescCreate": &c.descCreate, "cublasLtMatmulDescDestroy": &c.descDestroy, "cublasLtMatmulDescSetAttribute": &c.descSet,
		"cublasLtMatrixLayoutCreate": &c.layoutCreate, "cublasLtMatrixLayoutDestroy": &c.layoutDestroy,
		"cublasLtMatmulPreferenceCreate": &c.prefCreate, "cublasLtMatmulPreferenceDestroy": &c.prefDestroy,
		"cublasLtMatmulPreferenceSetAttribute": &c.prefSet, "cublasLtMatmulAlgoGetHeuristic": &c.heuristic,
		"cublasLtMatmul": &c.matmul,
	}); err != nil {
		return nil, err
	}
	if err := c.call("cublasLtCreate", c.create, uintptr(unsafe.Pointer(&c.handle))); err != nil {
		return nil, err
	}
	if c.workspace, err = d.Alloc(workspaceSize); err != nil {
		return nil, errors.Join(fmt.Errorf("cuBLASLt's workspace of %d bytes: %w", workspaceSize, err), c.call("cublasLtDestroy", c.destroy, c.handle))
	}
	return c, nil
}

// call calls a function of the library in the device's context.
//
//go:uintptrescapes
func (c *cublas) call(name string, f uintptr, args ...uintptr) error {
	var err *gpu.DriverError
	if e := c.d.call(name, f, args...); errors.As(e, &err) {
		return statusError(name, err.Code)
	} else if e != nil {
		return e
	}
	return nil
}

// statusError is the error of a cublasStatus_t.
func statusError(call string, code int) error {
	e := &gpu.DriverError{Call: call, Code: code, Text: map[int]string{
		1: "not initialised", 3: "allocation failed", 7: "invalid value", 8: "architecture mismatch",
		13: "execution failed", 14: "internal error", 15: "not supported",
	}[code]}
	switch code {
	case 3:
		e.Cause = tensor.ErrOutOfMemory
	case 13:
		e.Cause = tensor.ErrDeviceLost
	}
	return e
}

// plan returns the plan of a product, made when it comes first. Matrices here are
// row-major and there column-major: it computes cᵀ [n×m] = bᵀᵀ·aᵀ.
func (c *cublas) plan(k planKey) (_ *plan, err error) {
	if p, ok := c.plans[k]; ok {
		return p, nil
	}
	p := &plan{}
	defer func() {
		if err != nil {
			c.destroyPlan(p)
		}
	}()
	compute, kind, kindC := uintptr(computeTF32), uintptr(real32F), uintptr(real32F)
	if k.half {
		compute, kind = compute32F, realBF16
	}
	if k.halfC {
		kindC = realBF16
	}
	if err := c.call("cublasLtMatmulDescCreate", c.descCreate, uintptr(unsafe.Pointer(&p.desc)), compute, real32F); err != nil {
		return nil, err
	}
	trans := int32(operationT)
	if err := c.call("cublasLtMatmulDescSetAttribute", c.descSet, p.desc, descTransA, uintptr(unsafe.Pointer(&trans)), 4); err != nil {
		return nil, err
	}
	layout := func(to *uintptr, kind uintptr, rows, cols, ld int) error {
		return c.call("cublasLtMatrixLayoutCreate", c.layoutCreate, uintptr(unsafe.Pointer(to)), kind, uintptr(rows), uintptr(cols), uintptr(ld))
	}
	if err := errors.Join(layout(&p.b, kind, k.k, k.n, k.row), layout(&p.a, kind, k.k, k.m, k.row), layout(&p.c, kindC, k.n, k.m, k.n)); err != nil {
		return nil, err
	}
	var pref uintptr
	if err := c.call("cublasLtMatmulPreferenceCreate", c.prefCreate, uintptr(unsafe.Pointer(&pref))); err != nil {
		return nil, err
	}
	defer c.call("cublasLtMatmulPreferenceDestroy", c.prefDestroy, pref)
	size, reductions, alignment := uint64(workspaceSize), uint32(reductionOutOfPlace), [4]uint32{16, 16, 2, 2}
	if k.aligned {
		alignment[2], alignment[3] = 16, 16
	}
	set := func(attribute uintptr, p unsafe.Pointer, n uintptr) error {
		return c.call("cublasLtMatmulPreferenceSetAttribute", c.prefSet, pref, attribute, uintptr(p), n)
	}
	errs := []error{set(prefMaxWorkspace, unsafe.Pointer(&size), 8), set(prefReductions, unsafe.Pointer(&reductions), 4)}
	for i := range uintptr(4) {
		errs = append(errs, set(prefMinAlignmentA+i, unsafe.Pointer(&alignment[i]), 4))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var found int32
	err = c.call("cublasLtMatmulAlgoGetHeuristic", c.heuristic, c.handle, p.desc, p.b, p.a, p.c, p.c, pref, 1,
		uintptr(unsafe.Pointer(&p.result)), uintptr(unsafe.Pointer(&found)))
	if err == nil && found == 0 {
		err = errors.New("cublasLtMatmulAlgoGetHeuristic finds no algorithm")
	}
	if err != nil {
		return nil, fmt.Errorf("%d×%d×%d: %w", k.m, k.n, k.k, err)
	}
	c.plans[k] = p
	return p, nil
}

// destroyPlan releases what there is of a plan.
func (c *cublas) destroyPlan(p *plan) {
	if p.desc != 0 {
		c.call("cublasLtMatmulDescDestroy", c.descDestroy, p.desc)
	}
	for _, l := range []uintptr{p.a, p.b, p.c} {
		if l != 0 {
			c.call("cublasLtMatrixLayoutDestroy", c.layoutDestroy, l)
		}
	}
}

// Multiply queues a product.
func (c *cublas) Multiply(g *gpu.Product) error {
	at := func(o gpu.Operand) uintptr { return uintptr(o.Memory) + uintptr(o.At) }
	x, y, z := at(g.A), at(g.B), at(g.C)
	p, err := c.plan(planKey{g.M, g.N, g.K, g.Row, g.Half, g.HalfC, z%16 == 0})
	if err != nil {
		return err
	}
	c.scale = [2]float32{g.Alpha, g.Beta}
	err = c.d.repeat("cublasLtMatmul", c.matmul, c.handle, p.desc, uintptr(unsafe.Pointer(&c.scale[0])), y, p.b, x, p.a,
		uintptr(unsafe.Pointer(&c.scale[1])), z, p.c, z, p.c, uintptr(unsafe.Pointer(&p.result)), uintptr(c.workspace), workspaceSize, c.d.stream)
	var e *gpu.DriverError
	if errors.As(err, &e) {
		return statusError("cublasLtMatmul", e.Code)
	}
	return err
}

// close gives everything back. What fails does so because the device is lost.
func (c *cublas) close() {
	for _, p := range c.plans {
		c.destroyPlan(p)
	}
	c.call("cublasLtDestroy", c.destroy, c.handle)
	c.d.Free(c.workspace)
}
