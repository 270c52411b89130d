"""What the benchmarks are made of: processes around what is measured."""
