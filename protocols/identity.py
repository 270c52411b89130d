"""What a device and its gateway agree on about who they are: the key's form, and the name that the gateway goes by.

A device trusts its own gateway's CA alone, and that issues one certificate to a server. So the server's name tells no
gateways apart; it says "not one of the devices", wherever the gateway's address may have moved to.
"""

SERVER_NAME = "gateway.kerb"
POINT_BYTES = 65  # a public key of EC P-256: 04, x, y (SEC 1, 2.3.3: uncompressed)
