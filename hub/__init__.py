"""The hub: things, streams and the pages that show them."""
