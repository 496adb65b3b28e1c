package settings_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// The fixture is a small world of losses and norms.

type level uint8

const (
	levelToken level = iota
	levelSequence
)

var levelNames = []string{levelToken: "token", levelSequence: "sequence"}

func (l level) String() string                { return settings.EnumString(levelNames, l) }
func (l level) MarshalText() ([]byte, error)  { return settings.EnumText(levelNames, l) }
func (l *level) UnmarshalText(b []byte) error { return settings.ParseEnum(levelNames, b, l) }

// slope counts from 1; 0 is not set.
type slope int8

const slopeUp slope = 1

var slopeNames = []string{"", slopeUp: "up", 2: "down"}

func (s slope) MarshalText() ([]byte, error)  { return settings.EnumText(slopeNames, s) }
func (s *slope) UnmarshalText(b []byte) error { return settings.ParseEnum(slopeNames, b, s) }

type loss interface{ loss() }

type norm interface{ norm() }

type clip struct {
	Low    float64  `json:"low"`
	High   float32  `json:"high"`
	Level  level    `json:"level"`
	Slope  slope    `json:"slope"`
	Tokens int8     `json:"tokens"`
	Dual   *float64 `json:"dual"`
	memo   int
}

func (clip) loss() {}

type scaled struct {
	Loss   loss    `json:"loss"`
	Factor float64 `json:"factor"`
}

func (scaled) loss() {}

type terms []loss

func (terms) loss() {}

// steered is a kind that is a pointer.
type steered struct {
	Beta  float64            `json:"beta"`
	Parts map[string]float64 `json:"parts"`
}

func (*steered) loss() {}

type rank struct{}

func (rank) norm() {}

type whiten struct {
	Ones    []bool       `json:"ones"`
	Weights [][]uint16   `json:"weights"`
	Inner   norm         `json:"inner"`
	Named   map[key]norm `json:"named"`
}

type key string

func (whiten) norm() {}

// both is a loss and a norm.
type both struct {
	Tag string `json:"tag"`
}

func (both) loss() {}
func (both) norm() {}

type preset struct {
	Name  string   `json:"name"`
	Clip  clip     `json:"clip"`
	Loss  loss     `json:"loss"`
	Norm  norm     `json:"norm"`
	Steer *steered `json:"steer"`
	Run   func()   `json:"-"`

	Wait time.Duration `json:"wait"`
}

var errNegative = errors.New("beta is negative")

func (p *preset) Validate() error {
	if p.Steer != nil && p.Steer.Beta < 0 {
		return errNegative
	}
	return nil
}

func losses() settings.Kinds {
	return settings.Kinds{"clip": clip{}, "scaled": scaled{Factor: 1}, "terms": terms(nil), "steered": &steered{Beta: 0.5}}
}

func norms() settings.Kinds { return settings.Kinds{"rank": rank{}, "whiten": whiten{}} }

func decodePreset(text string, base preset) (preset, error) {
	return settings.Decode([]byte(text), base, losses(), norms(), settings.Kinds{"both": both{"own"}})
}

func decodeLoss(t *testing.T, text string) loss {
	l, err := settings.Decode[loss]([]byte(text), nil, losses(), norms())
	require.NoError(t, err, text)
	return l
}

func TestDecodeKinds(t *testing.T) {
	half := 0.5
	for text, want := range map[string]loss{
		`{"kind":"clip"}`: clip{},
		`{"low":0.2,"high":"inf","level":"sequence","slope":"up","tokens":-128,"dual":0.5,"kind":"clip"}`: clip{
			Low: 0.2, High: float32(math.Inf(1)), Level: levelSequence, Slope: slopeUp, Tokens: -128, Dual: &half},
		`{"kind":"clip","low":"-inf","slope":"","dual":null}`:        clip{Low: math.Inf(-1)},
		`{"kind":"scaled","loss":{"kind":"clip"}}`:                   scaled{clip{}, 1},
		`{"kind":"scaled","loss":null,"factor":-0}`:                  scaled{nil, math.Copysign(0, -1)},
		`[{"kind":"clip","low":1e-3},[],{"kind":"clip"}]`:            terms{clip{Low: 1e-3}, terms{}, clip{}},
		`{"kind":"steered"}`:                                         &steered{Beta: 0.5},
		` {"kind" : "steered", "beta":1 , "parts":{"a b":2}}` + "\n": &steered{1, map[string]float64{"a b": 2}},
	} {
		require.Equal(t, want, decodeLoss(t, text), text)
	}
}

