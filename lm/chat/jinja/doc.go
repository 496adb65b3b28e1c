// Package jinja runs the chat templates that models are published with: small
// programs in Jinja, as transformers' apply_chat_template runs them.
//
//	config, err := chat.ReadConfig(dir)
//	template, err := jinja.FromConfig(config, "default", jinja.Options{})
//	text, err := template.Render(ctx, messages, chat.Options{Generate: true})
//
// The environment is that of transformers: blocks are trimmed (trim_blocks,
// lstrip_blocks), loops can break and continue, raise_exception, strftime_now,
// namespace and range are there, tojson writes what Python's json does and
// leaves HTML alone, and {% generation %} writes what it encloses. Messages
// cannot be changed, and nothing outside the template can be read.
//
// # Foreign templates
//
// A template comes with a model from somewhere and is not to be trusted. It
// may have 128 KiB of source, and a rendering 250,000 statements and turns of
// loops, 64 MiB of text written, 100 macro calls within each other, and no
// string of more than 16 MiB in a variable. Between statements, and whenever
// text is written, the context is looked at. What exceeds a bound, and what
// goes wrong inside, is an [Error] that names the template and the line. A
// single expression is not bounded: 'x' * 10**9 takes the memory that it asks
// for.
//
// # Differences from Jinja
//
// The engine is gonja. What its parser lacks and published templates use is
// rewritten before it sees the source (see prepare in source.go), and string
// methods, which it gets wrong on other than ASCII text, are replaced. These
// differ still: recursive loops, assignment to several names, include, import,
// extends and block are errors, as are methods and filters that chat templates
// do not need; none is printed as nothing and does not count as defined; an
// attribute of what is no mapping is undefined where Jinja may raise an error;
// a string is indexed by byte; [1][-1] and ([1] + [2])[-2], on lists that are
// written out, find nothing; remainders of negative numbers are negative.
//
// The 66 templates for text that TRL 1.16 carries give what transformers gives
// on the tests' conversations. A part of them is among the tests;
// chat/testdata/golden.py makes the tests for all.
package jinja
