package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/stepwise-rl/stepwise/rl/preset"
)

// help explains every option, its default and where it applies.
func (s *schema) help(w io.Writer, prog, about string) {
	fmt.Fprintf(w, "usage: %s [flags] < input > output\n\n%s\n\n", prog, about)
	fmt.Fprintf(w, "A flag that does not apply to what is chosen is an error.\n\n")
	fmt.Fprintf(w, "  -preset name\n    \tset everything as that system does; flags given beside it come first\n    \tone of %s\n", strings.Join(preset.Names(), ", "))
	for i := range s.options {
		o := &s.options[i]
		fmt.Fprintf(w, "  -%s\n    \t%s\n", strings.TrimSpace(o.name+" "+kindNames[o.kind]), strings.ReplaceAll(o.help, "\n", "\n    \t"))
		width := 0
		for _, c := range o.choices {
			width = max(width, len(c.name))
		}
		for _, c := range o.choices {
			fmt.Fprintf(w, "    \t  %-*s  %s\n", width, c.name, c.help)
		}
		if conditions := s.conditions(o.name); len(conditions) > 0 {
			fmt.Fprintf(w, "    \twith %s\n", strings.Join(conditions, " or "))
		}
		fmt.Fprintf(w, "    \tdefault %s\n", strings.Join(s.defaults(o.name), ", "))
	}
}

// each calls f for every place at which an option is listed: the option and
// value that it depends on, nil at the root, and its default there.
func (s *schema) each(name string, f func(parent *option, value, def string)) {
	scan := func(parent *option, value, list string) {
		for item := range strings.FieldsSeq(list) {
			if n, def, given := strings.Cut(item, "="); n == name {
				if !given {
					def = s.option(name).zero()
				}
				f(parent, value, def)
			}
		}
	}
	scan(nil, "", s.root)
	for i := range s.options {
		for _, c := range s.options[i].parents() {
			scan(&s.options[i], c.name, c.options)
		}
	}
}

// conditions says with which values of other options an option applies; it is
// empty for one that always does.
func (s *schema) conditions(name string) []string {
	var flags []string
	values := map[string][]string{}
	s.each(name, func(parent *option, value, _ string) {
		if parent == nil {
			return
		}
		flag := "-" + parent.name
		if parent.kind == onOffKind {
			value = ""
		}
		if values[flag] == nil {
			flags = append(flags, flag)
		}
		values[flag] = append(values[flag], value)
	})
	for i, flag := range flags {
		flags[i] = strings.TrimSpace(flag + " " + strings.Join(values[flag], ", "))
	}
	return flags
}

// defaults lists the default of an option, or its defaults by condition.
func (s *schema) defaults(name string) []string {
	var order []string
	where := map[string][]string{}
	s.each(name, func(parent *option, value, def string) {
		if parent != nil && parent.kind == onOffKind {
			value = "-" + parent.name
		}
		if def == "" {
			def = "none"
		}
		if where[def] == nil {
			order = append(order, def)
		}
		where[def] = append(where[def], value)
	})
	if len(order) == 1 {
		return order
	}
	for i, def := range order {
		order[i] = fmt.Sprintf("%s (%s)", def, strings.Join(where[def], ", "))
	}
	return order
}