// A kind serves every interface that it implements, and a caller's kinds stand
// beside the built-in ones.
func TestOwnKinds(t *testing.T) {
	p, err := decodePreset(`{"loss":{"kind":"scaled","loss":{"kind":"both"}},"norm":{"kind":"both","tag":"x"}}`, preset{})
	require.NoError(t, err)
	require.Equal(t, preset{Loss: scaled{both{"own"}, 1}, Norm: both{"x"}}, p)

	_, err = settings.Decode[loss]([]byte(`{"kind":"rank"}`), nil, losses(), norms())
	require.EqualError(t, err, `settings: kind: kind "rank" stands for Go type settings_test.rank, which is no settings_test.loss, want clip, scaled or steered`)

	_, err = settings.Decode[loss]([]byte(`{"kind":"clip"}`), nil, losses(), settings.Kinds{"clip": both{}})
	require.EqualError(t, err, `settings: kind "clip" is of type settings_test.clip and settings_test.both, want one settings_test.loss of this name`)

	_, err = settings.Decode[loss]([]byte(`{"kind":"clip"}`), nil, losses(), losses())
	require.NoError(t, err, "the same kind twice is no conflict")
}

// Two decoded pointers are not one, nor the prototype.
func TestPrototypeIsNotShared(t *testing.T) {
	kinds := losses()
	for range 2 {
		l, err := settings.Decode[loss]([]byte(`{"kind":"steered"}`), nil, kinds)
		require.NoError(t, err)
		require.Equal(t, &steered{Beta: 0.5}, l)
		l.(*steered).Beta = 7
	}
}

func base() preset {
	return preset{
		Name:  "base",
		Clip:  clip{Low: 0.1, High: 0.2, Dual: new(1.0)},
		Loss:  terms{&steered{Beta: 3}},
		Norm:  whiten{Ones: []bool{true}, Inner: rank{}, Named: map[key]norm{"a": rank{}}},
		Steer: &steered{Beta: 1, Parts: map[string]float64{"a": 1}},
	}
}

func TestOverlay(t *testing.T) {
	two := 2.0
	for text, change := range map[string]func(p *preset){
		`{}`:                                   func(*preset) {},
		`{"clip":{"low":0.3},"name":"x"}`:      func(p *preset) { p.Clip.Low, p.Name = 0.3, "x" },
		`{"clip":{"dual":2}}`:                  func(p *preset) { p.Clip.Dual = &two },
		`{"clip":{"dual":null}}`:               func(p *preset) { p.Clip.Dual = nil },
		`{"norm":{"ones":[false,true]}}`:       func(p *preset) { p.Norm = whiten{[]bool{false, true}, nil, rank{}, map[key]norm{"a": rank{}}} },
		`{"norm":{"kind":"whiten"}}`:           func(p *preset) { p.Norm = whiten{} },
		`{"norm":null}`:                        func(p *preset) { p.Norm = nil },
		`{"norm":{"inner":{"kind":"whiten"}}}`: func(p *preset) { w := p.Norm.(whiten); w.Inner = whiten{}; p.Norm = w },
		`{"loss":[]}`:                          func(p *preset) { p.Loss = terms{} },
		`{"loss":{"kind":"steered"}}`:          func(p *preset) { p.Loss = &steered{Beta: 0.5} },
		`{"steer":{"parts":{"b":2}}}`:          func(p *preset) { p.Steer.Parts = map[string]float64{"b": 2} },
		`{"steer":{"beta":2}}`:                 func(p *preset) { p.Steer.Beta = 2 },
	} {
		b, want := base(), base()
		change(&want)
		got, err := decodePreset(text, b)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		require.Equal(t, base(), b, "the base changed by %s", text)
	}

	on := &steered{Beta: 3}
	got, err := settings.Decode[loss]([]byte(`{"parts":{}}`), on, losses())
	require.NoError(t, err)
	require.Equal(t, &steered{3, map[string]float64{}}, got)
	require.Equal(t, &steered{Beta: 3}, on)
}

