package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newInstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "install DIR",
		Short: "Copy this binary into a directory, for init containers",
		Long: `install copies the running binary to DIR/clusterpair, readable and executable by
everybody. An image that holds nothing else can so hand it to the container
beside it, through a volume. A binary that is there, even one that runs, is
replaced at once and as a whole.`,
		Example: `  clusterpair install /custom-tools`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := install(args[0]); err != nil {
				return failed(err)
			}
			return nil
		},
	}
}

func install(dir string) (err error) {
	path := filepath.Join(dir, "clusterpair")
	defer func() {
		if err != nil {
			err = withHint(fmt.Errorf("install %s: %w", path, cause(err)), "ls -ld %s: it has to be a directory that you may write to", typed(dir))
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(self)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.CreateTemp(dir, ".clusterpair.*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(to.Name())
		}
	}()
	if _, err = io.Copy(to, from); err == nil {
		err = to.Chmod(0o755)
	}
	if closed := to.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(to.Name(), path)
}
