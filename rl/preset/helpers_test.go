package preset_test

import "github.com/stepwise-rl/stepwise/rl/preset"

// Preset is the type under test.
type Preset = preset.Preset

// get is Get for a name that exists.
func get(name string) Preset {
	p, err := preset.Get(name)
	if err != nil {
		panic(err)
	}
	return p
}
