"""Stands for Azure Resource Manager: it has the cloud's endpoints, and the one subscription
that az login asks for. It prints its port, and serves until it is ended. Arguments:
certificate, key, authority, tenant."""
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

certificate, key, authority, tenant = sys.argv[1:]
subscription = "44444444-0000-0000-0000-000000000000"
pages = {
    "/metadata/endpoints": {
        "galleryEndpoint": "https://gallery.invalid/",
        "graphEndpoint": "https://graph.invalid/",
        "portalEndpoint": "https://portal.invalid/",
        "authentication": {"loginEndpoint": authority, "audiences": ["https://management.core.windows.net/"]},
    },
    "/tenants": {"value": [{"id": "/tenants/" + tenant, "tenantId": tenant}]},
    "/subscriptions": {"value": [{
        "id": "/subscriptions/" + subscription,
        "subscriptionId": subscription,
        "tenantId": tenant,
        "displayName": "emulated",
        "state": "Enabled",
    }]},
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        page = pages.get(self.path.partition("?")[0])
        body = json.dumps(page).encode()
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
