// Package jinja runs the chat templates that models are published with: small
// programs in Jinja, as transformers' apply_chat_template runs them.
//
//	config, err := chat.ReadConfig(dir)
//	template, err := jinja.FromConfig(config, "default", jinja.Options{})
//	text, err := template.Render(ctx, messages, chat.Options{Generate: true})
//
// It is an interpreter of its own, without other modules. Values are Python's:
// ints of any size, floats that print as Python prints them, strings of code
// points, dicts in the order of insertion in which 1, 1.0 and true are one key.
// What chat templates use of Jinja 3.1 is there, and what transformers 5 adds:
// loops can break and continue, raise_exception and strftime_now exist, tojson
// writes what Python's json does, {% generation %} marks what an assistant says
// ([Template.RenderRanges]). As there, blocks are trimmed (trim_blocks,
// lstrip_blocks), and the sandbox lets nothing be changed: messages.append(x) is an
// error.
//
// # What is left out
//
// What pages of HTML need and no known chat template does:
//
//   - the tags block, extends, include, import, from, autoescape and print;
//   - the filters center, filesizeformat, forceescape, pprint, random, striptags,
//     urlencode, urlize, wordcount, wordwrap and xmlattr;
//   - the globals cycler, joiner, lipsum and self, and attributes of macros;
//   - the methods casefold, encode, expandtabs, format_map, isidentifier,
//     isprintable, istitle, maketrans, swapcase and translate of strings, all of
//     numbers, isdisjoint of key views, and dict.fromkeys.
//
// All of it is an error: tags and globals when a template is read, filters as in
// Jinja (when it is read, and within an if when they are used), methods when they
// are asked for.
//
// # Tools
//
// What a template may need besides messages is in chat.Options: the JSON schemas
// of tools, documents, and variables such as enable_thinking. Messages with tool
// calls, thoughts, or contents of several parts are given as JSON, see
// chat.Message.
//
// # Undefined values and errors
//
// A variable that is not given is undefined: it prints as nothing, is false and
// has no items. Any other use is an error, as in transformers. So a model without
// a beginning-of-text token renders {{ bos_token }} as nothing, but
// {{ bos_token + x }} fails.
//
// Every error of a template is an [Error]. It names the template, the line, and
// the class of the exception that transformers raises there.
//
// # Foreign templates
//
// A template comes with a model from somewhere and is not to be trusted. Its
// source, its nesting, its steps, the text it writes, the sizes of its strings,
// lists and ints, all of its values together, and the depth of its calls and
// values are bounded (run.go has the numbers), far above what published templates
// need. What exceeds a bound is an Error of ClassLimit, or of the class that
// Python raises where it has such a bound itself. The context is looked at all
// along, and within long operations.
//
// # Differences from Jinja
//
// Those that are known, besides what is left out: complex numbers, sets (the
// difference of two key views) and \N{…} in strings are errors; functions,
// generators and the like print without an address; a float where Jinja wants an
// int is a TypeError, also where Python could calculate with it; the filters int and float read the digits 0 to 9 only; slices of ranges
// calculate with 64 bits. A constant that overflows to infinity is infinity; Jinja,
// which writes it into a program as inf, raises a NameError.
//
// testdata/syntax.py and testdata/templates.py made the goldens of the tests with
// jinja2 3.1.6 and transformers 5.23.0. The second one also compares templates
// that are not here: with the 142 that llama.cpp and TRL 1.16 carry, all of 45,440
// renderings are the same, errors with their classes and lines included.
//
// Examples are in example_test.go.
package jinja
