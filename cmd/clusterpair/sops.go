package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

func newDecryptCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "decrypt FILE",
		Short: "Print the plaintext of a SOPS file, its MAC verified",
		Long: `decrypt prints a SOPS YAML file in clear, as sops decrypt does. The MAC is always
verified. Keys are found where SOPS finds them: SOPS_AGE_KEY_FILE, gpg, the
environment of the cloud key services. FILE may be -.`,
		Example: `  clusterpair decrypt rendered/migrationnamespace/remotecluster.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := readInput(cmd, args[0])
			if err != nil {
				return err
			}
			plain, err := decrypt(cmd.Context(), data, args[0])
			if err != nil {
				return runError(cmd, err)
			}
			warnPlaintext(cmd, output)
			if output != "" {
				err = writePlaintext(output, plain)
			} else {
				_, err = cmd.OutOrStdout().Write(plain)
			}
			if err != nil {
				return failed(err)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write instead of standard output; it is made readable by its owner alone")
	return cmd
}

// decrypt is the plaintext of a SOPS file, with its comments and the order of
// its keys.
func decrypt(ctx context.Context, data []byte, file string) ([]byte, error) {
	docs, err := sopsfile.New(nil).Decrypt(ctx, data, file)
	if err != nil {
		return nil, sopsError(err, file)
	}
	plain, err := sopsfile.Marshal(docs, 2)
	if err != nil {
		return nil, sopsError(err, file)
	}
	return plain, nil
}

// sopsError turns an error of the safe into a finding about the file, or into
// the reason why the run could not be done.
func sopsError(err error, file string) error {
	f := report.Finding{Severity: report.Error, Position: report.Position{File: file}}
	var noKey *sopsfile.NoKeyError
	var malformed *sopsfile.MalformedError
	switch {
	case errors.As(err, &noKey):
		return failed(withHint(noKey, "%s", noKey.Hint()))
	case errors.As(err, &malformed):
		f.Rule, f.Position.Line, f.Path, f.Message = "sops-malformed", malformed.Line, malformed.Field, malformed.Problem
		if f.Path != "" && f.Position.Line > 0 {
			f.Message = f.Path + ": " + f.Message
		}
		return f
	case errors.Is(err, sopsfile.ErrMAC):
		f.Rule, f.Message = "mac-mismatch", sopsfile.ErrMAC.Error()
		f.Hint = "restore the file from Git history, or render it anew: move it away and run clusterpair generate"
		return f
	case errors.Is(err, sopsfile.ErrNotEncrypted):
		f.Rule, f.Message = "not-encrypted", "the file is not encrypted with SOPS"
		f.Hint = "clusterpair encrypt " + file
		return f
	}
	return failed(err)
}

func newEncryptCommand() *cobra.Command {
	var output string
	var inPlace bool
	var age []string
	cmd := &cobra.Command{
		Use:   "encrypt FILE",
		Short: "Encrypt a YAML file with SOPS",
		Long: `encrypt seals a YAML file for the recipients of its creation rule in .sops.yaml,
as sops encrypt does. Of a ClusterPair it encrypts the credentials, of a Secret
data and stringData, both with a MAC over only that, so that it survives
kustomize; of any other document all but keys ending in _unencrypted. A creation
rule may say otherwise. With -o onto an earlier result, what
has not changed keeps its bytes. FILE may be -, then -o tells the creation rule.`,
		Example: `  clusterpair encrypt -i secrets/west.enc.yaml
  clusterpair encrypt west-kubeconfig.yaml -o secrets/west.enc.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if inPlace && (output != "" || args[0] == "-") {
				return usageError(errors.New("--in-place goes with a file and without --output"))
			}
			if inPlace {
				output = args[0]
			}
			return encrypt(cmd, args[0], output, age)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&output, "output", "o", "", "file to write instead of standard output")
	flags.BoolVarP(&inPlace, "in-place", "i", false, "write the result into FILE")
	flags.StringSliceVar(&age, "age", nil, "age recipient, instead of the creation rule; repeatable")
	return cmd
}

