"""Benchmarks: the virtual network against stock wasmtime over the kernel's loopback. See README.md."""
