// Package durable changes files and directories so that they survive a crash of
// the program and of the machine: what is there under its name is whole, and
// stays.
//
// Writing takes three steps: write beside the place, sync to disk, rename; and
// then the directory is synced, because a new name is lost without it. A new
// directory is lost too, with all that is in it, unless its parent is synced:
// [MkdirAll] does that. New files are created exclusively, under names that
// nobody can guess, and with the modes that the umask allows.
//
// What is read back has a checksum: [Seal] puts one around JSON, [Checksum]
// computes that of a file. [TryLock] keeps a second writer out.
//
// [Watch] lets tests see all changes and make them fail;
// internal/durable/durabletest replays what a crash leaves of them.
package durable
