package cpu

//go:generate go -C ../../internal/asmgen run . ../../tensor/cpu
