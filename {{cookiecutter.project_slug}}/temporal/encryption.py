"""Payloads that only workers and callers can read: with TEMPORAL_ENCRYPTION_KEY set, the server stores ciphertext.

Errors' texts are encrypted with them. The Web UI then shows ciphertext, unless a codec server decrypts it for its users.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from sky_orchestrate.errors import SettingsError

_ENCODING = b"binary/encrypted"
_NONCE = 12


class EncryptionCodec(PayloadCodec):
    """AES-GCM, with a nonce of its own for each payload."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    async def encode(self, payloads: Iterable[Payload]) -> list[Payload]:
        return [Payload(metadata={"encoding": _ENCODING}, data=self._encrypt(payload.SerializeToString())) for payload in payloads]

    async def decode(self, payloads: Iterable[Payload]) -> list[Payload]:
        return [self._decoded(payload) for payload in payloads]

    def _encrypt(self, data: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, data, None)

    def _decoded(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != _ENCODING:
            return payload
        try:
            plain = self._cipher.decrypt(payload.data[:_NONCE], payload.data[_NONCE:], None)
        except (InvalidTag, ValueError) as error:
            raise SettingsError("a payload cannot be decrypted: TEMPORAL_ENCRYPTION_KEY is not the one it was encrypted with") from error
        return Payload.FromString(plain)


def encrypting(key: str) -> DataConverter:
    """A converter with that key: 16, 24 or 32 bytes in base64. Raises SettingsError for another."""
    try:
        plain = base64.b64decode(key, validate=True)
    except (ValueError, binascii.Error):
        plain = b""
    if len(plain) not in (16, 24, 32):
        raise SettingsError("TEMPORAL_ENCRYPTION_KEY would be right as 32 bytes in base64, such as `openssl rand -base64 32` prints")
    return dataclasses.replace(
        DataConverter.default, payload_codec=EncryptionCodec(plain), failure_converter_class=DefaultFailureConverterWithEncodedAttributes
    )
