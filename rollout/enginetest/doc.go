// Package enginetest is the conformance suite for [rollout.Engine]s, and has a
// fake one for the tests of those who use engines.
//
// The author of an engine calls [Run] from a test:
//
//	func TestEngine(t *testing.T) {
//		enginetest.Run(t, enginetest.Config{
//			New:     func(t *testing.T) rollout.Engine { return myengine.New(…) },
//			Prompts: [][]int32{{1, 2, 3}, {4}},
//		})
//	}
//
// What is known about the model goes into the [Config] and makes the suite sharper:
// its exact distribution, for example. [Fake] is a complete engine over any function
// that computes logits.
package enginetest
