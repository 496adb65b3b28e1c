// Package policytest checks that a policy keeps the contract of rl.Policy.
//
// [Run] is the conformance suite, for the policies of this module and for yours:
//
//	func TestMyPolicy(t *testing.T) {
//		policytest.Run(t, policytest.Options{
//			Vocab: 16,
//			Open:  func(t *testing.T) rl.Policy { return newMyPolicy(t) },
//		})
//	}
//
// What the policy cannot do, and declares as an rl.Supporter, goes into
// Options.Lacks: it must be refused by name, by the policy and by rl.NewTrainer.
//
// [RunTopLogProber] does the same for an rl.TopLogProber that is no policy: a teacher.
//
// [TablePolicy] is a policy and an engine that is small enough to reason about. Use
// it to test trainers and step credit.
//
// Examples are in example_test.go.
package policytest
