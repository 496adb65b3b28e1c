package objective_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

func ExampleDecode() {
	o, err := objective.Decode([]byte(`[{"kind":"ppo","clip_low":0.2,"clip_high":"inf"}, {"kind":"entropy_bonus","coef":0.01}]`))
	if err != nil {
		panic(err)
	}
	text, _ := objective.Encode(o)
	fmt.Printf("%s\n", text)
	_, err = objective.Decode([]byte(`[{"kind":"ppo","clip":0.2}]`))
	fmt.Println(err)
	// Output:
	// [{"kind":"ppo","clip_low":0.2,"clip_high":"inf","dual_clip":0,"log_ratio_clamp":0},{"kind":"entropy_bonus","coef":0.01}]
	// settings: [0].clip: unknown field, want clip_low, clip_high, dual_clip or log_ratio_clamp
}

// mine is a custom objective and aggregation.
type mine struct {
	Factor float64 `json:"factor"`
}

func (mine) Needs() objective.Inputs { return 0 }
func (mine) Validate() error         { return nil }
func (mine) Eval(*objective.Sequence, objective.Metrics) (float64, error) {
	return 0, nil
}
func (mine) Weigh(objective.Layout) (loss, kl [][]float64, err error) { return nil, nil, nil }

// Every kind comes back from JSON as it was, with all settings away from zero.
func TestKinds(t *testing.T) {
	own := objective.Kinds{"mine": mine{Factor: 2}}
	ppo := objective.PPO{ClipLow: .2, ClipHigh: math.Inf(1), DualClip: 3, LogRatioClamp: 20}
	objectives := []objective.Objective{
		ppo,
		objective.GSPO{ClipLow: .1, ClipHigh: .2, LogRatioMax: 10},
		objective.GSPOToken{ClipLow: .1, ClipHigh: .2, LogRatioMax: 10},
		objective.CISPO{Low: .5, High: math.Inf(1), Drop: true, LogRatioClamp: 20},
		objective.SAPO{TauPos: 1, TauNeg: 1.05, LogRatioClamp: 20},
		objective.DRO{Beta: .05},
		objective.DPPO{Low: .1, High: .2, KL: true, Quadratic: 1, MaxWeight: 3, LogRatioClamp: 20},
		objective.VESPO{KPos: 2, LambdaPos: 3, KNeg: 4, LambdaNeg: 5},
		objective.KLCov{Share: .1, Coef: 2},
		objective.ImportanceSampling{LogRatioClamp: 20},
		objective.CrossEntropy{},
		objective.KL{Estimator: objective.KAbs, Beta: 1, StraightThrough: true, Importance: true, ImportanceMax: 10, LogRatioClamp: 20, ValueClamp: 10},
		objective.EntropyBonus{Coef: -1},
		objective.ForwardKL{},
		objective.ReverseKL{},
		objective.JSD{Beta: .5},
		objective.Corrected{Objective: ppo, Level: objective.LevelGeometric, Outside: objective.OutsideGate, Min: .5, Max: 2, LogRatioClamp: 20},
		objective.FromRollout{Objective: mine{}},
		objective.Distilled{Objective: ppo, Coef: 1, Discount: .5, GainClamp: 10},
		objective.Gated{Objective: ppo, MaxDrift: .5},
		objective.Scaled{Objective: objective.Terms{ppo, mine{Factor: 3}}, Factor: -1},
		objective.Terms{ppo, objective.Terms{mine{}}},
	}
	aggregations := []objective.Aggregation{
		objective.TokenMean{Masked: objective.MaskedExclude},
		objective.TokenSum{Masked: objective.MaskedExcludeLoss},
		objective.SeqMeanTokenMean{Masked: objective.MaskedExclude, CountEmpty: true, Epsilon: 1e-8},
		objective.SeqMeanTokenSum{Masked: objective.MaskedExclude, CountEmpty: true},
		objective.Constant{Masked: objective.MaskedExclude, Tokens: 8, PerSequence: true},
		objective.PromptMean{Masked: objective.MaskedExclude, CountEmpty: true},
		objective.Split{Loss: objective.TokenMean{}, Regularizer: mine{Factor: 3}},
	}
	seen := map[string]bool{}
	for _, o := range objectives {
		text, err := objective.Encode(o, own)
		require.NoError(t, err)
		got, err := objective.Decode(text, own)
		require.NoError(t, err)
		require.Equal(t, o, got)
		seen[fmt.Sprintf("%T", o)] = true
	}
	for _, a := range aggregations {
		text, err := objective.EncodeAggregation(a, own)
		require.NoError(t, err)
		got, err := objective.DecodeAggregation(text, own)
		require.NoError(t, err)
		require.Equal(t, a, got)
		seen[fmt.Sprintf("%T", a)] = true
	}
	for name, k := range objective.BuiltInKinds() {
		require.True(t, seen[fmt.Sprintf("%T", k)], name)
	}
	o, err := objective.Decode([]byte(`{"kind":"mine"}`), own)
	require.NoError(t, err)
	require.Equal(t, mine{Factor: 2}, o, "the prototype's default")
	_, err = objective.Encode(o)
	require.ErrorContains(t, err, "Go type objective_test.mine has no kind")
}

// What Validate refuses is not decoded.
func TestInvalidJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind":"ppo"}`: "settings: clip_low is 0, want a positive distance from 1, such as 0.2",
		`[{"kind":"dro"},{"kind":"scaled","objective":{"kind":"dro","beta":-1}}]`: "settings: [1].objective.beta is -1, want a finite number of at least 0",
		`{"kind":"corrected","max":2,"objective":{"kind":"ppo","clip_low":1}}`:    "settings: objective.clip_high is 0, want a positive distance from 1, such as 0.2",
		`{"kind":"kl","beta":0.1,"estimator":"k4"}`:                               `settings: estimator: want k1, k2, k3 or abs, got "k4"`,
	} {
		_, err := objective.Decode([]byte(text))
		require.EqualError(t, err, want)
	}
	_, err := objective.DecodeAggregation([]byte(`{"kind":"constant"}`))
	require.EqualError(t, err, "settings: tokens is 0, want a positive number of tokens")
}

// Parts knows every wrapper: a kind with an Objective in it.
func TestPartsKnowsAllWrappers(t *testing.T) {
	wrappers := 0
	for name, k := range objective.BuiltInKinds() {
		v := reflect.New(reflect.TypeOf(k)).Elem()
		o, ok := v.Interface().(objective.Objective)
		if !ok || v.Kind() != reflect.Struct {
			continue
		}
		if f := v.FieldByName("Objective"); f.IsValid() {
			wrappers++
			f.Set(reflect.ValueOf(objective.PPO{}))
			require.Equal(t, []objective.Objective{objective.PPO{}}, objective.Parts(v.Interface().(objective.Objective)), name)
		} else {
			require.Nil(t, objective.Parts(o), name)
		}
	}
	require.Equal(t, 5, wrappers)
	require.Equal(t, []objective.Objective{objective.PPO{}, objective.KL{}}, objective.Parts(objective.Terms{objective.PPO{}, objective.KL{}}))
}
