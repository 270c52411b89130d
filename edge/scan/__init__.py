"""`kerb edge scan`: what is on a site's buses, radios and ports, as blocks for the gateway's config."""
