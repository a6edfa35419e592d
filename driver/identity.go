package driver

import (
	"crypto/sha256"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// An identity is the key under which connectors share a token source. Two that
// differ in anything that could lead to another token must differ here.
type identity struct {
	sum        [sha256.Size]byte
	credential azcore.TokenCredential // of WithCredential
	transport  policy.Transporter     // of WithTransport
	prompt     *prompter              // of WithDeviceCodePrompt
}

// shareable tells whether the key can be compared: who is handed over may be of
// any type.
func (id identity) shareable() bool {
	return reflect.ValueOf(&id.credential).Elem().Comparable() && reflect.ValueOf(&id.transport).Elem().Comparable()
}

// sources holds the sources in use, weakly: one that no connector holds is
// collected and takes its entry along.
var sources struct {
	sync.Mutex
	m map[identity]weak.Pointer[source]
}

// tokensFor finds or makes what gives cfg its tokens.
func tokensFor(cfg *dsn.Config, t target, o *options, password string) (tokens, error) {
	if o.credential == nil && cfg.Auth[0] == dsn.AccessToken {
		return &fixed{file: cfg.TokenFile, value: password, maxAge: cfg.TokenMaxAge, scope: t.scope}, nil
	}
	id := identityOf(cfg, t, o)
	if !id.shareable() {
		return newSource(cfg, t, o)
	}
	sources.Lock()
	defer sources.Unlock()
	if s := sources.m[id].Value(); s != nil {
		s.mu.Lock()
		s.users++
		s.mu.Unlock()
		return s, nil
	}
	s, err := newSource(cfg, t, o)
	if err != nil {
		return nil, err
	}
	if sources.m == nil {
		sources.m = map[identity]weak.Pointer[source]{}
	}
	sources.m[id] = weak.Make(s)
	runtime.AddCleanup(s, forget, id)
	return s, nil
}

func newSource(cfg *dsn.Config, t target, o *options) (*source, error) {
	cred := o.credential
	if cred == nil {
		if err := t.foreign(cfg); err != nil {
			return nil, err
		}
		var err error
		if cred, err = newCredential(cfg, o.parts(t)); err != nil {
			return nil, err
		}
	}
	return &source{ask: asker(cred, t.scope), about: situation{target: t}, maxAge: cfg.TokenMaxAge, timeout: cfg.TokenTimeout, users: 1,
		mixed: len(cfg.Auth) > 1 || cfg.Auth[0] == dsn.Default}, nil
}

// forget drops the entry of a collected source, unless a new one took its place.
func forget(id identity) {
	sources.Lock()
	defer sources.Unlock()
	if sources.m[id].Value() == nil {
		delete(sources.m, id)
	}
}

// identityOf digests the whole DSN less what is not identity (where to connect,
// how TLS is judged), with the scope and authority in force and the variables
// that azidentity reads by itself.
func identityOf(cfg *dsn.Config, t target, o *options) identity {
	c := cfg.Clone()
	c.Params, c.Cloud, c.ServerType, c.Insecure = nil, "auto", "", ""
	c.Scope, c.AuthorityHost, c.DisableInstanceDiscovery = t.scope, t.authority, !t.discovery
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		v = strings.ToUpper(v) // as Windows reads names
		return !slices.ContainsFunc(surroundings, func(prefix string) bool { return strings.HasPrefix(v, prefix) })
	})
	slices.Sort(env)
	return identity{sha256.Sum256([]byte(strings.Join(append(env, c.DSN()), "\x00"))), o.credential, o.transport, o.prompt}
}

// surroundings are the prefixes of the variables that decide who azidentity signs in.
var surroundings = []string{"AZURE_", "IDENTITY_", "IMDS_", "MSI_", "DEFAULT_IDENTITY_", "SYSTEM_", "HOME=", "USERPROFILE=", "PATH="}
