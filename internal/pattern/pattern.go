// Package pattern is for what package regexp does not do with regular expressions.
//
// [Texts] tell whether one matches whatever another does. That is no proof: texts are
// tried. [Prefix] tells quickly what cannot match. [Later] compiles one when it is asked
// for, since every run would pay for it otherwise. [Glob] matches a pattern of Argo CD.
package pattern

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
)

// Later is a regular expression that is compiled by the first call. It has to be valid.
func Later(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// Prefix is what every text begins with that a regular expression matches, as far as
// that is told by a literal at its beginning.
func Prefix(re string) string {
	tree, err := syntax.Parse(re, syntax.Perl)
	if err != nil || tree.Op != syntax.OpConcat || tree.Sub[0].Op != syntax.OpBeginText || tree.Sub[1].Op != syntax.OpLiteral || tree.Sub[1].Flags&syntax.FoldCase != 0 {
		return ""
	}
	return string(tree.Sub[1].Rune)
}

// Texts are some of those that a regular expression matches, of all its forms. What
// matches them all may still be told apart by a rare text.
type Texts []string

// TextsOf makes them once for many questions.
func TextsOf(re *regexp.Regexp) (matched Texts) {
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return nil
	}
	for _, text := range samples(tree.Simplify()) {
		for _, before := range []string{"", "zz/9"} {
			for _, after := range []string{"", "q", "/x-1/y_2.yaml"} {
				if text := before + text + after; re.MatchString(text) {
					matched = append(matched, text)
				}
			}
		}
	}
	return matched
}

// Match tells whether one matches all of them, and there are any.
func (t Texts) Match(one *regexp.Regexp) bool {
	return len(t) > 0 && !slices.ContainsFunc(t, func(text string) bool { return !one.MatchString(text) })
}

// samples are texts that a regular expression matches, of each of its forms some.
func samples(re *syntax.Regexp) []string {
	const most = 200
	join := func(heads, tails []string) []string {
		var all []string
		for _, head := range heads {
			for _, tail := range tails {
				if all = append(all, head+tail); len(all) == most {
					return all
				}
			}
		}
		return all
	}
	switch re.Op {
	case syntax.OpLiteral:
		return []string{string(re.Rune)}
	case syntax.OpCharClass:
		if len(re.Rune) == 0 {
			return nil
		}
		all := []string{string(re.Rune[0]), string(re.Rune[len(re.Rune)-1])}
		for _, r := range []rune{'7', 'k', 'Q', '-'} {
			for i := 0; i+1 < len(re.Rune); i += 2 {
				if re.Rune[i] <= r && r <= re.Rune[i+1] {
					all = append(all, string(r))
				}
			}
		}
		return all
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return []string{"k", "/", "7"}
	case syntax.OpCapture:
		return samples(re.Sub[0])
	case syntax.OpStar, syntax.OpQuest:
		one := samples(re.Sub[0])
		if re.Op == syntax.OpQuest {
			return append([]string{""}, one...)
		}
		return append(append([]string{""}, one...), strings.Join(one, ""))
	case syntax.OpPlus:
		one := samples(re.Sub[0])
		return append(one, strings.Join(one, ""))
	case syntax.OpConcat:
		all := []string{""}
		for _, sub := range re.Sub {
			all = join(all, samples(sub))
		}
		return all
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			all = append(all, samples(sub)...)
		}
		return all[:min(len(all), most)]
	}
	return []string{""} // an assertion
}

// Anchored tells whether a pattern, which may be empty, is that of a whole text.
func Anchored(pattern, text string) bool {
	if pattern == "" || pattern == text {
		return true
	}
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	return err == nil && re.MatchString(text)
}
