"""A day without a line: a gateway that writes it at full speed, and what it takes to hand it over."""
