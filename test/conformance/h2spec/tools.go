//go:build tools

// Package h2spec pins the conformance suite that tools/setup --peers builds.
package h2spec

import _ "github.com/summerwind/h2spec/cmd/h2spec"
