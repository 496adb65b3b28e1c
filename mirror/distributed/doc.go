// Package distributed minimises a mean of functions over a network of nodes, by
// mirror descent.
//
// Node i has a function fᵢ of its own, its data, and a copy of the variable. In
// every round it sends a message to its neighbours, mixes what arrives, and
// steps along a gradient of its own:
//
//	zᵢ ← Σⱼ wᵢⱼ·zⱼ − a·yᵢ        xᵢ ← ∇h*(zᵢ)
//	yᵢ ← Σⱼ wᵢⱼ·yⱼ + ∇fᵢ(xᵢ) − ∇fᵢ(xᵢ before)
//
// The tracker yᵢ starts as ∇fᵢ(xᵢ). As the weights are doubly stochastic, the
// mean of the trackers stays the mean of the gradients, whatever the nodes have
// computed, and at a point where all agree and do not move it is 0: gradient
// tracking reaches the minimum of the mean with steps of one size. Plain
// decentralised descent has yᵢ = ∇fᵢ(xᵢ) and stops beside it, by a distance that
// grows with the step and with the difference between the nodes
// (Settings.Tracking is false).
//
// Gradient tracking is due to Xu et al. (CDC 2015), Di Lorenzo and Scutari
// (2016), Nedić, Olshevsky and Shi (2017) and Qu and Li (2018), in Euclidean
// space. The form above mixes in the dual space; [SpacePrimal] is the other
// natural one, zᵢ ← ∇h(Σⱼ wᵢⱼ·xⱼ) − a·yᵢ. No theorem about either is claimed for
// kernels in general: the tests check the invariants and that runs converge.
// There is newer theory, for example arXiv:2603.12838; its text was not at hand,
// and nothing here is its method, its condition on kernels or its results.
//
// # Graphs and weights
//
// [Ring], [Torus], [Star], [Complete], [ErdosRenyi] and [NewGraph] make graphs;
// [Metropolis] and [Matrix.Lazy] give the links their weights; [Exponential]
// is a directed graph with circulant weights, and [OnePeer] and [Cycle] change
// from round to round. [Matrix.Lambda] is the norm on which the speed of
// averaging depends.
//
// # Networks
//
// [Run] runs the nodes of one process and leaves messages to a [Network].
// [Local] is the network within a process, and it simulates what goes wrong:
// links that fail for a round, messages that are lost, delays. The example
// examples/mirror/tcp has one over TCP, with a node in each process, which gives
// the same bits.
//
// Trackers are sent as shares, wᵢⱼ·yⱼ, each to be added exactly once. So they
// survive delays and failed links: what a node could not send it keeps. A
// message that is lost without notice takes its share away, for good, and the
// nodes then converge to a wrong point.
//
// Examples are in example_test.go.
package distributed
