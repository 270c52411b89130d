"""The pages: every thing with its last values and a chart (live), and where every reading is (custody)."""