// wrong holds settings that cannot be decoded, with the error's text.
var wrong = map[string]string{
	``:                               `want one JSON value: line 1: unexpected end of JSON input`,
	"{\n\"name\": }":                 `want one JSON value: line 2: invalid character '}' looking for beginning of value`,
	`{} {}`:                          `want one JSON value: line 1: invalid character '{' after top-level value`,
	`null`:                           `want settings, got null`,
	`3`:                              `want an object, got 3`,
	"{\"name\":\"\xff\"}":            `want JSON in UTF-8, got other bytes`,
	`{"kind":"x"}`:                   `kind: unknown field, want name, clip, loss, norm, steer or wait`,
	`{"Name":"x"}`:                   `Name: unknown field, want name, clip, loss, norm, steer or wait`,
	`{"run":1}`:                      `run: unknown field, want name, clip, loss, norm, steer or wait`,
	`{"a\nb":1}`:                     `"a\nb": unknown field, want name, clip, loss, norm, steer or wait`,
	`{"clip":{"memo":1}}`:            `clip.memo: unknown field, want low, high, level, slope, tokens or dual`,
	`{"clip":{"low":1,"low":1}}`:     `clip.low: want each key once, got it twice`,
	`{"clip":null}`:                  `clip: want an object, got null`,
	`{"clip":[1,2]}`:                 `clip: want an object, got [1,2]`,
	`{"clip":{"low":"x"}}`:           `clip.low: want a number, "inf" or "-inf", got "x"`,
	`{"clip":{"low":"nan"}}`:         `clip.low: want a number, "inf" or "-inf", got "nan"`,
	`{"clip":{"low":null}}`:          `clip.low: want a number, "inf" or "-inf", got null`,
	`{"clip":{"low":1e999}}`:         `clip.low: want a number, "inf" or "-inf", got 1e999`,
	`{"clip":{"high":1e39}}`:         `clip.high: want a number, "inf" or "-inf", got 1e39`,
	`{"clip":{"dual":true}}`:         `clip.dual: want a number, "inf" or "-inf", got true`,
	`{"clip":{"tokens":128}}`:        `clip.tokens: want an integer (int8), got 128`,
	`{"clip":{"tokens":1.0}}`:        `clip.tokens: want an integer (int8), got 1.0`,
	`{"clip":{"tokens":"1"}}`:        `clip.tokens: want an integer (int8), got "1"`,
	`{"wait":1}`:                     `wait: want a duration such as "1m30s", got 1`,
	`{"wait":"1"}`:                   `wait: want a duration such as "1m30s", got "1"`,
	`{"wait":null}`:                  `wait: want a duration such as "1m30s", got null`,
	`{"clip":{"level":"all"}}`:       `clip.level: want token or sequence, got "all"`,
	`{"clip":{"level":""}}`:          `clip.level: want token or sequence, got ""`,
	`{"clip":{"level":1}}`:           `clip.level: want a string, got 1`,
	`{"clip":{"level":null}}`:        `clip.level: want a string, got null`,
	`{"clip":{"slope":"x"}}`:         `clip.slope: want up or down, got "x"`,
	`{"name":{"a": ` + "\n" + ` 1}}`: `name: want a string, got {"a": 1}`,
	`{"loss":3}`:                     `loss: want an object with "kind" (both, clip, scaled or steered) or an array, got 3`,
	`{"loss":{}}`:                    `loss: want an object with "kind" (both, clip, scaled or steered) or an array, got {}`,
	`{"loss":{"kind":"clap"}}`:       `loss.kind: unknown kind "clap", want both, clip, scaled or steered, or an array of such objects`,
	`{"loss":{"kind":"terms"}}`:      `loss.kind: unknown kind "terms", want both, clip, scaled or steered, or an array of such objects`,
	`{"loss":{"kind":null}}`:         `loss.kind: unknown kind null, want both, clip, scaled or steered, or an array of such objects`,
	`{"loss":[{"kind":"clip"},{"kind":"scaled","loss":{"kind":"clip","low":"x"}}]}`: `loss[1].loss.low: want a number, "inf" or "-inf", got "x"`,
	`{"norm":[]}`:                                                          `norm: want an object with "kind" (both, rank or whiten), got []`,
	`{"norm":{"kind":"rank","x":1}}`:                                       `norm.x: unknown field, want none`,
	`{"norm":{"kind":"whiten","ones":1}}`:                                  `norm.ones: want an array, got 1`,
	`{"norm":{"kind":"whiten","ones":[1]}}`:                                `norm.ones[0]: want true or false, got 1`,
	`{"norm":{"kind":"whiten","weights":[[1],[2,-3]]}}`:                    `norm.weights[1][1]: want an integer (uint16), got -3`,
	`{"norm":{"kind":"whiten","named":{"a":{"kind":"rank"},"b c":{}}}}`:    `norm.named.b c: want an object with "kind" (both, rank or whiten), got {}`,
	`{"steer":{"parts":[]}}`:                                               `steer.parts: want an object, got []`,
	`{"steer":3}`:                                                          `steer: want an object, got 3`,
	`{"steer":{"beta":-1}}`:                                                `beta is negative`,
	`{"loss":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`: `want at most 100 levels, got more`,
	`{"loss":` + strings.Repeat("[", 20000):                                `want one JSON value: line 1: invalid character '[' exceeded max depth`,
}

