package emulator

import (
	"fmt"
	"io"
)

// Format prints where the emulator is, by every verb: its fields hold keys and
// passwords.
func (a *Azure) Format(f fmt.State, _ rune) {
	if a == nil || a.gateway == nil {
		io.WriteString(f, "emulator")
		return
	}
	fmt.Fprintf(f, "emulator at 127.0.0.1:%d", a.Port())
}

// Format prints the name, by every verb: the emulator hangs on it.
func (d Database) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "database %q", d.Name) }

// Format prints who it is, by every verb, without the secret.
func (id Identity) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%s %q (client id %s, object id %s)", id.Kind, id.Name, id.ClientID, id.ObjectID)
}
