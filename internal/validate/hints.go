package validate

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// A hint that names a command ends with it: see [report.Finding.Hint]. What is
// to be typed depends on where the pair comes from, which only its annotations
// and the repository tell.

// renderedBy sets the command that renders a pair: that of its config, if one
// is known. A pair that no config has rendered has none.
func (f *fileRun) renderedBy(annotations *yaml.Node, origin Origin) {
	f.render = origin.Render
	by := manifest.Text(annotations, generator.AnnotationGeneratedBy)
	if f.render == "" && by != "" {
		f.render = "clusterpair generate -f CONFIG"
	}
	if strings.HasPrefix(by, "ENC[") { // generate cannot tell whose it is, either
		f.render = f.removing()
	}
}

// removing is the command that renders a pair when its file is gone.
func (f *fileRun) removing() string {
	if strings.HasPrefix(f.render, "rm ") || f.typed() == unnamed {
		return f.render
	}
	return "rm " + f.typed() + " && " + f.render
}

// anew is the hint to make a pair anew, after the words of first.
func (f *fileRun) anew(first string) string {
	if f.render == "" {
		return first + "encrypt it again from its source"
	}
	return first + "render it anew: " + f.render
}

// restored is the hint for what has been changed since it was encrypted.
func (f *fileRun) restored() string { return f.anew("restore the file from Git history, or ") }

// replaced is the hint for a file that generate does not overwrite: it cannot
// tell whether somebody still needs it.
func (f *fileRun) replaced() string {
	const first = "restore the file from Git history, or "
	if f.render == "" || f.typed() == unnamed {
		return f.anew(first)
	}
	return first + "render it anew: " + f.removing()
}

// reencrypted is the hint for a pair that is not encrypted as it should be, after the
// words of first. Whoever types it has a key of the pair, unless a config renders it.
// Without a creation rule the recipients are named: those that the pair has, and more.
func (f *fileRun) reencrypted(first string, m *sopsfile.Metadata, more ...string) string {
	if f.render != "" {
		return first + "render it anew: " + f.render
	}
	again := "encrypt it anew: clusterpair decrypt " + f.typed() + " | clusterpair encrypt - -o " + f.typed()
	switch {
	case f.ruled:
	case len(m.Recipients) == 1 && !slices.ContainsFunc(m.Recipients[0], func(r string) bool { return !strings.HasPrefix(r, "age1") }):
		again += " --age " + strings.Join(slices.Concat(m.Recipients[0], more), ",")
	default:
		first = "name the recipients in a creation rule of .sops.yaml, then "
	}
	return first + again
}

// rekeyed is the hint for a data key that is due.
func (f *fileRun) rekeyed() string {
	const first = "renew the credential, and the data key: "
	switch {
	case f.render == "" || f.typed() == unnamed:
		return first + f.sops("rotate -i")
	default:
		return first + f.removing()
	}
}

// sealAgain is what the schema says of an encrypted pair that was changed.
const sealAgain = "or encrypt it again from its source"

// encrypted is the hint for a credential in clear. alone says that it shares
// its file with no other document.
func (f *fileRun) encrypted(alone bool) string {
	const pushed = ", and renew the credential if this was ever pushed: "
	switch {
	case f.file.Name == "-" && f.object == nil:
		return "encrypt it" + pushed + "clusterpair encrypt - -o " + unnamed
	case !alone:
		return "give each ClusterPair a file of its own, encrypt it" + pushed + "clusterpair encrypt -i " + unnamed
	}
	hint := "clusterpair encrypt -i " + f.typed()
	if f.options.Encrypt != nil && f.object == nil {
		hint = f.options.Encrypt(f.ctx, f.file.Name, f.file.Data)
	}
	switch {
	case report.Command(hint) == hint:
		return "encrypt it" + pushed + hint
	case strings.Contains(hint, "renew the credential"):
		return hint
	}
	return "renew the credential if this was ever pushed; " + hint
}

