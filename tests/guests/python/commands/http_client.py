"""HTTP with the standard library: `http.client` over one kept-alive connection, then `urllib`."""

import http.client
import urllib.error
import urllib.request


def requests(host: str = "127.0.0.1", port: str = "8080") -> None:
    """Two GETs and a POST on one connection, then one GET and one error with `urllib.request`."""
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    local_ports = set()
    for method, path, body in (("GET", "/a", None), ("GET", "/b?x=1", None), ("POST", "/c", b"some data")):
        connection.request(method, path, body=body)
        local_ports.add(connection.sock.getsockname()[1])
        response = connection.getresponse()
        print("http.client", method, path, response.status, response.read().decode())
    print("connections used:", len(local_ports))
    connection.close()
    # An opener without proxies: environment variables of the host's user must not redirect a test.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{host}:{port}/urllib", timeout=5) as response:
        print("urllib GET /urllib", response.status, response.read().decode())
    try:
        with opener.open(f"http://{host}:{port}/missing", timeout=5) as response:
            print("urllib GET /missing", response.status)
    except urllib.error.HTTPError as error:
        with error:
            print("urllib GET /missing", error.code)
