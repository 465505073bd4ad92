// Command parse is the least work that any program must do to validate a
// directory: find its YAML files, read them and decode each document into
// nodes, which have the lines and columns that findings need.
//
//	parse [-read] DIRECTORY
//
// With -read it decodes nothing: that is the floor for a repository in which
// hardly any file matters.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"
)

func main() {
	readOnly := flag.Bool("read", false, "decode nothing")
	flag.Parse()
	if err := run(*readOnly, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "parse:", err)
		os.Exit(1)
	}
}

func run(readOnly bool, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: parse [-read] DIRECTORY")
	}
	var files, documents atomic.Int64
	var group errgroup.Group
	found := make(chan string, 64)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() (first error) {
			var buffer bytes.Buffer
			for file := range found { // to the end, or the walk would wait for ever
				count, err := parse(file, &buffer, readOnly)
				if err != nil && first == nil {
					first = fmt.Errorf("%s: %w", file, err)
				}
				files.Add(1)
				documents.Add(int64(count))
			}
			return first
		})
	}
	err := filepath.WalkDir(args[0], func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(name) == ".yaml" {
			found <- name
		}
		return err
	})
	close(found)
	if err := errors.Join(err, group.Wait()); err != nil {
		return err
	}
	fmt.Printf("%d documents in %d files\n", documents.Load(), files.Load())
	return nil
}

// parse reads a file into buffer and counts its documents.
func parse(file string, buffer *bytes.Buffer, readOnly bool) (documents int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buffer.Reset()
	if _, err := buffer.ReadFrom(f); err != nil || readOnly {
		return 0, err
	}
	for decoder := yaml.NewDecoder(buffer); ; documents++ {
		var node yaml.Node
		if err := decoder.Decode(&node); err == io.EOF {
			return documents, nil
		} else if err != nil {
			return documents, err
		}
	}
}
