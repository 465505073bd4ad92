// Package helper asks the program clusterpair-helper to do what few runs need.
//
// The libraries of cloud key services, and the evaluator of CUE, take longer to start
// than all the rest of clusterpair. So they stand in a program of their own, which a
// [Client] starts when a file needs it. It is found beside clusterpair, or in the PATH,
// and ends with it. The two talk over its standard input and output, one JSON object a
// line, so that a data key is in no argument, file or variable. [Serve] is its side.
package helper

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

// Program is the name of the program.
const Program = "clusterpair-helper"

// protocol is raised when what the two say to each other changes.
const protocol = 1

// request is a line to the program.
type request struct {
	Protocol  int             `json:"protocol"`
	ID        uint64          `json:"id"`
	Operation string          `json:"operation"`
	Body      json.RawMessage `json:"body"`
}

// response is a line of the program.
type response struct {
	ID    uint64          `json:"id"`
	Body  json.RawMessage `json:"body,omitempty"`
	Error string          `json:"error,omitempty"`
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

// Ask asks for an operation, and stores what the program answers in out. The error is what
// the operation has failed with, or a [MissingError]. It does not wait longer than ctx.
func (c *Client) Ask(ctx context.Context, operation string, in, out any) error {
	c.once.Do(c.start)
	if c.failure != nil {
		return c.failure
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := c.send(request{Protocol: protocol, Operation: operation, Body: body})
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r, ok := <-answer:
		switch {
		case !ok:
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.ended
		case r.Error != "":
			return errors.New(r.Error)
		}
		return json.Unmarshal(r.Body, out)
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

func (c *Client) send(r request) (<-chan response, error) {
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
		fmt.Errorf("%s, which asks the key services of clouds, and evaluates policies, is neither in %s nor in the PATH", Program, beside),
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

// Operation does what is asked for: it reads the body of a request, and returns that of
// the response.
type Operation func(ctx context.Context, body json.RawMessage) (any, error)

// Does is an operation that takes and gives values.
func Does[In, Out any](do func(context.Context, In) (Out, error)) Operation {
	return func(ctx context.Context, body json.RawMessage) (any, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, errors.New("the request has another form") // of which the error may quote a value
		}
		return do(ctx, in)
	}
}

// Serve reads requests from in until that ends, and writes to out what the operations
// answer, by name. It does several at a time. A panic of one is an answer, too.
func Serve(ctx context.Context, in io.Reader, out io.Writer, operations map[string]Operation) error {
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
	var asked sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	for requests := json.NewDecoder(bufio.NewReader(in)); ; {
		var r request
		if err := requests.Decode(&r); err != nil {
			cancel() // nobody waits for the rest
			asked.Wait()
			if errors.Is(err, io.EOF) {
				return failure
			}
			return errors.Join(errors.New("standard input holds no request of clusterpair, which starts this program itself"), failure)
		}
		do := operations[r.Operation]
		if r.Protocol != protocol || do == nil {
			answer(response{ID: r.ID, Error: Program + " is of another release than clusterpair: install both anew, of one release"})
			continue
		}
		asked.Go(func() {
			a := response{ID: r.ID}
			err := defect.Safely(r.Operation, func() error {
				body, err := do(ctx, r.Body)
				if err != nil {
					return err
				}
				a.Body, err = json.Marshal(body)
				return err
			})
			if err != nil {
				a.Body, a.Error = nil, cmp.Or(err.Error(), r.Operation+" has failed")
			}
			answer(a)
		})
	}
}
