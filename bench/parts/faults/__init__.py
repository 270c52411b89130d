"""The kinds of fault that `kerb bench faults` knows, a module each.

`run(count, seed)` says what became of all readings: at least the fields of bench.parts.ledger.Account.
"""
