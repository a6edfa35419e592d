package token

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Claims are what this module reads of a token, unverified: the server verifies. A
// token that is not a JWT has none.
type Claims struct {
	Audience          Audience `json:"aud"`
	IssuedAt          float64  `json:"iat"`
	Expires           float64  `json:"exp"`
	Issuer            string   `json:"iss"`
	IdentityProvider  string   `json:"idp"`
	ObjectID          string   `json:"oid"`
	Tenant            string   `json:"tid"`
	Type              string   `json:"idtyp"` // "app" or absent
	AppID             string   `json:"appid"` // in tokens of version 1
	AuthorizedParty   string   `json:"azp"`   // in tokens of version 2
	UPN               string   `json:"upn"`
	PreferredUsername string   `json:"preferred_username"`
	UniqueName        string   `json:"unique_name"`
	ManagedIdentity   string   `json:"xms_mirid"` // ARM resource ID
}

// ParseClaims reads the claims of a JWT. Of anything else it returns none.
func ParseClaims(jwt string) Claims {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return Claims{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}
	}
	var c Claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Claims{}
	}
	return c
}

// Audience is one name or several. Anything else is read as none, so that the other
// claims can still be read.
type Audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *Audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = Audience{one}
		return nil
	}
	if json.Unmarshal(b, (*[]string)(a)) != nil {
		*a = nil
	}
	return nil
}

// Guest reports whether the person's home is another tenant than the token's.
func (c Claims) Guest() bool {
	return c.IdentityProvider != "" && c.Issuer != "" && c.IdentityProvider != c.Issuer
}

// Application returns the client ID of the application that requested the token.
func (c Claims) Application() string { return cmp.Or(c.AppID, c.AuthorizedParty) }

// Person returns the name by which the token knows a person: the first of upn,
// preferred_username and unique_name.
func (c Claims) Person() string { return cmp.Or(c.UPN, c.PreferredUsername, c.UniqueName) }

// nested are the resource types, inside another resource, whose system-assigned identity is
// documented to be named by its path.
var nested = []string{"Microsoft.Web/sites/slots", "Microsoft.MachineLearningServices/workspaces/computes"}

// ManagedIdentityName returns the name of the managed identity that the token is of, as
// Entra shows it: the resource's own name, and for a resource inside another one the path
// after the provider's first type, as in "shop/slots/staging". It returns "" if the claim
// is not the ID of one resource, or if it is not known how Azure names identities of that
// type.
func (c Claims) ManagedIdentityName() string {
	parts := strings.Split(c.ManagedIdentity, "/")
	i := slices.IndexFunc(parts, func(part string) bool { return strings.EqualFold(part, "providers") })
	if i < 0 {
		return ""
	}
	parts = parts[i+1:] // namespace/type/name, and for a resource inside it /type/name
	if len(parts) < 3 || len(parts)%2 == 0 || slices.Contains(parts, "") {
		return ""
	}
	resourceType := parts[0]
	for i = 1; i < len(parts); i += 2 {
		resourceType += "/" + parts[i]
	}
	isType := func(t string) bool { return strings.EqualFold(t, resourceType) }
	if len(parts) > 3 && !slices.ContainsFunc(nested, isType) {
		return ""
	}
	return strings.Join(parts[2:], "/")
}

// Opaque reports whether nothing is known of the token's identity.
func (c Claims) Opaque() bool {
	return c.Type == "" && c.ObjectID == "" && c.Application() == "" && c.Person() == "" && c.ManagedIdentity == ""
}

// AppOnly reports whether the token is an application's own and not a person's: by the
// claim that says so, or because it names an application and no person.
func (c Claims) AppOnly() bool {
	if c.Type == "app" || c.ManagedIdentity != "" {
		return true
	}
	return c.Application() != "" && c.Person() == "" && !c.Guest()
}

// IssuedTime returns the claim iat, or zero.
func (c Claims) IssuedTime() time.Time { return unixTime(c.IssuedAt) }

// ExpiresTime returns the claim exp, or zero.
func (c Claims) ExpiresTime() time.Time { return unixTime(c.Expires) }

func unixTime(seconds float64) time.Time {
	if seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
