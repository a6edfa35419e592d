package emulator

import (
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// A wording is one of the server's refusals, as it was until about 2025 and as it
// has been since. Servers of both kinds are met. What is in braces is filled in.
type wording struct{ old, now, code, hint string }

var (
	invalidFormat = wording{
		old: "The access token has invalid format. Please ensure the token is passed exactly as returned by the authentication endpoint and retry.",
		now: "The access token has invalid format. Ensure the token is passed exactly as returned by the authentication endpoint and try again."}
	invalidToken = wording{
		old: "An error occurred while validating the access token. Please acquire a new token and retry.",
		now: "An error occurred while validating the access token. Acquire a new token and try again."}
	expiredToken = wording{
		old: "The access token has expired. Please acquire a new token and retry.",
		now: "The access token has expired. Acquire a new token and try again."}
	earlyToken = wording{ // a guess, after the others: nobody has reported one
		old: "The access token is not yet valid. Please acquire a new token and retry.",
		now: "The access token isn't yet valid. Acquire a new token and try again."}
	otherAudience = wording{
		old: `The access token does not have a valid audience claim. Please acquire a new token for the resource "{resource}".`,
		now: `The access token doesn't have a valid audience claim. Acquire a new token for resource "{resource}".`}
	noObjectID = wording{
		old: "The access token does not have a valid oid claim. Please acquire a new token and retry.",
		now: "The access token doesn't have a valid oid claim. Acquire a new token and try again."}
	noMember = wording{
		old:  "Azure AD access token not valid for role {role} (does not contain group ID {oid})",
		now:  "Microsoft Entra access token not valid for role {role} (does not contain group ID {oid})",
		hint: "Did you specify the correct user name and access token?"}
	noPerson = wording{
		old: "Azure AD user token for role[{role}] is neither an AAD_AUTH_TOKENTYPE_APP_USER or an AAD_AUTH_TOKENTYPE_APP_OBO token.",
		now: `Microsoft Entra user token for role "{role}" is neither an AAD_AUTH_TOKENTYPE_APP_USER or an AAD_AUTH_TOKENTYPE_APP_OBO token.`}
	noApplication = wording{
		old:  "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[{role}]",
		now:  `Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role "{role}"`,
		code: "28000"}
	otherObjectID = wording{ // the newer one has no role between its quotes
		old: "Service Principal oid mismatch for role[{role}]",
		now: `Service principal oid mismatch for role "The oid in the security label [{label}] does not match the appid [{appid}] or oid [{oid}] in the token."`}
	unknownName = wording{
		old: "Could not validate AAD user {role} because its name is not found in the tenant.",
		now: "Could not validate AAD user {role} because its name is not found in the tenant."}
)

// deny words a refusal, with pairs of what is in braces and its value.
func (a *Azure) deny(w wording, pairs ...string) *pgconn.PgError {
	text := w.old
	a.Faults.set(func() {
		if a.Faults.newWording {
			text = w.now
		}
	})
	code := w.code
	if code == "" {
		code = "28P01"
	}
	return &pgconn.PgError{Code: code, Message: strings.NewReplacer(pairs...).Replace(text), Hint: w.hint}
}
