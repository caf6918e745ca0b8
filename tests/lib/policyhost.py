# SPDX-License-Identifier: Apache-2.0
"""The web server of MTA-STS policies (RFC 8461): one text per host name, over HTTPS."""
import http.server
import ssl
import threading


class PolicyHost:
    """texts: {"mta-sts.example.org": "version: STSv1..."}; a value may also be
    (status, headers, bytes). The certificates of all names are chosen by SNI."""

    def __init__(self, authority, texts, certs=None):
        host = self
        self.texts, self.asked = dict(texts), []
        self.contexts = {}
        for name in self.texts:
            self.contexts[name] = self._context((certs or {}).get(name) or authority.issue(name))

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                name = self.headers.get("Host", "").split(":")[0]
                host.asked.append((name, self.path))
                reply = host.texts.get(name)
                if isinstance(reply, str):
                    reply = (200, {"Content-Type": "text/plain"}, reply.encode())
                if reply is None or self.path != "/.well-known/mta-sts.txt":
                    reply = (404, {}, b"")
                self.send_response(reply[0])
                for k, v in reply[1].items():
                    self.send_header(k, v)
                self.send_header("Content-Length", str(len(reply[2])))
                self.end_headers()
                self.wfile.write(reply[2])

            def log_message(self, *args):
                pass

        first = next(iter(self.contexts.values()))
        first.sni_callback = self._choose
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = first.wrap_socket(self.server.socket, server_side=True,
                                               do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.server.handle_error = lambda *a: None
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    @staticmethod
    def _context(files):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(*files)
        return c

    def _choose(self, sock, name, context):
        if name in self.contexts:
            sock.context = self.contexts[name]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