// inClearHints gives the hint to what was found in clear and has none yet. How
// many documents the file has is known at its end.
func (f *fileRun) inClearHints(documents int) {
	f.inClearOnce()
	pair := len(f.noted.pairs) > 0
	hint := "" // it encrypts the file for a trial
	for i := range f.findings {
		if g := &f.findings[i]; g.Rule == "plaintext-credential" && g.Hint == "" {
			if hint == "" {
				hint = f.encrypted(documents == 1 || !pair)
			}
			g.Hint = hint
		}
	}
}

// staged rewrites the hints of a file in the Git index: a command changes the
// file of the work tree, which may be right already, or gone.
func (f *fileRun) staged() {
	if f.options.WorkTree == nil || len(f.findings) == 0 || f.object != nil {
		return
	}
	data, err := f.options.WorkTree(f.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	options := f.options
	options.WorkTree = nil
	work := &fileRun{Validator: New(options), ctx: f.ctx, file: f.file}
	work.file.Data = data
	if err == nil {
		_ = work.read() // what cannot be read has findings
	}
	type breach struct{ rule, path string }
	left := make(map[breach]bool)
	for _, h := range work.Validator.findings {
		left[breach{h.Rule, h.Path}] = true
	}
	for i := range f.findings {
		g := &f.findings[i]
		switch {
		case err != nil:
			g.Hint = "the work tree does not have it: git update-index --force-remove " + f.typed()
		case !left[breach{g.Rule, g.Path}]:
			g.Hint = "the work tree has it right: git add " + f.typed()
		case strings.Contains(report.Command(g.Hint), f.typed()) || strings.HasPrefix(report.Command(g.Hint), "clusterpair generate"):
			g.Hint += " && git add " + f.typed()
		}
	}
}

// unnamed stands for a file that only the user can name.
const unnamed = "FILE"

// typed is the file's name as a shell takes it.
func (f *fileRun) typed() string {
	if f.object != nil || f.file.Name == "-" {
		return unnamed
	}
	return report.Typed(f.file.Name)
}

// argument is what makes a command read the file again.
func (f *fileRun) argument() string {
	if f.file.Name == "-" {
		return "-"
	}
	return f.typed()
}

// sops is a command of sops on the file, which goes by the ends of names.
func (f *fileRun) sops(command string) string {
	switch filepath.Ext(f.file.Name) {
	case ".yaml", ".yml", ".json":
	default:
		if f.typed() != unnamed {
			command += " --input-type yaml --output-type yaml"
		}
	}
	return fmt.Sprintf("sops %s %s", command, f.typed())
}

// unreadable is the hint for a text that is no YAML, or no longer: the one that
// was given, unless it is a pair that a config renders.
func (f *fileRun) unreadable(text []byte, hint string) string {
	m := generatedBy().FindSubmatch(text)
	if m == nil || f.options.Origin == nil || f.file.Name == "-" {
		return hint
	}
	origin, err := f.options.Origin(f.file.Path, string(m[1]))
	if err != nil || origin.Render == "" {
		return hint
	}
	f.render = origin.Render
	return cmp.Or(hint, "restore the file from Git history") + ", or render it anew: rm " + f.typed() + " && " + f.render
}

var generatedBy = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^ +` + regexp.QuoteMeta(generator.AnnotationGeneratedBy) + `: (\S+)\r?$`)
})

// rendered rewrites what the schema says of an encrypted pair, if there is a
// config that renders it: nobody can mend what is encrypted in the file itself.
func (f *fileRun) rendered(definition string, findings []report.Finding) []report.Finding {
	if f.render != "" && definition == "#Encrypted" {
		for i := range findings {
			g := &findings[i]
			switch {
			case g.Rule == "sops-malformed":
				g.Hint = f.replaced()
			case strings.HasSuffix(g.Hint, sealAgain), strings.HasPrefix(g.Path, "spec.config"), g.Path == "spec.options.token":
				g.Hint = f.restored()
			}
		}
	}
	return findings
}