func TestErrors(t *testing.T) {
	for text, want := range wrong {
		p, err := decodePreset(text, preset{Name: "base"})
		require.EqualError(t, err, "settings: "+want, "%.100s", text)
		require.Zero(t, p)
	}
	_, err := decodePreset(`{"loss":{"low":1}}`, base())
	require.EqualError(t, err, `settings: loss: want an object with "kind" (both, clip, scaled or steered) or an array, got {"low":1}`,
		"a slice has no fields to change")
	_, err = decodePreset(`{"steer":{"beta":-1}}`, preset{})
	require.ErrorIs(t, err, errNegative)
}

type leaky struct {
	Leak float64 `json:"leak"`
	Next []loss  `json:"next"`
}

func (*leaky) loss() {}

// Validate has a pointer receiver.
func (l *leaky) Validate() error {
	if l.Leak < 0 {
		return fmt.Errorf("settings_test: leaky.Leak is %v, want 0 or more: %w", l.Leak, errNegative)
	}
	if len(l.Next) > 2 {
		return errors.New("settings_test: too much follows")
	}
	return nil
}

type part struct {
	Low int `json:"low"`
}

type inner struct {
	Parts []part `json:"parts"`
	Says  string `json:"says"`
}

type outer struct {
	Inner *inner `json:"inner"`
}

// Validate says what it is told.
func (o outer) Validate() error { return errors.New("settings_test: " + o.Inner.Says) }

