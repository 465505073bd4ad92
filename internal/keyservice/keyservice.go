// Package keyservice asks the key services of clouds to encrypt data keys.
//
// The libraries of these services take longer to start than all the rest of
// clusterpair. So they stand in a program of their own, clusterpair-keyservice, which a
// [Client] starts when the first file needs it. It is found beside clusterpair, or in
// the PATH, and ends with it. The two talk over its standard input and output, one JSON
// object a line, so that a data key is in no argument, file or variable.
package keyservice

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/report"
)

// Program is the name of the program that asks the key services.
const Program = "clusterpair-keyservice"

// protocol is raised when requests or responses change.
const protocol = 1

// Key names a key of a key service, as the sops section of a file does.
type Key struct {
	// Type is the list it stands in: kms, gcp_kms, hckms, azure_kv or hc_vault.
	Type string `json:"type"`
	// Name are the fields that name it, in the order of the sops section.
	Name []string `json:"name"`
	// Context is the encryption context of an AWS KMS key.
	Context map[string]string `json:"context,omitempty"`
}

// Operation is what a key service is asked for.
type Operation string

// What a key service is asked for. Version is for Azure alone: the version of a key that
// is named without one.
const (
	Encrypt Operation = "encrypt"
	Decrypt Operation = "decrypt"
	Version Operation = "version"
)

// Request is a line to the program.
type Request struct {
	Protocol  int       `json:"protocol"`
	ID        uint64    `json:"id"`
	Operation Operation `json:"operation"`
	Key       Key       `json:"key"`
	// Data is the data key, or a part of it: in clear to be encrypted, else as it
	// stands in the file.
	Data []byte `json:"data,omitempty"`
}

// response is a line of the program.
type response struct {
	ID    uint64 `json:"id"`
	Data  []byte `json:"data,omitempty"`
	Error string `json:"error,omitempty"`
}

// Client asks the program. The zero Client is ready, and safe for concurrent use.
type Client struct {
	// Start starts the program; nil starts it as a process.
	Start func() (io.ReadWriteCloser, error)

	once    sync.Once
	failure error // the program did not start
	mu      sync.Mutex
	stream  io.ReadWriteCloser
	last    uint64
	waiting map[uint64]chan response
	ended   error // the program has ended
}

// Ask sends a data key to the key service of a key, and returns what it answers: the
// data key encrypted or in clear, or the version of the key. The error is what the key
// service says, or a [MissingError]. It does not wait longer than ctx.
func (c *Client) Ask(ctx context.Context, operation Operation, key Key, data []byte) ([]byte, error) {
	c.once.Do(c.start)
	if c.failure != nil {
		return nil, c.failure
	}
	answer, err := c.send(Request{Protocol: protocol, Operation: operation, Key: key, Data: data})
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r, ok := <-answer:
		switch {
		case !ok:
			c.mu.Lock()
			defer c.mu.Unlock()
			return nil, c.ended
		case r.Error != "":
			return nil, errors.New(r.Error)
		}
		return r.Data, nil
	}
}

func (c *Client) start() {
	start := c.Start
	if start == nil {
		start = startProgram
	}
	if c.stream, c.failure = start(); c.failure == nil {
		c.waiting = make(map[uint64]chan response)
		go func() { c.end(defect.Safely(Program, c.receive)) }()
	}
}

func (c *Client) send(r Request) (<-chan response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil, c.ended
	}
	c.last++
	r.ID = c.last
	line, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	answer := make(chan response, 1)
	c.waiting[r.ID] = answer
	if _, err := c.stream.Write(append(line, '\n')); err != nil {
		delete(c.waiting, r.ID)
		return nil, errEnded
	}
	return answer, nil
}

// errEnded does not quote what the program has said last: that may be a value.
var errEnded = errors.New(Program + " has ended before it answered")

// receive hands the responses to those who wait for them, until the program ends.
func (c *Client) receive() error {
	for lines := json.NewDecoder(c.stream); ; {
		var r response
		if err := lines.Decode(&r); err != nil {
			return errEnded
		}
		c.mu.Lock()
		if answer := c.waiting[r.ID]; answer != nil {
			answer <- r
			delete(c.waiting, r.ID)
		}
		c.mu.Unlock()
	}
}

// end tells all who wait, and will, why there is no answer.
func (c *Client) end(why error) {
	c.mu.Lock()
	c.ended = why
	for _, answer := range c.waiting {
		close(answer)
	}
	c.mu.Unlock()
	c.stream.Close() // what it says is of no use any more
}

// MissingError says that the program is not there, and what to do about it.
type MissingError struct{ error }

// Unwrap is the error with its hint.
func (e *MissingError) Unwrap() error { return e.error }

// Hint is what to do.
func (e *MissingError) Hint() string { return report.HintOf(e.error) }

func missing(beside string) error {
	return &MissingError{report.WithHint(
		fmt.Errorf("%s, which asks the key services of clouds, is neither in %s nor in the PATH", Program, beside),
		"put %s of the same release beside clusterpair", Program)}
}

// process is a running program.
type process struct {
	io.Reader
	io.WriteCloser
	cmd *exec.Cmd
}

// Close ends the program, which ends when its standard input does.
func (p process) Close() error {
	return errors.Join(p.WriteCloser.Close(), p.cmd.Wait())
}

// startProgram starts the program with the environment of this process: in it are the
// credentials with which a key service is asked.
func startProgram() (io.ReadWriteCloser, error) {
	path, err := find()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return process{out, in, cmd}, nil
}

// find is the path of the program: beside this one, or beside what that is a link to,
// or in the PATH.
func find() (string, error) {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	for _, self := range []string{self, target(self)} {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), Program)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(Program)
	if err != nil {
		return "", missing(filepath.Dir(self))
	}
	return path, nil
}

func target(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// Serve is the other side: it reads requests from in until that ends, and writes what
// ask answers to out. It does several at a time. A panic of ask is an answer, too.
func Serve(ctx context.Context, in io.Reader, out io.Writer, ask func(context.Context, Request) ([]byte, error)) error {
	var mu sync.Mutex
	var failure error
	answer := func(r response) {
		line, err := json.Marshal(r)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			_, err = out.Write(append(line, '\n'))
		}
		failure = errors.Join(failure, err)
	}
	var asking sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	requests := json.NewDecoder(bufio.NewReader(in))
	for {
		var r Request
		if err := requests.Decode(&r); err != nil {
			cancel() // nobody waits for the rest
			asking.Wait()
			if errors.Is(err, io.EOF) {
				err = nil
			} else {
				err = errors.New("standard input holds no request of clusterpair, which starts this program itself")
			}
			return errors.Join(err, failure)
		}
		if r.Protocol != protocol {
			answer(response{ID: r.ID, Error: Program + " is of another release than clusterpair: install both anew, of one release"})
			continue
		}
		asking.Go(func() {
			var data []byte
			err := defect.Safely("the library of "+r.Key.Type, func() (err error) {
				data, err = ask(ctx, r)
				return err
			})
			if err != nil {
				answer(response{ID: r.ID, Error: cmp.Or(err.Error(), "the key service has failed")})
				return
			}
			answer(response{ID: r.ID, Data: data})
		})
	}
}
