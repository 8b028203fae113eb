"""Workloads to try, and the Python code that they name."""
