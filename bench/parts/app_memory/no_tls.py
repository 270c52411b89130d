"""In place of `ssl`, which WebAssembly has not. On boards its memory is that of a C library, beside the heap."""

PROTOCOL_TLS_CLIENT = CERT_REQUIRED = 0


class SSLContext:
    """Keeps nothing."""

    def __init__(self, protocol: int):
        self.verify_mode = protocol

    def load_cert_chain(self, certificate: bytes, key: bytes) -> None:
        """Nothing is kept."""

    def load_verify_locations(self, cadata: bytes) -> None:
        """Nothing is kept."""
