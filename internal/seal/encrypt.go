package seal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// Request is what a user asks to encrypt.
type Request struct {
	// Input is the file that is read, - for standard input; Output the one that is
	// written, empty for standard output.
	Input, Output string
	// Age are recipients that take the place of the creation rule for the output.
	Age []string
}

// Encrypt encrypts data, which is what the file Input holds, and writes nothing.
// notes are what the user has to know of the result. An error is a finding with a
// hint, or says what could not be done.
func (e *Request) Encrypt(ctx context.Context, data []byte) (result Result, notes []report.Finding, err error) {
	target := e.Output
	if target == "" {
		target = e.Input
	}
	policy, err := PolicyOf(target, e.Age)
	var f report.Finding
	if errors.As(err, &f) && f.Rule == "no-creation-rule" && target == "-" {
		f.Hint = "name recipients with --age, or the file, so that a creation rule can match: clusterpair encrypt - -o PATH"
		err = f
	}
	if err != nil {
		return Result{}, nil, err
	}
	in := Input{Name: e.Input, Data: data, Target: target, Policy: policy}
	if e.Output == "" {
		if info, err := os.Stat(e.Input); e.Input == "-" || err != nil || !info.Mode().IsRegular() {
			in.Target = ""
		}
	}
	if e.Output != "" && e.Output != e.Input {
		if in.Previous, err = worktree.ReadPrevious(e.Output); err != nil {
			return Result{}, nil, err
		}
		if in.Previous != nil && !sopsSection().Match(in.Previous) {
			return Result{}, nil, report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: e.Output},
				Message: "the file exists and is not encrypted, so that it is not overwritten", Hint: "move it away, or write to another file"}
		}
	}
	if result, err = File(ctx, sopsfile.New(nil), in); err != nil {
		return Result{}, nil, e.refused(ctx, in, err)
	}
	for _, c := range result.Copies {
		notes = append(notes, report.Finding{Rule: "plaintext-credential", Severity: report.Info, Position: report.Position{File: e.Input, Line: c.Line},
			Message: "the annotation " + c.Annotation + " is left out: it holds the object once more, in clear", Hint: "renew the credential if this was ever pushed"})
	}
	return result, notes, nil
}

// sopsSection is that of a file of YAML or JSON.
var sopsSection = pattern.Later(`(?m)^\s*(?:\{\s*)?["']?sops["']?\s*:`)

// refused makes a finding of the error that [File] gives.
func (e *Request) refused(ctx context.Context, in Input, err error) error {
	f := report.Finding{Severity: report.Error, Position: report.Position{File: e.Input}, Message: err.Error()}
	var encrypted *EncryptedError
	var empty *EmptyError
	var format *FormatError
	var left *LeftError
	var known report.Finding
	switch {
	case errors.As(err, &encrypted) && encrypted.Index == 0:
		f.Rule, f.Hint = "encrypted-already", e.anew()
	case errors.As(err, &encrypted):
		f.Rule, f.Position.Line, f.Hint = "encrypted-already", encrypted.Line, "give each document a file of its own"
		f.Message = "a document of the file is encrypted already"
	case errors.As(err, &empty):
		f.Rule = "yaml"
	case errors.As(err, &format):
		f.Rule, f.Hint = "file-format", e.otherName(ctx, in, format)
	case errors.As(err, &left):
		return e.left(ctx, in, left)
	case errors.As(err, &known):
		return known
	default:
		return Explain(err, e.Input)
	}
	return f
}

// otherName says how to get a file with a name for its format. It is empty if the file
// could not be encrypted under such a name either.
func (e *Request) otherName(ctx context.Context, in Input, format *FormatError) string {
	if format.Format == sopsfile.Lines && format.Documents == 0 {
		return e.lines(in)
	}
	target := e.Output
	if target == "" {
		target = e.Input
	}
	stem := strings.TrimSuffix(target, filepath.Ext(target))
	if format.Format == sopsfile.Binary {
		stem = target
	}
	name := stem + ".yaml"
	for n := 2; ; n++ {
		if _, err := os.Lstat(name); err != nil {
			break
		}
		name = fmt.Sprintf("%s-%d.yaml", stem, n) // no file is lost to what is typed
	}
	renamed := &Request{Input: e.Input, Output: name, Age: e.Age}
	if e.Output != e.Input {
		return renamed.foreseen(ctx, in, "")
	}
	renamed.Input = name
	return renamed.foreseen(ctx, in, fmt.Sprintf("mv %s %s && ", report.Typed(e.Input), report.Typed(name)))
}

// foreseen is a hint: the words of before, and the command that encrypts the file under
// the name of Output. If that command would fail, it is the hint of its error.
func (e *Request) foreseen(ctx context.Context, in Input, before string) string {
	in.Name, in.Target, in.Previous = e.Input, e.Output, nil
	if len(e.Age) == 0 {
		policy, err := PolicyOf(e.Output, nil)
		if err != nil {
			return before + e.command() // which says what is wrong with the creation rule
		}
		in.Policy = policy
	}
	err := Foresee(ctx, in)
	var left *LeftError
	switch {
	case err == nil:
		return before + e.command()
	case errors.As(err, &left):
		var f report.Finding
		errors.As(e.left(ctx, in, left), &f)
		if command := report.Command(f.Hint); command != "" {
			return strings.Replace(f.Hint, command, before+command, 1)
		}
		return f.Hint
	}
	return ""
}

