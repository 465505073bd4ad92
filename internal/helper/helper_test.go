package helper_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clusterpair.dev/internal/helper"
	"clusterpair.dev/internal/report"
)

// operations are those of the tests.
var operations = map[string]helper.Operation{
	"greet": helper.Does(func(_ context.Context, name string) (string, error) {
		switch name {
		case "refused":
			return "", errors.New("403")
		case "silent":
			return "", errors.New("")
		case "crash":
			panic("with the data key in it")
		}
		return "hello " + name, nil
	}),
	"wait": func(ctx context.Context, _ json.RawMessage) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	},
}

// serving is a client whose program is a goroutine.
func serving(t *testing.T) *helper.Client {
	t.Helper()
	return &helper.Client{Start: func() (io.ReadWriteCloser, error) {
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- helper.Serve(context.Background(), theirs, theirs, operations) }()
		t.Cleanup(func() {
			ours.Close()
			if err := <-served; err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		})
		return ours, nil
	}}
}

// TestAsk has many ask at a time, of which each gets its own answer.
func TestAsk(t *testing.T) {
	client := serving(t)
	var asking sync.WaitGroup
	for i := range 100 {
		asking.Go(func() {
			var answer string
			err := client.Ask(t.Context(), "greet", fmt.Sprint(i), &answer)
			if want := fmt.Sprint("hello ", i); err != nil || answer != want {
				t.Errorf("%q, %v, want %q", answer, err, want)
			}
		})
	}
	asking.Wait()
	for name, want := range map[string]string{"refused": "403", "silent": "greet has failed", "crash": "greet: "} {
		var answer string
		if err := client.Ask(t.Context(), "greet", name, &answer); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "data key") {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if err := client.Ask(t.Context(), "greet", 5, nil); err == nil || err.Error() != "the request has another form" {
		t.Errorf("a number: %v", err)
	}
}

// TestInterrupted does not wait for what does not answer.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := serving(t).Ask(ctx, "wait", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestEnded tells all who wait that the program is no more, and does not quote it.
func TestEnded(t *testing.T) {
	for name, last := range map[string]string{"at once": "", "with a trace": "goroutine 1: the data key\n", "within a line": `{"id":1,"bo`} {
		client := &helper.Client{Start: func() (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			go func() {
				theirs.Read(make([]byte, 1))
				io.WriteString(theirs, last)
				theirs.Close()
			}()
			return ours, nil
		}}
		for range 2 {
			if err := client.Ask(t.Context(), "greet", "x", nil); err == nil || err.Error() != "clusterpair-helper has ended before it answered" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestServe holds the lines that the program writes.
func TestServe(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		`{"protocol":1,"id":7,"operation":"greet","body":"x"}`: `{"id":7,"body":"hello x"}` + "\n",
		`{"protocol":2,"id":7,"operation":"greet"}`:            `{"id":7,"error":"clusterpair-helper is of another release than clusterpair: install both anew, of one release"}` + "\n",
		`{"protocol":1,"id":8,"operation":"sing"}`:             `{"id":8,"error":"clusterpair-helper is of another release than clusterpair: install both anew, of one release"}` + "\n",
	} {
		var out bytes.Buffer
		if err := helper.Serve(t.Context(), strings.NewReader(in), &out, operations); err != nil || out.String() != want {
			t.Errorf("%s: %s, %v", in, out.String(), err)
		}
	}
	if err := helper.Serve(t.Context(), strings.NewReader("secret\n"), io.Discard, operations); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("no request: %v", err)
	}
}

// TestMissing says where the program is looked for.
func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	err = new(helper.Client).Ask(t.Context(), "greet", "x", nil)
	want := "clusterpair-helper, which asks the key services of clouds, and evaluates policies, is neither in " + filepath.Dir(self) + " nor in the PATH"
	if err == nil || err.Error() != want || report.HintOf(err) != "put clusterpair-helper of the same release beside clusterpair" {
		t.Errorf("%v, hint %q", err, report.HintOf(err))
	}
}
