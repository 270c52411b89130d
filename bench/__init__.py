"""Benchmarks: one file each, each prints one JSON line. Run by `./kerb bench NAME`."""
