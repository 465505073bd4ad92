package seal

import (
	"bytes"
	"context"
	"errors"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/plainjson"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// Decrypt is the plaintext of a SOPS file, with its comments and the order of
// its keys, in the format that sops takes from the file's name.
func Decrypt(ctx context.Context, data []byte, file string) ([]byte, error) {
	format := sopsfile.FormatOf(file)
	if format == sopsfile.Lines && isSealedLines(data) {
		return nil, report.Finding{Rule: "file-format", Severity: report.Error, Position: report.Position{File: file},
			Message: "the file holds lines NAME=VALUE, which sops decrypts and clusterpair does not", Hint: "sops decrypt " + report.Typed(file)}
	}
	docs, err := sopsfile.New(nil).Decrypt(ctx, data, file)
	if err != nil {
		return nil, Explain(err, file)
	}
	if whole, ok := sopsfile.Unwrap(docs); ok && format == sopsfile.Binary && file != "-" && plainjson.Is(data) {
		return whole, nil
	}
	var plain []byte
	if format == sopsfile.JSON && len(docs) == 1 {
		plain, err = sopsfile.MarshalJSON(docs[0])
	} else {
		plain, err = sopsfile.Marshal(docs, 2)
	}
	if err != nil {
		return nil, Explain(err, file)
	}
	return plain, nil
}

// Explain turns an error of the safe into a finding about the file, or into
// the reason why the run could not be done.
func Explain(err error, file string) error {
	f := report.Finding{Severity: report.Error, Position: report.Position{File: file}}
	var noKey *sopsfile.NoKeyError
	var malformed *sopsfile.MalformedError
	switch {
	case errors.As(err, &noKey):
		return report.WithHint(noKey, "%s", noKey.Hint())
	case errors.As(err, &malformed):
		f.Rule, f.Position.Line, f.Path, f.Message = "sops-malformed", malformed.Line, malformed.Field, malformed.Problem
		f.Hint = malformed.Hint
		if f.Path != "" && f.Position.Line > 0 {
			f.Message = f.Path + ": " + f.Message
		}
		return f
	case errors.Is(err, sopsfile.ErrMAC):
		f.Rule, f.Message = "mac-mismatch", sopsfile.ErrMAC.Error()
		f.Hint = "restore the file from Git history"
		if file != "-" {
			f.Hint += ", or render it anew: rm " + report.Typed(file) + " && clusterpair generate -f CONFIG"
		}
		return f
	case errors.Is(err, sopsfile.ErrNotEncrypted):
		f.Rule, f.Message = "not-encrypted", "the file is not encrypted with SOPS"
		if file != "-" {
			data, _ := worktree.ReadPrevious(file) // which has just been read
			if f.Hint = Hint(context.Background(), file, data); report.Command(f.Hint) == f.Hint {
				f.Hint = "encrypt it: " + f.Hint
			}
		}
		return f
	}
	return err
}

// Open parses the documents of a file and decrypts them if they are
// encrypted.
func Open(ctx context.Context, safe *sopsfile.Safe, data []byte, name string) ([]*yaml.Node, error) {
	if !bytes.Contains(data, []byte("sops")) {
		return manifest.Values(data, name)
	}
	docs, err := safe.Decrypt(ctx, data, name)
	switch {
	case errors.Is(err, sopsfile.ErrNotEncrypted):
		return manifest.Values(data, name)
	case err != nil:
		return nil, Explain(err, name)
	}
	if whole, ok := sopsfile.Unwrap(docs); ok {
		return manifest.Values(whole, name)
	}
	return manifest.Contents(docs), nil
}

// sealedLines is where sops keeps the MAC of a file of lines.
var sealedLines = pattern.Later(`(?m)^(?:sops_mac=|\[sops\]\s*$)`)

// isSealedLines tells whether a file of the format [sopsfile.Lines] is encrypted.
func isSealedLines(data []byte) bool { return sealedLines().Match(data) }
