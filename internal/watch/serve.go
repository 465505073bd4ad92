package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/common/expfmt"

	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/report"
)

// Listen is [Watcher.Serve] on an address.
func (w *Watcher) Listen(ctx context.Context, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return report.WithHint(errors.New("nothing can be answered on --listen "+address), "choose an address that is free, as in --listen :8081")
	}
	return w.Serve(ctx, listener)
}

// Serve answers on a listener until ctx ends, while [Watcher.Run] asks. Its error is about
// the listener. It is back within a second of the end of ctx.
func (w *Watcher) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{Handler: w.Handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(w.options.Log.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- defect.Safely("", func() error { return server.Serve(listener) }) }()
	ran := make(chan error, 1)
	go func() { ran <- defect.Safely("", func() error { w.Run(ctx); return nil }) }()
	var err error
	select {
	case err = <-ended:
		return err
	case err = <-ran:
	}
	stop, stopped := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer stopped()
	if server.Shutdown(stop) != nil {
		server.Close()
	}
	return err
}

// Handler answers /metrics, /healthz and /readyz.
func (w *Watcher) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(out http.ResponseWriter, r *http.Request) {
		format := expfmt.Negotiate(r.Header)
		out.Header().Set("Content-Type", string(format))
		_ = w.Metrics(out, format) // who has gone away reads no more
	})
	mux.HandleFunc("GET /healthz", func(out http.ResponseWriter, _ *http.Request) {
		w.mu.Lock()
		began := w.began
		w.mu.Unlock()
		answer(out, time.Since(began) < w.late(), "no round has begun for "+time.Since(began).Round(time.Second).String())
	})
	mux.HandleFunc("GET /readyz", func(out http.ResponseWriter, _ *http.Request) {
		w.mu.Lock()
		complete := w.complete
		w.mu.Unlock()
		answer(out, !complete.IsZero() && time.Since(complete) < w.late(), "the pairs of the source cluster could not be read")
	})
	return mux
}

// late is when a round should have come.
func (w *Watcher) late() time.Duration { return 3*w.options.Interval + 5*time.Minute }

func answer(out http.ResponseWriter, ok bool, otherwise string) {
	if !ok {
		http.Error(out, otherwise, http.StatusServiceUnavailable)
		return
	}
	io.WriteString(out, "ok\n")
}

// Once asks all once, and writes the metrics. It tells how many pairs are broken.
func (w *Watcher) Once(ctx context.Context, out io.Writer) (broken int, err error) {
	pace()
	if err := w.Round(ctx); err != nil {
		return 0, err
	}
	if err := w.Metrics(out, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
		return 0, fmt.Errorf("write the metrics: %w", err)
	}
	return w.Broken(), nil
}