// lines is the command with which sops encrypts a file of lines NAME=VALUE, whatever
// the selector of the creation rule is meant for.
func (e *Request) lines(in Input) string {
	command := "encrypt"
	if e.Output == e.Input {
		command = "encrypt -i"
	}
	file := " " + report.Typed(e.Input)
	switch selector := in.Policy.Selector; {
	case selector == (sopsfile.Selector{}) || !leavesLine(selector, in.Data):
		if len(e.Age) > 0 {
			command += " --age " + report.Typed(strings.Join(e.Age, ","))
		}
		return "sops " + command + file
	case ageFlag(in.Policy) != "":
		return "sops --config /dev/null " + command + ageFlag(in.Policy) + file
	}
	return "leave the selector out of the creation rule " + fromHere(in.Policy.Source)
}

// left makes a finding of a credential that would be left in clear. Its hint leads
// out: it was tried without the selector of the creation rule.
func (e *Request) left(ctx context.Context, in Input, left *LeftError) error {
	f := report.Finding{Rule: "leaf-not-encrypted", Severity: report.Error, Position: report.Position{File: e.Input, Line: left.Line, Column: left.Column},
		Path: strings.Join(left.Path, "."), Message: left.Error()}
	if left.Reason == Unreadable {
		f.Rule = "metadata-encrypted"
	}
	if in.Policy.Selector != (sopsfile.Selector{}) {
		rule := " by the creation rule " + fromHere(in.Policy.Source)
		if f.Message += rule; left.Reason == InClear && left.What != "" {
			f.Message = f.Path + " is left in clear" + rule + ": " + left.What
		}
		again, policy := in, *in.Policy
		policy.Selector, again.Policy = sopsfile.Selector{}, &policy
		if Foresee(ctx, again) == nil {
			f.Hint = e.withoutSelector(in, left)
			return f
		}
	}
	switch {
	case left.Mixed:
		f.Hint = "give each document a file of its own"
	case left.Reason == InComment:
		f.Hint = "take the comment out of the file, and renew the credential if this was ever pushed"
	case slices.ContainsFunc(left.Path, func(key string) bool { return strings.HasSuffix(key, "_unencrypted") }):
		f.Hint = "rename the key: sops leaves in clear what stands below a key that ends in _unencrypted"
	case left.Reason == Nothing:
		f.Hint = "there is nothing to keep from anybody: leave the file as it is"
	default:
		f.Hint = "take it out of there, and renew the credential if this was ever pushed"
	}
	return f
}

// fromHere is a path as it is seen from the working directory, if it is below.
func fromHere(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
			return rel
		}
	}
	return path
}

// Hint is the hint for a file in clear: the command that encrypts it, or what
// to do before any can. It is known without asking the services that hold keys.
func Hint(ctx context.Context, name string, data []byte) string {
	e := &Request{Input: name, Output: name}
	policy, err := PolicyOf(name, nil)
	var f report.Finding
	if errors.As(err, &f) && f.Rule == "no-creation-rule" {
		if docs, err := manifest.Parse(data, name); err == nil {
			if plain := manifest.Contents(docs); len(plain) == 1 && KindOf(plain[0]) == Kubeconfig {
				if command := e.asSecret(nil); command != "" {
					return command // in a file that has a rule
				}
			}
		}
		if policy, err = (sopsfile.Recipients{Age: []string{sopsfile.Nobody()}}).Policy(); err == nil {
			e.Age = []string{"RECIPIENT"}
		}
	}
	if err != nil {
		return e.command() // which says what is wrong with the creation rule
	}
	in := Input{Name: name, Data: data, Target: name, Policy: policy}
	switch err := Foresee(ctx, in); {
	case err == nil:
		return e.command()
	case errors.As(e.refused(ctx, in, err), &f) && f.Hint != "":
		return f.Hint
	}
	return "keep it out of Git, and renew the credential if this was ever pushed"
}

// leavesLine tells whether a selector leaves the value of a line in clear, as one that
// is meant for the keys of YAML does. No line is what another one says.
func leavesLine(selector sopsfile.Selector, data []byte) bool {
	doc := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && value != "" && !strings.HasPrefix(name, "#") {
			doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.TrimSpace(name)},
				&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value})
		}
	}
	lines, selected := len(doc.Content)/2, 0
	err := selector.Uncovered(doc, func(*yaml.Node, []string, bool) { selected++ })
	return err == nil && selected < lines
}

// withoutSelector is what to type where the selector of the creation rule is to
// blame.
func (e *Request) withoutSelector(in Input, left *LeftError) string {
	leave := "leave the selector out of the creation rule " + fromHere(in.Policy.Source)
	switch left.Kind {
	case Kubeconfig:
		if command := e.asSecret(in.Policy); command != "" {
			return command
		}
	case Pair:
		return leave + ", or give the file a rule of its own with  encrypted_regex: " + PairSelector
	}
	age := ageFlag(in.Policy)
	if age == "" || e.Input == "-" {
		return leave
	}
	return leave + ", or go by none: " + e.command() + age
}

