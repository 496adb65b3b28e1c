// Package enginetest is the conformance suite for implementations of
// [rollout.Engine]; it also provides a fake engine for tests.
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
// Facts about the model, such as its exact distribution, go into the [Config] and
// make the suite stricter; what the engine cannot do goes into Config.Lacks, and
// has to be refused by name. [Fake] is a complete engine over any function that
// computes logits.
//
// No goroutine may outlive a call of Generate. An HTTP client keeps two for each idle
// connection; a deferred http.Client.CloseIdleConnections in Generate ends them.
//
// Examples are in example_test.go.
package enginetest
