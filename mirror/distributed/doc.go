// Package distributed minimises a mean of functions over a network of nodes, by
// mirror descent.
//
// Node i has its own function fᵢ, defined by its data, and its own copy of the
// variable. In every round it sends a message to its neighbours, mixes what
// arrives, and takes a step along its estimate of the mean gradient:
//
//	zᵢ ← Σⱼ wᵢⱼ·zⱼ − a·yᵢ        xᵢ ← ∇h*(zᵢ)
//	yᵢ ← Σⱼ wᵢⱼ·yⱼ + ∇fᵢ(xᵢ) − ∇fᵢ(xᵢ before)
//
// The tracker yᵢ starts as ∇fᵢ(xᵢ). Because the weights are doubly stochastic, the
// mean of the trackers always equals the mean of the gradients. Where all nodes
// agree and no longer move, that mean is 0. So gradient tracking reaches the
// minimum of the mean function with steps of one size. Plain decentralised descent
// (Settings.Tracking false) uses yᵢ = ∇fᵢ(xᵢ) and stops beside the minimum, at a
// distance that grows with the step size and with the difference between the nodes.
//
// Gradient tracking is due to Xu et al. (CDC 2015), Di Lorenzo and Scutari (2016),
// Nedić, Olshevsky and Shi (2017) and Qu and Li (2018), in Euclidean space. The
// form above mixes in the dual space; [SpacePrimal] is the other natural form, zᵢ ←
// ∇h(Σⱼ wᵢⱼ·xⱼ) − a·yᵢ. No theorem about either is claimed for kernels in general:
// the tests check the invariants and that runs converge. There is newer theory, for
// example arXiv:2603.12838; its text was not at hand, and nothing here is its
// method, its condition on kernels or its results.
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
// [Run] runs the nodes of one process and leaves the messages to a [Network].
// [Local] is the network within a process; it can simulate faults: links that fail
// for a round, lost messages, delays. The program examples/mirror/tcp has a network
// over TCP, with one node per process, which gives the same bits.
//
// Trackers are sent as shares, wᵢⱼ·yⱼ, each to be added exactly once. So they
// survive delays and failed links: a node keeps the share that it could not send. A
// message that is lost unnoticed takes its share with it, and the nodes then
// converge to a wrong point.
//
// Examples are in example_test.go.
package distributed
