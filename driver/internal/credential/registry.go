package credential

import (
	"crypto/sha256"
	"hash/maphash"
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
	owner      any // in the place of a credential or transport that cannot be compared; else nil
}

// comparable reports whether the key can be compared: a program's credential and
// transport may be of any type.
func (k cacheKey) comparable() bool {
	return reflect.ValueOf(&k.credential).Elem().Comparable() && reflect.ValueOf(&k.transport).Elem().Comparable()
}

// ownedBy returns a key that can be compared, for connectors of one owner.
func (k cacheKey) ownedBy(owner any) cacheKey {
	k.credential = nil
	k.transport = nil
	k.owner = owner
	return k
}

var hashSeed = maphash.MakeSeed()

func (k cacheKey) hash() uint64 { return maphash.Comparable(hashSeed, k) }

// caches holds the caches in use by a hash of their keys. It holds them weakly, and no key: a
// program's credential may reach the pool that uses it, and must not be kept after it. The
// key is in the fetcher, which the cache holds. A cache that no connector holds is collected,
// and its entry is removed.
var caches struct {
	sync.Mutex
	m map[uint64][]cacheRef
}

type cacheRef struct {
	cache   weak.Pointer[token.Cache]
	fetcher weak.Pointer[fetcher]
}

// CacheFor returns the token cache of the identity that cfg and o name, with one more
// user. The caller must call Release once. It is safe for concurrent use.
func CacheFor(cfg *dsn.Config, c Cloud, o Options) (*token.Cache, error) {
	key := keyOf(cfg, c, o)
	if !key.comparable() {
		cache, _, err := newCache(cfg, c, o)
		return cache, err
	}
	caches.Lock()
	defer caches.Unlock()
	if cache := sharedCache(key); cache != nil {
		cache.Retain()
		return cache, nil
	}
	before := statFiles(cfg)
	key = keyOf(cfg, c, o)
	cache, f, err := newCache(cfg, c, o)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(before, statFiles(cfg), sameFile) {
		return cache, nil // a file was replaced: one of key and cache may have its old contents
	}
	share(cache, f, key)
	return cache, nil
}

// sharedCache returns the cache of key, or nil if there is none. caches is locked.
func sharedCache(key cacheKey) *token.Cache {
	for _, ref := range caches.m[key.hash()] {
		cache := ref.cache.Value()
		if cache != nil && ref.fetcher.Value().key == key {
			return cache
		}
	}
	return nil
}

// share makes cache that of key. caches is locked.
func share(cache *token.Cache, f *fetcher, key cacheKey) {
	f.key = key
	hash := key.hash()
	if caches.m == nil {
		caches.m = map[uint64][]cacheRef{}
	}
	caches.m[hash] = append(caches.m[hash], cacheRef{weak.Make(cache), weak.Make(f)})
	runtime.AddCleanup(cache, evict, hash)
}

func newCache(cfg *dsn.Config, c Cloud, o Options) (*token.Cache, *fetcher, error) {
	f := &fetcher{credential: o.Credential, scope: c.Scope, chained: len(cfg.Auth) > 1 || cfg.Auth[0] == dsn.Default}
	if f.credential == nil {
		var err error
		f.credential, err = newCredential(cfg, o.forCloud(c))
		if err != nil {
			return nil, nil, err
		}
		if o.Transport == nil {
			f.closeIdle = closeIdleConnections
		}
	}
	return token.NewCache(token.Config{
		Fetcher:     f,
		Scope:       c.Scope,
		MaxAge:      cfg.TokenMaxAge,
		Timeout:     cfg.TokenTimeout,
		PastCache:   mayAskPastCache(cfg, o.Credential),
		Interactive: interactive(cfg, o),
	}), f, nil
}

// evict removes what is left of collected caches whose keys have that hash.
func evict(hash uint64) {
	caches.Lock()
	defer caches.Unlock()
	left := slices.DeleteFunc(caches.m[hash], func(ref cacheRef) bool { return ref.cache.Value() == nil })
	if len(left) == 0 {
		delete(caches.m, hash)
		return
	}
	caches.m[hash] = left
}

// keyOf digests the whole DSN less what does not belong to the identity (where to
// connect, how TLS is verified), with the scope and authority in force, and the variables
// and files that azidentity reads by itself.
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
	files := ""
	if o.Credential == nil {
		files = digestFiles(cfg)
	}
	key := cacheKey{
		sum:        sha256.Sum256([]byte(strings.Join(append(env, c.DSN(), files), "\x00"))),
		credential: o.Credential,
		transport:  o.Transport,
		prompt:     o.Prompt,
	}
	if o.Owner != nil && !key.comparable() {
		return key.ownedBy(o.Owner)
	}
	return key
}

// envPrefixes begin the variables that decide who azidentity, MSAL and the developer tools
// sign in.
var envPrefixes = []string{
	"AZURE_", "IDENTITY_", "IMDS_", "MSI_", "DEFAULT_IDENTITY_", "SYSTEM_", "MSAL_", "REGION_NAME=", "PROGRAMDATA=",
	"AZD_", "HOME=", "USERPROFILE=", "PATH=", "PSMODULEPATH=", "XDG_",
}

func decidesIdentity(variable string) bool {
	variable = strings.ToUpper(variable) // as Windows reads names
	return slices.ContainsFunc(envPrefixes, func(prefix string) bool { return strings.HasPrefix(variable, prefix) })
}
