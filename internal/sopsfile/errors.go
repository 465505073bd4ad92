package sopsfile

import (
	"errors"
	"fmt"
	"strings"

	"clusterpair.dev/internal/helper"
)

// ErrNotEncrypted is wrapped by the error for a document without a sops section.
var ErrNotEncrypted = errors.New("not encrypted with SOPS")

// ErrMAC is wrapped by the error for a file whose MAC does not match its
// values: it was changed without SOPS, or damaged.
var ErrMAC = errors.New("the MAC does not match: a value was changed, added, removed or moved without SOPS")

// MalformedError is a document that is no YAML, or no SOPS file, or holds a
// value that does not decrypt. It quotes no value.
type MalformedError struct {
	File    string
	Line    int    // 0 when unknown
	Field   string // the path of the value, as in spec.config; may be empty
	Problem string
	Hint    string // may be empty
}

func (e *MalformedError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

// NoKeyError is a file for which no private key is at hand, or too few of
// its key groups.
type NoKeyError struct {
	File string
	// Groups are the recipients of the file, by key group.
	Groups [][]string
	// Threshold is how many of several groups it takes, Found how many there were.
	Threshold, Found int
	causes           []string
	// looked says that there were keys, or places that should have held one.
	looked bool
	// unasked says why no key service could be asked.
	unasked *helper.MissingError
}

func (e *NoKeyError) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	if len(e.Groups) > 1 {
		fmt.Fprintf(&b, "keys of %d of the %d key groups are needed, keys of %d are at hand; encrypted for ",
			max(e.Threshold, 2), len(e.Groups), e.Found)
	} else {
		b.WriteString("no private key at hand; encrypted for ")
	}
	for i, g := range e.Groups {
		if i > 0 {
			b.WriteString("; and ")
		}
		b.WriteString(strings.Join(g, ", "))
	}
	for _, c := range e.causes {
		b.WriteString("; " + c)
	}
	return b.String()
}

// Hint is what to type, fitting the kinds of keys the file has.
func (e *NoKeyError) Hint() string {
	for _, g := range e.Groups {
		for _, r := range g {
			if strings.HasPrefix(r, "age1") || strings.HasPrefix(r, "ssh-") {
				if e.looked {
					return "name the file of a private key that fits: export SOPS_AGE_KEY_FILE=/path/to/keys.txt"
				}
				return "export SOPS_AGE_KEY_FILE=/path/to/keys.txt"
			}
		}
	}
	if e.unasked != nil {
		return e.unasked.Hint()
	}
	return "log in to the key service named above, or import the private key with gpg --import"
}

// NoRuleError is a file that no creation rule matches.
type NoRuleError struct {
	// Rules is the path of the .sops.yaml, File that of the file, as the
	// rules see it.
	Rules, File string
	// Patterns are the path_regex of the rules; none when there is no rule.
	Patterns []string
}

func (e *NoRuleError) Error() string {
	if len(e.Patterns) == 0 {
		return fmt.Sprintf("%s has no creation_rules", e.Rules)
	}
	return fmt.Sprintf("%s: no creation rule matches %q; it has path_regex %s", e.Rules, e.File, strings.Join(e.Patterns, ", "))
}

// Hint is what to do about it.
func (e *NoRuleError) Hint() string {
	return fmt.Sprintf("add a rule to %s whose path_regex matches %q, or leave out path_regex to match every file", e.Rules, e.File)
}
