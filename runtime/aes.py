"""AES by blocks, as the protocols want it from outside."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def encrypt_blocks(key: bytes, blocks: bytes) -> bytes:
    """Each block of 16 bytes by itself (ECB): what modes of operation are made of, and never to be used alone."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(blocks) + encryptor.finalize()
