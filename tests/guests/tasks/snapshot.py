"""What must be imported before anything else while the component is built.

componentize-py runs the imports at build time and keeps a snapshot; only what was imported then exists at
run time. `socketserver` imports traceback only when a handler has raised, and `socket.getaddrinfo` looks the idna
codec up lazily, by name; both would fail.
"""

import encodings.idna
import encodings.latin_1
import stringprep
import traceback
import unicodedata

__all__ = ["encodings", "stringprep", "traceback", "unicodedata"]
