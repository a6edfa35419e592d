#!/usr/bin/env bash
# Logs in with a real azd, signs in with the token that it prints as psql's password, and
# prints the role. REAL_AZD is the command that runs azd.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export AZD_CONFIG_DIR=$dir AZURE_DEV_COLLECT_TELEMETRY=no
"$REAL_AZD" auth login --client-id "$AZURE_CLIENT_ID" --client-secret "$AZURE_CLIENT_SECRET" --tenant-id "$AZURE_TENANT_ID" >&2
PGPASSWORD=$("$REAL_AZD" auth token --scope https://ossrdbms-aad.database.windows.net/.default --output json | sed 's/.*"token": *"\([^"]*\)".*/\1/')
export PGPASSWORD
psql -AtXc "select session_user"
