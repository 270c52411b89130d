"""Uplinks: one module a kind. Each takes packs from the outbox and says when the far side has them."""