// What Validate of a part refuses is named by its path.
func TestDecodeValidatesParts(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind":"leaky","leak":-1}`:                                      "leak is -1, want 0 or more: beta is negative",
		`{"kind":"leaky","leak":-1,"next":[null,{"kind":"p","leak":-2}]}`: "next[1].leak is -2, want 0 or more: beta is negative",
		`{"kind":"p","next":[{"kind":"leaky","next":[null,null,null]}]}`:  "next[0]: too much follows",
	} {
		_, err := settings.Decode[loss]([]byte(text), nil, settings.Kinds{"leaky": &leaky{}, "p": &leaky{Leak: 1}})
		require.EqualError(t, err, "settings: "+want)
		require.Equal(t, strings.Contains(want, "negative"), errors.Is(err, errNegative))
	}
	// Kinds that do not fit say why.
	_, err := settings.Decode[loss]([]byte(`{"kind":"step"}`), nil, settings.Kinds{"step": 3, "clip": clip{}})
	require.EqualError(t, err, `settings: kind: kind "step" stands for Go type int, which is no settings_test.loss, want clip`)
	_, err = settings.Decode([]byte(`{"norm":{"kind":"rank"}}`), preset{}, losses())
	require.EqualError(t, err, `settings: norm.kind: unknown kind "rank": no kinds of settings_test.norm were given, want those of package settings_test`)
	type whole struct {
		Named map[string]leaky `json:"named"`
	}
	_, err = settings.Decode([]byte(`{"named":{"b":{"leak":-1},"a":{"leak":-2}}}`), whole{})
	require.EqualError(t, err, "settings: named.a.leak is -2, want 0 or more: beta is negative")
	// So are parts of parts.
	for says, want := range map[string]string{
		"outer.Inner.Parts[1].Low is 3":    "inner.parts[1].low is 3",
		"outer.Inner.Parts needs another":  "inner.parts needs another",
		"outer.Inner.Parts[0]: is odd":     "inner.parts[0]: is odd",
		"outer.Inner.Parts[0].High is 3":   "outer.Inner.Parts[0].High is 3",
		"outer.Inner and Parts are broken": "outer.Inner and Parts are broken",
		"outer.Within is 1":                "outer.Within is 1",
	} {
		_, err = settings.Decode([]byte("{}"), outer{Inner: &inner{Says: says}})
		require.EqualError(t, err, "settings: "+want)
	}
}

// A Go type that cannot be a setting is named, in both directions.
func TestUnsupportedTypes(t *testing.T) {
	check := func(want string, errs ...error) {
		for _, err := range errs {
			require.EqualError(t, err, "settings: "+want)
		}
	}
	both := func(decode, encode error) []error { return []error{decode, encode} }
	const cannot = " cannot be a setting (an enum needs MarshalText and UnmarshalText)"

	type plain uint8
	type enum struct {
		Plain plain `json:"plain"`
	}
	check("plain: Go type settings_test.plain"+cannot, both(roundTrip(`{"plain":1}`, enum{}))...)
	type function struct {
		F func() `json:"f"`
	}
	check("f: Go type func()"+cannot, both(roundTrip(`{"f":1}`, function{}))...)
	type twice struct {
		P **int `json:"p"`
	}
	check("p: Go type **int"+cannot, both(roundTrip(`{"p":null}`, twice{}))...)
	type numbered struct {
		M map[int]int `json:"m"`
	}
	check("m: Go type map[int]int"+cannot, both(roundTrip(`{"m":{}}`, numbered{}))...)
	type untagged struct{ A int }
	check("field A of settings_test.untagged has no json tag, want its name in snake case", both(roundTrip(`{}`, untagged{}))...)
	type kind struct {
		Kind string `json:"kind,omitempty"`
	}
	check(`field Kind of settings_test.kind has the json tag "kind", which is taken`, both(roundTrip(`{}`, kind{}))...)

	_, err := settings.Decode[any]([]byte(`{"kind":"x"}`), nil, settings.Kinds{"x": 3, "nil": nil})
	check(`kind "x" is of type int, want a struct, a pointer to one or a slice`, err)
	_, err = settings.Decode[any]([]byte(`[]`), nil, settings.Kinds{"x": []int{}, "y": []bool{}})
	check(`an array stands for []int and []bool, want one slice type that implements interface {}`, err)
}

// roundTrip decodes text over v, and encodes v.
func roundTrip[T any](text string, v T) (decode, encode error) {
	_, decode = settings.Decode([]byte(text), v)
	_, encode = settings.Encode(v)
	return decode, encode
}

