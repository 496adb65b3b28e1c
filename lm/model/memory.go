package model

// ActivationBytes is the most memory that a pass of the decoder has needed for
// activations and for the gradients with respect to them: neither parameters
// nor caches.
func (d *Decoder) ActivationBytes() int { return 4 * d.arena.peak }