// command is the one that was typed.
func (e *Request) command() string {
	command, input := "clusterpair encrypt ", "-"
	if e.Input != "-" {
		input = report.Typed(e.Input)
	}
	switch e.Output {
	case "":
		command += input
	case e.Input:
		command += "-i " + input
	default:
		command += input + " -o " + report.Typed(e.Output)
	}
	if len(e.Age) > 0 {
		command += " --age " + report.Typed(strings.Join(e.Age, ","))
	}
	return command
}

// anew is the hint for what is encrypted already.
func (e *Request) anew() string {
	switch {
	case e.Input == "-":
		return "leave it as it is"
	case sopsfile.FormatOf(e.Input) == sopsfile.Lines:
		return "leave it as it is, or change who can read it as .sops.yaml says: sops updatekeys " + report.Typed(e.Input)
	}
	again := Request{Input: "-", Output: cmp.Or(e.Output, e.Input), Age: e.Age}
	return "leave it as it is, or encrypt it anew: clusterpair decrypt " + report.Typed(e.Input) + " | " + again.command()
}

// ageFlag names the recipients of a policy, if all are age's: with them no
// creation rule is needed.
func ageFlag(p *sopsfile.Policy) string {
	groups := p.Recipients()
	if len(groups) != 1 || slices.ContainsFunc(groups[0], func(name string) bool { return !strings.HasPrefix(name, "age1") }) {
		return ""
	}
	return " --age " + strings.Join(groups[0], ",")
}

// asSecret is the command that makes a Secret of a kubeconfig, which the creation
// rule is meant for, in a file that has a rule. A file without one is for the
// recipients of the policy, if there is one. kubectl asks no cluster for it.
func (e *Request) asSecret(policy *sopsfile.Policy) string {
	name := secretName(e.Input)
	dir := filepath.Dir(e.Input)
	if e.Output != "" {
		dir = filepath.Dir(e.Output)
	}
	candidates := []string{filepath.Join(dir, name+".enc.yaml"), filepath.Join(dir, name+"-kubeconfig.yaml"), filepath.Join(dir, name+"-secret.yaml")}
	if e.Output != "" && e.Output != e.Input {
		candidates = slices.Insert(candidates, 0, e.Output)
	}
	target, age := "", ""
	for _, path := range candidates {
		if _, err := os.Lstat(path); err == nil || sopsfile.FormatOf(path) != sopsfile.YAML {
			continue
		}
		if p, err := PolicyOf(path, nil); err == nil && CoversSecret(p) {
			target, age = path, ""
			break
		}
		if target == "" && policy != nil {
			if flag := ageFlag(policy); flag != "" {
				target, age = path, flag
			}
		}
	}
	if target == "" {
		return ""
	}
	from, read := "value="+e.Input, ""
	switch {
	case e.Input == "-":
		from = "value=/dev/stdin"
	case strings.Contains(e.Input, "="): // kubectl takes it for another key
		from, read = "value=/dev/stdin", " < "+report.Typed(e.Input)
	}
	command := fmt.Sprintf("kubectl create secret generic %s --from-file %s --dry-run=client -o yaml%s | clusterpair encrypt - -o %s%s", name, report.Typed(from), read, report.Typed(target), age)
	if e.Input == "-" {
		command = "under this rule the kubeconfig is to be in a Secret: " + command
	}
	if e.Output == e.Input {
		command += " && rm " + report.Typed(e.Input)
	}
	return command
}

// secretName is a name for the Secret with a kubeconfig, taken from its file.
func secretName(file string) string {
	base := strings.TrimLeft(filepath.Base(file), ".")
	if file == "-" {
		base = ""
	}
	base, _, _ = strings.Cut(base, ".")
	name := strings.Trim(notInNames().ReplaceAllString(strings.ToLower(base), "-"), "-")
	if name = strings.Trim(name[:min(len(name), 63)], "-"); name == "" {
		return "kubeconfig"
	}
	return name
}

var notInNames = pattern.Later(`[^a-z0-9]+`)

// ObjectFormat is the format of a file that is to be written for one object of
// Kubernetes, as YAML or as JSON; standard output, with an empty name, is YAML. The
// error is a finding if sops would take the file for neither, and could not read it.
func ObjectFormat(path string) (sopsfile.Format, error) {
	if path == "" {
		return sopsfile.YAML, nil
	}
	format := sopsfile.FormatOf(path)
	if format == sopsfile.YAML || format == sopsfile.JSON {
		return format, nil
	}
	name := path + ".yaml"
	if base := filepath.Base(path); base == "yaml" || base == "json" { // as kubectl's -o
		name = filepath.Join(filepath.Dir(path), "FILE."+base)
	}
	return sopsfile.YAML, report.Finding{Rule: "file-format", Severity: report.Error, Position: report.Position{File: path},
		Message: (&FormatError{Format: format, Documents: 1}).Error(), Hint: "-o " + report.Typed(name)}
}
