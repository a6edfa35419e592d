package driver

import (
	"io/fs"
	"log/slog"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// An observer logs what comes of the token requests that a connector begins.
type observer struct{ c *Connector }

// TokenFetched implements token.Observer.
func (o observer) TokenFetched(t *token.Token, replaced bool, took time.Duration) {
	message := "token fetched"
	if replaced {
		message = "token refreshed"
	}
	o.c.log.Info(message, slog.Duration("took", took), slog.Time("expires", t.ExpiresOn))
}

// TokenFailed implements token.Observer.
func (o observer) TokenFailed(err error, took, retryIn time.Duration) {
	err = o.c.baseContext.explainToken(err)
	o.c.log.Warn("token request failed", slog.Duration("took", took), slog.Any("err", err), slog.Duration("retry_in", retryIn))
}

// TokenFileExposed implements token.Observer.
func (o observer) TokenFileExposed(path string, mode fs.FileMode) {
	o.c.log.Warn("others may read or replace the token file", slog.String("file", path), slog.String("mode", mode.String()))
}
