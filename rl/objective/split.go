package objective

import (
	"errors"
	"fmt"
)

// Split weighs policy losses by one aggregation and the terms that regularise
// (KL, entropy) by another, as trainers do whose KL is a mean of its own:
// SkyRL's is a mean over sequences whatever the reduction of the loss, and
// TRL's entropy bonus a mean over tokens.
//
// Each part says itself what becomes of masked tokens; of Loss only the weights
// of policy losses are used, of Regularizer only the others.
type Split struct {
	Loss, Regularizer Aggregation
}

// Weigh implements Aggregation.
func (a Split) Weigh(l Layout) (loss, kl [][]float64, err error) {
	if a.Loss == nil || a.Regularizer == nil {
		return nil, nil, fmt.Errorf("objective: Split has Loss %v and Regularizer %v, want two aggregations", a.Loss, a.Regularizer)
	}
	loss, _, lossErr := a.Loss.Weigh(l)
	if lossErr != nil && !errors.Is(lossErr, ErrNoLiveToken) {
		return nil, nil, lossErr
	}
	_, kl, klErr := a.Regularizer.Weigh(l)
	if klErr != nil && !errors.Is(klErr, ErrNoLiveToken) {
		return nil, nil, klErr
	}
	if lossErr != nil && klErr != nil {
		err = ErrNoLiveToken
	}
	return loss, kl, err
}
