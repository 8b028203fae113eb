"""What must be imported before anything else while the component is built: see ../python/snapshot.py."""

import encodings.idna
import encodings.latin_1
import stringprep
import unicodedata

__all__ = ["encodings", "stringprep", "unicodedata"]
