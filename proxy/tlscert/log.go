package tlscert

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// core lets certmagic, which logs with zap, write to the gateway's log.
type core struct {
	logger *slog.Logger
	fields []zapcore.Field
}

var _ zapcore.Core = core{}

func (c core) Enabled(l zapcore.Level) bool { return c.logger.Enabled(context.Background(), level(l)) }

func (c core) With(fields []zapcore.Field) zapcore.Core {
	return core{c.logger, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range c.fields {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	attrs := []slog.Attr{slog.String("event", e.Message), slog.String("part", e.LoggerName)}
	for name, value := range enc.Fields {
		attrs = append(attrs, slog.Any(name, value))
	}
	c.logger.LogAttrs(context.Background(), level(e.Level), "acme", attrs...)
	return nil
}

func (c core) Sync() error { return nil }

func level(l zapcore.Level) slog.Level {
	switch {
	case l <= zapcore.DebugLevel:
		return slog.LevelDebug
	case l == zapcore.InfoLevel:
		return slog.LevelInfo
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelError
}
