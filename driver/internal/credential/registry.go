package credential

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

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A cacheKey is the identity under which connectors share a token cache. All that could
// lead to another token must be part of it.
type cacheKey struct {
	sum        [sha256.Size]byte
	credential azcore.TokenCredential
	transport  policy.Transporter
	prompt     *Prompt
}

// comparable reports whether the key can be compared: a program's credential and
// transport may be of any type.
func (k cacheKey) comparable() bool {
	return reflect.ValueOf(&k.credential).Elem().Comparable() && reflect.ValueOf(&k.transport).Elem().Comparable()
}

// caches holds the caches in use, weakly: one that no connector holds is collected, and
// its entry is removed.
var caches struct {
	sync.Mutex
	m map[cacheKey]weak.Pointer[token.Cache]
}

// CacheFor returns the token cache of the identity that cfg and o name, with one more
// user. The caller must call Release once. It is safe for concurrent use.
func CacheFor(cfg *dsn.Config, c Cloud, o Options) (*token.Cache, error) {
	key := keyOf(cfg, c, o)
	if !key.comparable() {
		return newCache(cfg, c, o)
	}
	caches.Lock()
	defer caches.Unlock()
	if cache := caches.m[key].Value(); cache != nil {
		cache.Retain()
		return cache, nil
	}
	cache, err := newCache(cfg, c, o)
	if err != nil {
		return nil, err
	}
	if caches.m == nil {
		caches.m = map[cacheKey]weak.Pointer[token.Cache]{}
	}
	caches.m[key] = weak.Make(cache)
	runtime.AddCleanup(cache, evict, key)
	return cache, nil
}

func newCache(cfg *dsn.Config, c Cloud, o Options) (*token.Cache, error) {
	f := &fetcher{credential: o.Credential, scope: c.Scope, chained: len(cfg.Auth) > 1 || cfg.Auth[0] == dsn.Default}
	if f.credential == nil {
		var err error
		f.credential, err = newCredential(cfg, o.forCloud(c))
		if err != nil {
			return nil, err
		}
	}
	return token.NewCache(token.Config{Fetcher: f, Scope: c.Scope, MaxAge: cfg.TokenMaxAge, Timeout: cfg.TokenTimeout, Interactive: interactive(cfg, o)}), nil
}

// evict removes the entry of a collected cache, unless a new one has taken its place.
func evict(key cacheKey) {
	caches.Lock()
	defer caches.Unlock()
	if caches.m[key].Value() == nil {
		delete(caches.m, key)
	}
}

// keyOf digests the whole DSN less what does not belong to the identity (where to
// connect, how TLS is verified), with the scope and authority in force and the variables
// that azidentity reads by itself.
func keyOf(cfg *dsn.Config, cloud Cloud, o Options) cacheKey {
	c := cfg.Clone()
	c.Params = nil
	c.Cloud = "auto"
	c.ServerType = ""
	c.Insecure = ""
	c.Scope = cloud.Scope
	c.AuthorityHost = cloud.Authority
	c.DisableInstanceDiscovery = !cloud.InstanceDiscovery
	env := slices.DeleteFunc(os.Environ(), func(variable string) bool { return !decidesIdentity(variable) })
	slices.Sort(env)
	return cacheKey{
		sum:        sha256.Sum256([]byte(strings.Join(append(env, c.DSN()), "\x00"))),
		credential: o.Credential,
		transport:  o.Transport,
		prompt:     o.Prompt,
	}
}

// envPrefixes begin the variables that decide who azidentity signs in.
var envPrefixes = []string{"AZURE_", "IDENTITY_", "IMDS_", "MSI_", "DEFAULT_IDENTITY_", "SYSTEM_", "HOME=", "USERPROFILE=", "PATH="}

func decidesIdentity(variable string) bool {
	variable = strings.ToUpper(variable) // as Windows reads names
	return slices.ContainsFunc(envPrefixes, func(prefix string) bool { return strings.HasPrefix(variable, prefix) })
}
