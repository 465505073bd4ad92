package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"clusterpair.dev/docs"
)

// TestMan writes the man pages, one for each command: into the directory MAN, as make man
// and the image want them, else into one that is thrown away. A test writes them, so that
// the library that does it is no part of the binary.
func TestMan(t *testing.T) {
	dir := os.Getenv("MAN")
	if dir == "" {
		dir = t.TempDir()
		t.Setenv("SOURCE_DATE_EPOCH", "0") // the date in the header
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root := newRootCommand(io.Discard, nil)
	root.DisableAutoGenTag = true
	exit := strings.SplitN(docs.ExitCodes(), "\n\n", 2)[1]
	flags := make(map[string][]string) // by page
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd != root && !cmd.IsAvailableCommand() {
			return
		}
		cmd.Long = manText(cmd.Long) + "\n\n# EXIT STATUS\n" + strings.ReplaceAll(exit, "--", `\-\-`) + "\n"
		page := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
		flags[page] = []string{}
		for _, word := range strings.Fields(cmd.LocalFlags().FlagUsages()) {
			if strings.HasPrefix(word, "--") {
				flags[page] = append(flags[page], strings.TrimRight(word, "=,;.)"))
			}
		}
		for _, below := range cmd.Commands() {
			visit(below)
		}
	}
	visit(root)
	header := &doc.GenManHeader{Section: "1", Source: "clusterpair", Manual: "clusterpair"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "clusterpair-helper.1"), []byte(helperPage), 0o644); err != nil {
		t.Fatal(err)
	}
	written, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(written) != len(flags)+1 || len(written) < 20 { // and the helper
		t.Errorf("%d pages of %d commands: %v", len(written), len(flags), err)
	}
	for page, names := range flags {
		text := strings.ReplaceAll(read(t, filepath.Join(dir, page)), `\-`, "-")
		for _, want := range append(names, "\n.SH NAME\n", "\n.SH SYNOPSIS\n", "\n.SH EXIT STATUS\n", "wrong use") {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not hold %q", page, want)
			}
		}
		for _, mark := range []string{"```", "&lt;", "&amp;", "&quot;"} {
			if strings.Contains(text, mark) {
				t.Errorf("%s holds %s: a mark of Markdown or HTML is left", page, mark)
			}
		}
	}
}

// helperPage is that of the program that nobody starts by hand.
const helperPage = `.TH CLUSTERPAIR\-HELPER 1
.SH NAME
clusterpair\-helper \- asks key services of clouds, and evaluates policies, for clusterpair
.SH DESCRIPTION
\fBclusterpair\fP(1) starts this program when a file is encrypted for a key of AWS KMS, Google Cloud KMS,
Azure Key Vault, Huawei Cloud KMS or Vault, and for \fBclusterpair validate \-\-policy\fP. It has to stand beside
clusterpair, or in the PATH, and be of the same release. It has no flags, and talks to clusterpair alone.
.SH SEE ALSO
\fBclusterpair\fP(1)
`

// manText is a text of --help as Markdown for a man page: paragraphs whose lines stand
// in columns or are indented are kept as they are.
func manText(help string) string {
	paragraphs := strings.Split(strings.ReplaceAll(help, "\t", "    "), "\n\n")
	for i, p := range paragraphs {
		if strings.HasPrefix(p, " ") || strings.HasPrefix(p, "-") || strings.HasPrefix(p, "#") || strings.Contains(p, "\n ") {
			paragraphs[i] = "```\n" + p + "\n```"
		} else {
			paragraphs[i] = markdownSigns.Replace(p)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

// markdownSigns are the characters of plain text that Markdown would take for a mark.
var markdownSigns = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "<", `\<`, "[", `\[`, "#", `\#`, "--", `\-\-`)
