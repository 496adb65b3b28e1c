package criteria

// unit is a unit of measurement: its dimension, and how many of the dimension's
// base units it is.
type unit struct {
	dimension string
	factor    float64
}

// units are the units by their names in small letters, singular and plural.
var units = func() map[string]unit {
	table := map[string]map[string]float64{
		"length":    {"mm": .001, "cm": .01, "m": 1, "km": 1000, "inch": .0254, "inche": .0254, "in": .0254, "ft": .3048, "foot": .3048, "feet": .3048, "yd": .9144, "meter": 1, "metre": 1},
		"mass":      {"mg": 1e-6, "g": .001, "kg": 1, "gram": .001, "lb": .45359237, "lbs": .45359237, "pound": .45359237, "oz": .028349523125},
		"data":      {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12},
		"frequency": {"hz": 1, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
		"power":     {"w": 1, "kw": 1000, "watt": 1, "mw": .001},
		"voltage":   {"v": 1, "volt": 1, "mv": .001, "kv": 1000},
		"charge":    {"mah": .001, "ah": 1},
		"volume":    {"ml": .001, "cl": .01, "l": 1, "liter": 1, "litre": 1},
		"time":      {"ms": .001, "s": 1, "sec": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600},
		"pixels":    {"mp": 1e6, "megapixel": 1e6},
		"rate":      {"kbps": 1e3, "mbps": 1e6, "gbps": 1e9},
		"pages":     {"ppm": 1},
		"points":    {"dpi": 1},
	}
	all := make(map[string]unit)
	for dimension, factors := range table {
		for name, factor := range factors {
			all[name] = unit{dimension, factor}
		}
	}
	return all
}()
