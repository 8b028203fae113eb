"""Long-lived services beside guests, and the command line `wasi-sockets`.

For use from Python there is `wasi_sockets.asgi.serve_asgi`. Everything here stands on
`wasi_sockets`, which never imports it.
"""