// encrypt seals one file.
func encrypt(cmd *cobra.Command, input, output string, age []string) error {
	data, err := readInput(cmd, input)
	if err != nil {
		return err
	}
	docs, err := manifest.Parse(data, input)
	if err != nil {
		return runError(cmd, err)
	}
	switch {
	case len(docs) == 0:
		return runError(cmd, report.Finding{Rule: "yaml", Severity: report.Error, Position: report.Position{File: input}, Message: "the file holds no document"})
	case sopsfile.IsEncrypted(docs[0]):
		return runError(cmd, report.Finding{Rule: "encrypted-already", Severity: report.Error, Position: report.Position{File: input},
			Message: "the file is encrypted already", Hint: "clusterpair decrypt " + input})
	}
	target := output
	if target == "" {
		target = input
	}
	policy, err := filePolicy(target, age)
	if err != nil {
		return runError(cmd, err)
	}
	policy = documentPolicy(policy, manifest.Contents(docs)[0])
	var previous []byte
	if output != "" && output != input {
		if previous, err = readPrevious(output); err != nil {
			return failed(err)
		}
		if previous != nil && !bytes.Contains(previous, []byte("sops:")) {
			return runError(cmd, report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: output},
				Message: "the file exists and is not encrypted, so that it is not overwritten", Hint: "move it away, or write to another file"})
		}
	}
	sealed, _, err := sopsfile.New(nil).Encrypt(cmd.Context(), docs, previous, policy, sopsfile.EncryptOptions{File: target})
	if err != nil {
		return runError(cmd, sopsError(err, input))
	}
	if err := checkSealed(sealed, policy, target); err != nil {
		return runError(cmd, err)
	}
	switch {
	case output == "":
		_, err = cmd.OutOrStdout().Write(sealed)
	case !bytes.Equal(sealed, previous):
		err = writeFile(output, sealed, 0o644)
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// filePolicy is how a file is to be encrypted: for the recipients given, or by
// its creation rule.
func filePolicy(path string, age []string) (*sopsfile.Policy, error) {
	if len(age) > 0 {
		p, err := sopsfile.Recipients{Age: age}.Policy()
		if err != nil {
			return nil, usageError(fmt.Errorf("--age: %w", err))
		}
		return p, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, failed(err)
	}
	rules, err := findRules(filepath.Dir(abs))
	if err != nil {
		return nil, err
	}
	return rulePolicy(rules, abs, path)
}

// documentPolicy completes a policy by what the document is.
func documentPolicy(p *sopsfile.Policy, doc *yaml.Node) *sopsfile.Policy {
	switch scalar(doc, "kind") {
	case generator.ClusterPairKind:
		return pairPolicy(p)
	case "Secret":
		return completePolicy(p, secretSelector)
	}
	return p
}

// readInput reads a file, or standard input for -.
func readInput(cmd *cobra.Command, path string) ([]byte, error) {
	name := path
	read := func() ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, maxFile+1)) // of a pipe or device, too
	}
	if path == "-" {
		name = "standard input"
		read = func() ([]byte, error) { return io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxFile+1)) }
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := read()
		done <- result{data, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-cmd.Context().Done():
		return nil, cmd.Context().Err() // who waits for input can be interrupted
	}
	switch {
	case errors.Is(r.err, syscall.EISDIR):
		r.err = errors.New("is a directory, not a file")
	case r.err == nil && len(r.data) > maxFile:
		r.err = fmt.Errorf("is larger than %d MiB", maxFile>>20)
	}
	if r.err != nil {
		return nil, failed(fmt.Errorf("read %s: %w", name, cause(r.err)))
	}
	return r.data, nil
}

// readPrevious reads a file that is to be replaced, nil if there is none. A
// pipe or device cannot be replaced, and reading it might not end.
func readPrevious(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil, withHint(fmt.Errorf("write %s: is a %s, not a file", path, kindOf(info)), "leave out -o to write to standard output")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, cause(err))
	}
	return data, nil
}

// writePlaintext writes a file that its owner alone can read. It replaces none:
// that could be the encrypted one.
func writePlaintext(path string, data []byte) error {
	before, err := readPrevious(path)
	switch {
	case err != nil:
		return err
	case bytes.Equal(before, data):
		return nil
	case before != nil:
		return withHint(fmt.Errorf("write %s: the file exists, and clear text replaces no file", path), "rm %s", path)
	}
	return writeFile(path, data, 0o600)
}

// writeFile replaces a file as a whole: it writes beside it and renames. A file
// that is there keeps its mode, and a symbolic link its place.
func writeFile(path string, data []byte, mode os.FileMode) (err error) {
	target := path
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
		if target, err = filepath.EvalSymlinks(path); err != nil {
			return fmt.Errorf("write %s: %w", path, cause(err))
		}
	}
	dir, base := filepath.Split(target)
	f, err := os.CreateTemp(filepath.Clean(dir), "."+base+".*")
	if errors.Is(err, os.ErrNotExist) {
		return withHint(fmt.Errorf("write %s: there is no directory %s", path, filepath.Clean(dir)), "mkdir -p %s", filepath.Clean(dir))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, cause(err))
		}
	}()
	if _, err = f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err = f.Chmod(mode); err != nil {
		f.Close()
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), target)
}

// warnPlaintext warns when clear text goes into a Git work tree: into the file
// path, or, if that is empty, into what standard output is redirected to.
func warnPlaintext(cmd *cobra.Command, path string) {
	if path == "" {
		f, ok := cmd.OutOrStdout().(*os.File)
		if !ok {
			return
		}
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return
		}
		// Only Linux tells where standard output goes.
		if path, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err != nil {
			return
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return
	}
	if top, ok := workTree(filepath.Dir(abs)); ok {
		_ = report.WriteText(cmd.ErrOrStderr(), []report.Finding{{Rule: "plaintext-credential", Severity: report.Warning, Position: report.Position{File: path},
			Message: fmt.Sprintf("a credential is written in clear into the Git work tree %s", top),
			Hint:    "never commit the file; clusterpair encrypt seals it"}})
	}
}
