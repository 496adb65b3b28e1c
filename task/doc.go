// Package task holds the one definition of a task: its steps with their
// instructions, criteria and rules, its answer format and its outcome rewards.
//
// Everything else follows from a [Definition]: the prompt that the model
// reads, the parser of its completions, the rules that judge each step, the
// names under which metrics appear. [New] checks the definition; [Task.Bind]
// joins it with an example into a [Bound], which package rl trains on (it is
// an rl.Problem). Task is the only generic layer: nothing after Bind has a
// type parameter.
//
// # What a verdict is
//
// A step that the policy broke (missing, duplicate, out of order, truncated,
// unparsable, surplus) is incorrect with reward 0, whatever its rule would
// say: any other treatment is a refuge that training finds and exploits. A
// step that is well-formed but that its rule cannot judge is unknown with
// reward NaN. Else the step is correct if its score reaches Step.PassAt.
//
// A completion whose final answer is broken gets Outcome.BrokenReward, 0 by
// default, from every outcome rule that cannot score it.
package task
