package driver

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// claims are what this package reads of a token, unverified: the server
// verifies. A token that is no JWT has none.
type claims struct {
	Audience          audience `json:"aud"`
	IssuedAt          float64  `json:"iat"`
	Expires           float64  `json:"exp"`
	Issuer            string   `json:"iss"`
	IdentityProvider  string   `json:"idp"`
	ObjectID          string   `json:"oid"`
	Tenant            string   `json:"tid"`
	Type              string   `json:"idtyp"` // optional: app
	AppID             string   `json:"appid"` // v1
	AuthorizedParty   string   `json:"azp"`   // v2
	UPN               string   `json:"upn"`
	PreferredUsername string   `json:"preferred_username"`
	UniqueName        string   `json:"unique_name"`
	ManagedIdentity   string   `json:"xms_mirid"` // ARM resource id
}

func decode(jwt string) claims {
	var c claims
	if parts := strings.Split(jwt, "."); len(parts) == 3 {
		if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(b, &c) != nil {
			return claims{}
		}
	}
	return c
}

// An audience is one name or several. Of anything else nothing is read, so that
// the other claims still are.
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
	} else if json.Unmarshal(b, (*[]string)(a)) != nil {
		*a = nil
	}
	return nil
}

// guest tells that the person's home is another tenant than the token's.
func (c claims) guest() bool {
	return c.IdentityProvider != "" && c.Issuer != "" && c.IdentityProvider != c.Issuer
}

func (c claims) application() string { return cmp.Or(c.AppID, c.AuthorizedParty) }

// ofApplication tells that no person signs in: by the claim that says so, or for
// lack of a person's name.
func (c claims) ofApplication() bool {
	return c.Type == "app" || c.ManagedIdentity != "" || c.application() != "" && cmp.Or(c.UPN, c.PreferredUsername, c.UniqueName) == "" && !c.guest()
}

func (c claims) issued() time.Time  { return seconds(c.IssuedAt) }
func (c claims) expires() time.Time { return seconds(c.Expires) }

func seconds(s float64) time.Time {
	if s <= 0 || s > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0)
}
