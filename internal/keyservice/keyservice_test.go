package keyservice_test

import (
	"bytes"
	"context"
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

	"clusterpair.dev/internal/keyservice"
	"clusterpair.dev/internal/report"
)

// serving is a client whose program is a goroutine.
func serving(t *testing.T, ask func(context.Context, keyservice.Request) ([]byte, error)) *keyservice.Client {
	t.Helper()
	return &keyservice.Client{Start: func() (io.ReadWriteCloser, error) {
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- keyservice.Serve(context.Background(), theirs, theirs, ask) }()
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
	client := serving(t, func(_ context.Context, r keyservice.Request) ([]byte, error) {
		switch r.Key.Name[0] {
		case "refused":
			return nil, errors.New("403")
		case "silent":
			return nil, errors.New("")
		case "crash":
			panic("with the data key in it")
		}
		return fmt.Appendf(nil, "%s %s %s %s", r.Operation, r.Key.Type, r.Key.Context["app"], r.Data), nil
	})
	var asking sync.WaitGroup
	for i := range 100 {
		asking.Go(func() {
			key := keyservice.Key{Type: "kms", Name: []string{"arn"}, Context: map[string]string{"app": "pair"}}
			data, err := client.Ask(t.Context(), keyservice.Encrypt, key, fmt.Append(nil, i))
			if want := fmt.Sprint("encrypt kms pair ", i); err != nil || string(data) != want {
				t.Errorf("%q, %v, want %q", data, err, want)
			}
		})
	}
	asking.Wait()
	for name, want := range map[string]string{"refused": "403", "silent": "the key service has failed", "crash": "the library of kms: "} {
		_, err := client.Ask(t.Context(), keyservice.Decrypt, keyservice.Key{Type: "kms", Name: []string{name}}, nil)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "data key") {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// TestInterrupted does not wait for a key service that does not answer.
func TestInterrupted(t *testing.T) {
	client := serving(t, func(ctx context.Context, _ keyservice.Request) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := client.Ask(ctx, keyservice.Encrypt, keyservice.Key{}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestEnded tells all who wait that the program is no more, and does not quote it.
func TestEnded(t *testing.T) {
	for name, last := range map[string]string{"at once": "", "with a trace": "goroutine 1: the data key\n", "within a line": `{"id":1,"da`} {
		client := &keyservice.Client{Start: func() (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			go func() {
				theirs.Read(make([]byte, 1))
				io.WriteString(theirs, last)
				theirs.Close()
			}()
			return ours, nil
		}}
		for range 2 {
			_, err := client.Ask(t.Context(), keyservice.Encrypt, keyservice.Key{}, nil)
			if err == nil || err.Error() != "clusterpair-keyservice has ended before it answered" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestServe holds the lines that the program writes.
func TestServe(t *testing.T) {
	ask := func(context.Context, keyservice.Request) ([]byte, error) { return []byte("x"), nil }
	for in, want := range map[string]string{
		"": "",
		`{"protocol":1,"id":7,"operation":"decrypt","key":{}}`: `{"id":7,"data":"eA=="}` + "\n",
		`{"protocol":2,"id":7}`:                                `{"id":7,"error":"clusterpair-keyservice is of another release than clusterpair: install both anew, of one release"}` + "\n",
	} {
		var out bytes.Buffer
		if err := keyservice.Serve(t.Context(), strings.NewReader(in), &out, ask); err != nil || out.String() != want {
			t.Errorf("%s: %s, %v", in, out.String(), err)
		}
	}
	if err := keyservice.Serve(t.Context(), strings.NewReader("help\n"), io.Discard, ask); err == nil || strings.Contains(err.Error(), "help") {
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
	_, err = new(keyservice.Client).Ask(t.Context(), keyservice.Encrypt, keyservice.Key{}, nil)
	want := "clusterpair-keyservice, which asks the key services of clouds, is neither in " + filepath.Dir(self) + " nor in the PATH"
	if err == nil || err.Error() != want || report.HintOf(err) != "put clusterpair-keyservice of the same release beside clusterpair" {
		t.Errorf("%v, hint %q", err, report.HintOf(err))
	}
}
