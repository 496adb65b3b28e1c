// Package durable writes files and directories so that they survive a crash of the
// program or the machine: a file either has its complete content or is not there, and
// what was written stays.
//
// [ReplaceFile] writes a temporary file beside the place, syncs it to disk, renames it,
// and syncs the directory, without which the new name could be lost. A new directory,
// with everything in it, could be lost too unless its parent is synced: [MkdirAll] does
// that. Temporary files are created exclusively, under names that nobody can guess, and
// with the modes that the umask allows. [File.Add] appends to a log.
//
// Checksums find damage when files are read back: [Seal] adds one to JSON, [Checksum]
// computes that of a file. [TryLock] keeps a second writer out.
//
// [Watch] lets tests see every change and make it fail;
// internal/durable/durabletest replays what a crash leaves of them.
package durable
