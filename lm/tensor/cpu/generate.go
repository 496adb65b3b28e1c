package cpu

//go:generate go -C ../asmgen run . ../cpu
