"""The sub-commands of the CPython guest, one file per subject."""
