"""The live page: every thing with its last values, and a chart of one stream."""
