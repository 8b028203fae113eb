"""What must be imported before anything else while the component is built.

componentize-py runs the imports at build time and keeps a snapshot; only what was imported then exists at
run time. `socket.getaddrinfo` (and so asyncio) looks the idna codec up lazily, by name, which would fail.
"""

import encodings.idna
import encodings.latin_1
import stringprep
import unicodedata

__all__ = ["encodings", "stringprep", "unicodedata"]
