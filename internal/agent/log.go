package agent

import (
	"io"
	"log/slog"
)

// newLogger returns the log that the configuration asks for.
func newLogger(out io.Writer, c Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
