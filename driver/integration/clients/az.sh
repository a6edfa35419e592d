#!/usr/bin/env bash
# Logs in with a real az, signs in with the token that it prints as psql's password, and
# prints the role. REAL_AZ is the command that runs az: a workstation of the emulator has
# another one in PATH.
set -euo pipefail
cd "$(dirname "$0")"
dir=$(mktemp -d)
trap 'kill "$arm" 2>/dev/null; rm -rf "$dir"' EXIT
export AZURE_CONFIG_DIR=$dir/config AZURE_CORE_COLLECT_TELEMETRY=0
az() { $REAL_AZ "$@" 2>>"$dir/az.log" || { tail -5 "$dir/az.log" >&2; return 1; }; }

# az login asks Azure Resource Manager for subscriptions.
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
	-keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
cat "$REQUESTS_CA_BUNDLE" "$dir/cert.pem" >"$dir/roots.pem"
export REQUESTS_CA_BUNDLE=$dir/roots.pem
mkfifo "$dir/port"
python3 arm.py "$dir/cert.pem" "$dir/key.pem" "$AZURE_AUTHORITY_HOST" "$AZURE_TENANT_ID" >"$dir/port" &
arm=$!
read -r port <"$dir/port"
az cloud register --name emulated --endpoint-resource-manager "https://localhost:$port" >/dev/null
az cloud set --name emulated >/dev/null

if [ -n "${AZURE_FEDERATED_TOKEN_FILE:-}" ]; then
	az login --service-principal -u "$AZURE_CLIENT_ID" --federated-token "$(<"$AZURE_FEDERATED_TOKEN_FILE")" --tenant "$AZURE_TENANT_ID" >/dev/null
elif [ -n "${AZURE_CLIENT_SECRET:-}" ]; then
	az login --service-principal -u "$AZURE_CLIENT_ID" -p "$AZURE_CLIENT_SECRET" --tenant "$AZURE_TENANT_ID" >/dev/null
else
	az login >/dev/null # in the browser
fi
PGPASSWORD=$(az account get-access-token --resource https://ossrdbms-aad.database.windows.net --query accessToken -o tsv)
export PGPASSWORD
psql -AtXc "select session_user"
