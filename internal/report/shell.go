package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Typed is a file's name as a shell takes it for one argument that is no flag,
// so that a command in a [Finding.Hint] can be typed as it stands. Most names
// stay as they are; others stand in quotes, and one with a character that does
// not print in those of bash and zsh, $'…'.
func Typed(name string) string {
	if strings.HasPrefix(name, "-") {
		name = "./" + name
	}
	switch {
	case escape(name, false) != name:
	case name != "" && strings.IndexFunc(name, isSpecial) < 0:
		return name
	default:
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(name); {
		c, size := utf8.DecodeRuneInString(name[i:])
		switch {
		case c == '\'' || c == '\\':
			b.WriteString(`\` + string(c))
		case c == utf8.RuneError && size == 1 || !unicode.IsPrint(c) || c == '#' && strings.HasSuffix(name[:i], "#"):
			for _, octet := range []byte(name[i : i+size]) {
				fmt.Fprintf(&b, `\%03o`, octet)
			}
		default:
			b.WriteRune(c)
		}
		i += size
	}
	b.WriteString("'")
	return b.String()
}

// isSpecial tells whether a character means more to a shell than itself, or
// may do so.
func isSpecial(c rune) bool {
	return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c) && !strings.ContainsRune("./@%+=:,-_", c)
}

// Commands are what is to be typed of a hint: each begins with the name of a program,
// at the beginning of a clause, and ends with the clause. A hint with several leaves
// the choice to the user.
func Commands(hint string) []string {
	var commands []string
	for begins := true; hint != ""; {
		if program, arguments, _ := strings.Cut(hint, " "); begins && arguments != "" && slices.Contains(programs, program) {
			end := clauseEnd(hint)
			commands = append(commands, hint[:end])
			hint = hint[end:]
		}
		begins = false
		for _, mark := range clauseMarks {
			if behind, ok := strings.CutPrefix(hint, mark); ok {
				hint, begins = behind, true
				break
			}
		}
		if !begins && hint != "" {
			hint = hint[1:]
		}
	}
	return commands
}

// Command is the first of [Commands], empty if there is none.
func Command(hint string) string {
	if all := Commands(hint); len(all) > 0 {
		return all[0]
	}
	return ""
}

// clauseMarks are what a command in a hint stands behind.
var clauseMarks = []string{": ", "; ", ", then ", ", or ", ", ", " or "}

// clauseEnd is where a command that begins a text ends: what stands in quotes is
// part of it.
func clauseEnd(text string) int {
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote == 0 && slices.ContainsFunc(clauseMarks[1:], func(mark string) bool { return strings.HasPrefix(text[i:], mark) }):
			return i
		case c == '\\' && quote != '\'':
			i++
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return len(text)
}

// programs are those that hints name.
var programs = []string{
	"clusterpair", "age-keygen", "apt-get", "base64", "cd", "chmod", "export", "flux", "git", "gpg", "kubectl", "kustomize",
	"ls", "mkdir", "mv", "pre-commit", "rm", "sops", "type",
}
