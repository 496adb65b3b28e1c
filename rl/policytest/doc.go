// Package policytest checks that a policy keeps the contract of rl.Policy.
//
// [Run] is the conformance suite, for the policies of this module and for
// anybody else's:
//
//	func TestMyPolicy(t *testing.T) {
//		policytest.Run(t, policytest.Options{
//			Vocab: 16,
//			Open:  func(t *testing.T) rl.Policy { return newMyPolicy(t) },
//		})
//	}
//
// [TablePolicy] is a policy small enough to reason about, with an engine, held in
// memory; tests of trainers and credit rules use it.
package policytest
