// Package settings reads and writes settings as JSON: plain structs, and
// interfaces whose implementations are told apart by a "kind".
//
//	{"kind":"ppo","clip_low":0.2,"clip_high":0.28}
//
// The packages that own an interface wrap Decode and Encode and list their
// implementations. Nothing is registered: the list is an argument.
//
//	package advantage
//
//	// Kinds returns the estimators and normalisers of this package by the
//	// names that settings know them by.
//	func Kinds() settings.Kinds {
//		return settings.Kinds{"grpo": GRPO{}, "group": GroupEstimator{}, ...}
//	}
//
//	func Decode(b []byte, own ...settings.Kinds) (Estimator, error) {
//		return settings.Decode[Estimator](b, nil, append([]settings.Kinds{Kinds()}, own...)...)
//	}
//
//	func Encode(e Estimator, own ...settings.Kinds) ([]byte, error) {
//		return settings.Encode(e, append([]settings.Kinds{Kinds()}, own...)...)
//	}
//
// A package whose settings hold those of another passes the other's kinds too:
// sam passes its own and advantage.Kinds().
//
// # Go and JSON
//
//	bool, string           true, "text"
//	integers               12, but not 12.0 or 1e3
//	floats                 0.2, "inf", "-inf"; NaN is an error
//	time.Duration          "1m30s", as time.ParseDuration reads it
//	enums                  text, by MarshalText and UnmarshalText
//	slice                  null or an array
//	map with string keys   null or an object
//	struct                 an object
//	pointer                null or what it points to
//	interface              null or an object with "kind"; where the interface
//	                       holds a slice, as objective.Terms, the array alone:
//	                       [{"kind":"ppo"}, {"kind":"kl"}]
//
// Every exported field of a struct, embedded ones too, has a json tag: its name
// in snake case, or "-" if it is no setting. The name "kind" is taken. Options
// after a comma have no effect.
//
// Any other Go type is an error that names it: an array, a function, a pointer
// to a pointer. So is a named integer type without text methods, as it would be
// an enum written as a number. EnumText and ParseEnum write those methods.
//
// # Kinds
//
// Kinds maps a name to a prototype: a struct, a pointer to one, or a slice. A
// prototype is a candidate for every interface that it implements, so one map may
// serve several interfaces. What is decoded has the prototype's type, and the
// prototype's values where the JSON has none: usually zeros. Only one candidate
// for an interface may be a slice, whose name then plays no part. Two candidates
// with one name are an error, so that a built-in kind cannot be redefined.
//
// # Overlay
//
// Decode starts from a base, such as a preset, and changes what the JSON names:
//
//   - An object without "kind" changes fields of the old value.
//   - An object with "kind" replaces the old value, even if the kind is the same.
//   - A slice or map is replaced as a whole. Null clears.
//   - Where an interface is nil, "kind" is required.
//
// The base, and all that it points to, stays as it was. A result may share memory
// with base and prototypes where the JSON has no value.
//
// # Writing
//
// Encode writes every field, zeros too, and nil as null. So a printed preset
// shows all that can be set, stays the same if defaults change, and decodes to
// an equal value over any base. The output is compact; json.Indent spreads it.
//
// # Errors
//
// An error gives the path and what was expected:
//
//	settings: objective[1].clip_low: want a number, "inf" or "-inf", got "x"
//	settings: objective.clip: unknown field, want clip_low or clip_high
//	settings: objective.kind: unknown kind "pop", want kl, ppo or scaled, or an array of such objects
//
//	settings: objective[1].clip_low is 0, want a positive distance from 1, such as 0.2
//
// The last is of Validate, which Decode calls on the result and on all its parts
// that have it, inner ones first. No input makes Decode panic.
package settings
