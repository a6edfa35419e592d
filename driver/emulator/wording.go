package emulator

import (
	"cmp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// A wording is the text of one of the server's refusals, as Azure worded it until about
// 2025 (old) and has worded it since (current). Servers of both versions are in use. Names
// in braces are replaced by values.
type wording struct{ old, current, code, hint string }

var (
	invalidFormat = wording{
		old:     "The access token has invalid format. Please ensure the token is passed exactly as returned by the authentication endpoint and retry.",
		current: "The access token has invalid format. Ensure the token is passed exactly as returned by the authentication endpoint and try again."}
	invalidToken = wording{
		old:     "An error occurred while validating the access token. Please acquire a new token and retry.",
		current: "An error occurred while validating the access token. Acquire a new token and try again."}
	expiredToken = wording{
		old:     "The access token has expired. Please acquire a new token and retry.",
		current: "The access token has expired. Acquire a new token and try again."}
	notYetValidToken = wording{ // an assumption in the style of the others: no user has reported one
		old:     "The access token is not yet valid. Please acquire a new token and retry.",
		current: "The access token isn't yet valid. Acquire a new token and try again."}
	wrongAudience = wording{
		old:     `The access token does not have a valid audience claim. Please acquire a new token for the resource "{resource}".`,
		current: `The access token doesn't have a valid audience claim. Acquire a new token for resource "{resource}".`}
	missingObjectID = wording{
		old:     "The access token does not have a valid oid claim. Please acquire a new token and retry.",
		current: "The access token doesn't have a valid oid claim. Acquire a new token and try again."}
	notMember = wording{
		old:     "Azure AD access token not valid for role {role} (does not contain group ID {oid})",
		current: "Microsoft Entra access token not valid for role {role} (does not contain group ID {oid})",
		hint:    "Did you specify the correct user name and access token?"}
	notUserToken = wording{
		old:     "Azure AD user token for role[{role}] is neither an AAD_AUTH_TOKENTYPE_APP_USER or an AAD_AUTH_TOKENTYPE_APP_OBO token.",
		current: `Microsoft Entra user token for role "{role}" is neither an AAD_AUTH_TOKENTYPE_APP_USER or an AAD_AUTH_TOKENTYPE_APP_OBO token.`}
	notAppToken = wording{
		old:     "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[{role}]",
		current: `Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role "{role}"`,
		code:    "28000"}
	wrongObjectID = wording{ // the current one does not name the role, as reported
		old:     "Service Principal oid mismatch for role[{role}]",
		current: `Service principal oid mismatch for role "The oid in the security label [{label}] does not match the appid [{appid}] or oid [{oid}] in the token."`}
	unknownUser = wording{
		old:     "Could not validate AAD user {role} because its name is not found in the tenant.",
		current: "Could not validate AAD user {role} because its name is not found in the tenant."}
)

// refusal returns the error of a wording in the version that the faults select. pairs are
// names in braces, each followed by its value.
func (a *Azure) refusal(w wording, pairs ...string) *pgconn.PgError {
	text := w.old
	if a.Faults.current().newWording {
		text = w.current
	}
	return &pgconn.PgError{
		Code:    cmp.Or(w.code, "28P01"),
		Message: strings.NewReplacer(pairs...).Replace(text),
		Hint:    w.hint,
	}
}
