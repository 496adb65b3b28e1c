// Package durabletest replays what a crash may leave on the disk of a program that
// writes through package durable. Record what the program does, then let it recover
// from every state that a crash could have left:
//
//	journal, stop := durabletest.Record(root)
//	... the program writes below root ...
//	stop()
//	for n := range journal.Len() + 1 {
//		for _, s := range journal.States(n) {
//			... s.Write(dir), then the program recovers in dir ...
//		}
//	}
//
// [Fail] makes single calls fail instead, as a full disk does.
package durabletest
