// Package breakglass lets one person into one patient's record for a bounded time
// when they say that it cannot wait, and has it looked at afterwards.
//
// It never grants before the record of it is durable, never grants what the rules
// did not offer to this person about this patient, and never puts a patient into an
// address, a log, a metric or a message. It asks neither the rules nor the sign-in
// service nor ClickHouse, and goes on while its database does not answer: what it
// owes that is kept in memory and written later. A Service is safe for concurrent
// use.
package breakglass

import (
	"embed"
	"io/fs"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the numbered SQL files that make and change the tables, in the
// order of their names. They are valid on SQLite and PostgreSQL.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return migrations // cannot happen: the name is valid
	}
	return sub
}
