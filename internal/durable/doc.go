// Package durable writes files and directories that survive a crash of the
// program and of the machine: what is there under its name is whole, and stays.
//
// Writing takes three steps: write beside the place, sync to disk, rename; and
// then the directory is synced, because a new name is lost without it.
package durable
