"""As a program: a store that speaks of one object, ``gs://b/k.mp4``, as Google's does; prints its port.

A process of its own, since pyarrow's client holds the interpreter while it waits.
"""

import http.server
import json
import re
import sys
from pathlib import Path


def main():
    data = Path(sys.argv[1]).read_bytes()
    object_ = {
        "kind": "storage#object",
        "id": "b/k.mp4/1",
        "name": "k.mp4",
        "bucket": "b",
        "size": str(len(data)),
        "generation": "1",
        "updated": "2026-11-28T10:00:00.123Z",
        "timeCreated": "2026-11-28T10:00:00.123Z",
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            code, headers = 200, {}
            if "alt=media" in self.path:
                body = data
                if asked:
                    start, end = int(asked[1]), min(int(asked[2]), len(data) - 1)
                    code, body = 206, data[start : end + 1]
                    headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            elif "/o/k.mp4" in self.path:
                body = json.dumps(object_).encode()
            elif re.search(r"/b/b/o($|\?)", self.path):
                body = json.dumps({"kind": "storage#objects", "items": [object_]}).encode()
            else:
                code, body = 404, b'{"error": {"code": 404, "message": "no"}}'
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:  # it has seen enough
                self.close_connection = True

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
