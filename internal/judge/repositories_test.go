package judge

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
)

// TestRepositories judges repositories, many of them changed by somebody who can write to
// Git and has no key. Each file of testdata/repositories has entries, with a blank line
// between them, and the files of a repository below, which the first entry lays out. The
// others begin with what it has laid out, each anew. The lines of an entry are
//
//	# What was changed, and why.
//	$ how, as the shell takes it
//	+ the same, after the changes of the entry before
//	? paths and flags, as clusterpair validate takes them
//	each finding, with its hint where no finding above that says the same has the same hint
//	= what another tool makes of it: a command of the shell that succeeds
//
// PAIR is the rendered pair of examples/kustomize. UPDATE=1 writes the findings.
func TestRepositories(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "internal/judge/testdata/repositories/*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for name, value := range map[string]string{
		"PAIR":              "rendered/migrationnamespace/remotecluster.yaml",
		"EXAMPLES":          filepath.Join(root, "examples"),
		"FIXTURES":          filepath.Join(root, "fixtures"),
		"SOPS_AGE_KEY_FILE": filepath.Join(root, "fixtures/keys/demo.agekey"),
		"DEMO":              "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs",
		"RECOVERY":          "age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n",
		"EVIL":              "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg",
		"HOME":              t.TempDir(),
		"PATH":              tools(t, root) + string(filepath.ListSeparator) + os.Getenv("PATH"),
	} {
		t.Setenv(name, value)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := &repositories{files: archive.Files, hints: make(map[string]string)}
			var after []string
			for entry := range strings.SplitSeq(strings.TrimSpace(string(archive.Comment)), "\n\n") {
				got := r.try(t, entry)
				if after = append(after, got); got != entry && os.Getenv("UPDATE") == "" {
					t.Errorf("%s has\n%s\nnot what is found; UPDATE=1 writes it:\n%s", file, entry, got)
				}
			}
			if os.Getenv("UPDATE") != "" {
				archive.Comment = []byte(strings.Join(after, "\n\n") + "\n")
				if err := os.WriteFile(file, txtar.Format(archive), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// repositories are what the entries of one file judge.
type repositories struct {
	files       []txtar.File
	first, last string            // directories: as the first entry left it, and the last one
	hints       map[string]string // by messages
}

// try is an entry with what is found.
func (r *repositories) try(t *testing.T, entry string) string {
	t.Helper()
	dir, from := t.TempDir(), r.first
	if strings.Contains("\n"+entry, "\n+ ") {
		from = r.last
	}
	if r.first == "" {
		r.first = dir
		txtar.Write(&txtar.Archive{Files: r.files}, dir)
	} else if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	r.last = dir
	t.Chdir(dir)
	var b strings.Builder
	for line := range strings.SplitSeq(entry, "\n") {
		sign, rest, _ := strings.Cut(line, " ")
		switch sign {
		case "#", "$", "+", "?", "=":
			fmt.Fprintln(&b, line)
		}
		switch sign {
		case "$", "+", "=":
			if out, err := exec.Command("sh", "-ec", rest).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		case "?":
			b.WriteString(r.found(t, strings.Fields(os.ExpandEnv(rest))))
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// found are the findings of one run, as the command prints them.
func (r *repositories) found(t *testing.T, args []string) string {
	t.Helper()
	options := validate.Options{Now: time.Now(), Within: 30 * 24 * time.Hour, Encrypt: seal.Hint}
	target := Target{Steady: new(pace.Run), Unlisted: func(error) {}}
	for i := 0; i < len(args); i++ {
		value := func() string { i++; return args[i] }
		switch args[i] {
		case "--only":
			options.Only = strings.Split(value(), ",")
		case "--skip":
			options.Skip = strings.Split(value(), ",")
		case "--stork-version":
			options.StorkVersion = value()
		case "--decrypt":
			options.Decrypt = sopsfile.New(nil).Decrypt
		case "--plaintext":
			options.Plaintext, options.Encrypt = true, nil
		case "--staged":
			target.Staged = true
		case "-k":
			target.Kustomization = value()
		default:
			target.Paths = append(target.Paths, args[i])
		}
	}
	repo, err := gitfiles.Open(target.Paths...)
	if err != nil {
		t.Fatal(err)
	}
	if target.Repository = repo; !options.Plaintext {
		options.Origin = render.NewOrigins(repo).Of
	}
	v, _, unread, err := target.Judge(t.Context(), options)
	if err != nil || len(unread) > 0 {
		t.Fatal(err, unread)
	}
	findings := v.Findings()
	checked, pairs := v.Checked()
	var b, text bytes.Buffer
	if err := report.Write(&text, "text", &report.Report{Findings: findings, Files: checked, Pairs: pairs}); err != nil {
		t.Fatal(err)
	}
	message := ""
	for line := range strings.Lines(text.String()) {
		switch hint, isHint := strings.CutPrefix(line, "  hint: "); {
		case isHint && r.hints[message] == hint:
		case isHint:
			r.hints[message] = hint
			b.WriteString(line)
		case strings.HasSuffix(line, "]\n"):
			_, message, _ = strings.Cut(line, ": ")
			b.WriteString(strings.Replace(line, os.Getenv("PAIR")+":", "$PAIR:", 1))
		case strings.HasPrefix(line, "all fine") || strings.HasPrefix(line, "nothing"):
			b.WriteString(line)
		}
	}
	return b.String()
}

// tools is the directory of the pinned kustomize and sops. make builds them into
// CLUSTERPAIR_TOOLS; a plain go test builds them itself.
func tools(t *testing.T, root string) string {
	t.Helper()
	if dir := os.Getenv("CLUSTERPAIR_TOOLS"); dir != "" {
		return dir
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-C", filepath.Join(root, "tools"), "-o", dir+"/", "sigs.k8s.io/kustomize/kustomize/v5", "github.com/getsops/sops/v3/cmd/sops")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the tools: %v\n%s", err, out)
	}
	return dir
}
