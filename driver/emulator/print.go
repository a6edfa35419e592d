package emulator

import (
	"fmt"
	"io"
)

// Format prints the emulator's address, whatever the verb, because the fields contain
// keys and passwords.
func (a *Azure) Format(f fmt.State, _ rune) {
	if a == nil || a.gateway == nil {
		io.WriteString(f, "emulator")
		return
	}
	fmt.Fprintf(f, "emulator at 127.0.0.1:%d", a.Port())
}

// Format prints the database's name, whatever the verb, because d refers to the emulator.
func (d Database) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "database %q", d.Name) }

// Format prints the kind, the name and the ids, whatever the verb, but not the secret.
func (id Identity) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%s %q (client id %s, object id %s)", id.Kind, id.Name, id.ClientID, id.ObjectID)
}