func TestEncode(t *testing.T) {
	p := base()
	p.Name = `<a "b">`
	p.Clip.High = float32(math.Inf(1))
	p.Clip.Low = math.Inf(-1)
	p.Loss = terms{scaled{Factor: 1e-7}, terms{}, &steered{Parts: map[string]float64{"z": 1, "a": 1e6}}}
	got, err := settings.Encode(p, losses(), norms())
	require.NoError(t, err)
	require.Equal(t, `{"name":"<a \"b\">",`+
		`"clip":{"low":"-inf","high":"inf","level":"token","slope":"","tokens":0,"dual":1},`+
		`"loss":[{"kind":"scaled","loss":null,"factor":1e-7},[],{"kind":"steered","beta":0,"parts":{"a":1000000,"z":1}}],`+
		`"norm":{"kind":"whiten","ones":[true],"weights":null,"inner":{"kind":"rank"},"named":{"a":{"kind":"rank"}}},`+
		`"steer":{"beta":1,"parts":{"a":1}},"wait":"0s"}`, string(got))

	got, err = settings.Encode[loss](clip{High: 0.1}, losses())
	require.NoError(t, err)
	require.Equal(t, `{"kind":"clip","low":0,"high":0.1,"level":"token","slope":"","tokens":0,"dual":null}`, string(got))
}

func TestEncodeErrors(t *testing.T) {
	cycle := &scaledCycle{}
	cycle.Loss = []loss{cycle, cycle}
	for want, l := range map[string]loss{
		`want settings, got nil`:                                    nil,
		`low: want a number, got NaN`:                               clip{Low: math.NaN()},
		`level: want token or sequence, got settings_test.level(7)`: clip{Level: 7},
		`slope: want up or down, got settings_test.slope(-1)`:       clip{Slope: -1},
		`loss[1].loss: Go type settings_test.both has no kind, want the type of clip, cycle, scaled or steered, or kinds that include it`: scaled{terms{nil, scaled{both{}, 0}}, 1},
		`Go type *settings_test.clip has no kind, want the type of clip, cycle, scaled or steered, or kinds that include it`:              &clip{},
		`loss: want a value, got a nil *settings_test.steered`:                                                                            scaled{(*steered)(nil), 1},
		`want a value, got a nil settings_test.terms`:                                                                                     terms(nil),
		`parts."\xff": want text in UTF-8, got "\xff"`:                                                                                    &steered{Parts: map[string]float64{"\xff": 1}},
		`want at most 100 levels, got more`:                                                                                               cycle,
	} {
		_, err := settings.Encode(l, losses(), settings.Kinds{"cycle": &scaledCycle{}})
		require.EqualError(t, err, "settings: "+want)
	}
}

type scaledCycle struct {
	Loss []loss `json:"loss"`
}

func (*scaledCycle) loss() {}

func TestEnum(t *testing.T) {
	require.Equal(t, "sequence", levelSequence.String())
	require.Equal(t, "settings_test.level(9)", level(9).String())
	require.Equal(t, "settings_test.slope(0)", settings.EnumString(slopeNames, slope(0)))
	l := levelSequence
	require.EqualError(t, l.UnmarshalText([]byte("x")), `want token or sequence, got "x"`)
	require.Equal(t, levelSequence, l)
}

func ExampleDecode() {
	trl := preset{Name: "trl", Clip: clip{Low: 0.2, High: 0.2}}
	p, err := settings.Decode([]byte(`{"clip":{"high":0.28},"loss":{"kind":"scaled","loss":{"kind":"clip"}}}`), trl, losses())
	fmt.Println(p.Name, p.Clip.Low, p.Clip.High, err)

	_, err = settings.Decode([]byte(`{"loss":{"kind":"clap"}}`), trl, losses())
	fmt.Println(err)
	// Output:
	// trl 0.2 0.28 <nil>
	// settings: loss.kind: unknown kind "clap", want clip, scaled or steered, or an array of such objects
}
