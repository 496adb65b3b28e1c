package settings

import "fmt"

// Enum is any type whose values count from 0.
type Enum interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// EnumString is the String method of an enum whose value i is called names[i].
// A value without a name gives a text such as "rl.Level(7)".
//
// The three methods of an enum are one line each:
//
//	var stdNames = []string{StdSample: "sample", StdPopulation: "population"}
//
//	func (s Std) String() string                { return settings.EnumString(stdNames, s) }
//	func (s Std) MarshalText() ([]byte, error)  { return settings.EnumText(stdNames, s) }
//	func (s *Std) UnmarshalText(b []byte) error { return settings.ParseEnum(stdNames, b, s) }
//
// In an enum that counts from 1, names[0] is "": the text of a value not set.
func EnumString[E Enum](names []string, e E) string {
	if b, err := EnumText(names, e); err == nil && len(b) > 0 {
		return string(b)
	}
	return fmt.Sprintf("%T(%d)", e, e)
}

// EnumText is the MarshalText method of such an enum. A value without an entry
// in names is an error that lists them.
func EnumText[E Enum](names []string, e E) ([]byte, error) {
	if e < 0 || uint64(e) >= uint64(len(names)) {
		return nil, fmt.Errorf("want %s, got %T(%d)", oneOf(names), e, e)
	}
	return []byte(names[e]), nil
}

// ParseEnum is the UnmarshalText method of such an enum. An unknown text is an
// error that lists the names.
func ParseEnum[E Enum](names []string, text []byte, e *E) error {
	for i, name := range names {
		if name == string(text) {
			*e = E(i)
			return nil
		}
	}
	return fmt.Errorf("want %s, got %.40q", oneOf(names), text)
}

// CheckEnum returns an error that names the field unless e is a value with a
// name; one that is not set has none.
func CheckEnum[E Enum](field string, names []string, e E) error {
	switch text, err := EnumText(names, e); {
	case err != nil:
		return fmt.Errorf("%s is %T(%d), want %s", field, e, e, oneOf(names))
	case len(text) == 0:
		return fmt.Errorf("%s is not set, want %s", field, oneOf(names))
	}
	return nil
}
