"""Payloads under a key of the user's own."""

from __future__ import annotations

import base64

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from sky_orchestrate.errors import SettingsError
from temporal.encryption import encrypting

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(32)).decode()


async def test_a_payload_comes_back_under_the_same_key_and_shows_nothing() -> None:
    converter = encrypting(KEY)
    (payload,) = await converter.encode(["the task"])
    assert payload.metadata == {"encoding": b"binary/encrypted"}
    assert b"task" not in payload.SerializeToString()
    assert await converter.decode([payload]) == ["the task"]


async def test_the_same_payload_never_looks_the_same() -> None:
    converter = encrypting(KEY)
    first, second = await converter.encode(["same", "same"])
    assert first.data != second.data


async def test_a_payload_from_before_the_key_is_still_read() -> None:
    plain = await DataConverter.default.encode(["plain"])
    assert await encrypting(KEY).decode(plain) == ["plain"]


async def test_another_key_is_one_clear_line() -> None:
    payloads = await encrypting(KEY).encode(["the task"])
    with pytest.raises(SettingsError, match="TEMPORAL_ENCRYPTION_KEY is not the one"):
        await encrypting(OTHER).decode(payloads)


@pytest.mark.parametrize("data", [b"", b"short", bytes(40)], ids=["empty", "short", "zeros"])
async def test_a_damaged_payload_is_one_clear_line(data: bytes) -> None:
    with pytest.raises(SettingsError, match="cannot be decrypted"):
        await encrypting(KEY).decode([Payload(metadata={"encoding": b"binary/encrypted"}, data=data)])


async def test_an_errors_text_is_encrypted_too() -> None:
    failure = Failure()
    converter = encrypting(KEY)
    await converter.encode_failure(ApplicationError("the disk is full", {"log_tail": ["line"]}, type="SkyJobFailed"), failure)
    assert b"disk" not in failure.SerializeToString()
    assert b"line" not in failure.SerializeToString()
    back = await converter.decode_failure(failure)
    assert isinstance(back, ApplicationError)
    assert (back.message, back.type) == ("the disk is full", "SkyJobFailed")


@pytest.mark.parametrize("length", [16, 24, 32])
def test_keys_of_each_length_of_aes_are_taken(length: int) -> None:
    assert encrypting(base64.b64encode(bytes(length)).decode()).payload_codec


@pytest.mark.parametrize("key", ["", "secret", base64.b64encode(bytes(31)).decode(), "ä" * 32, KEY[:-1]])
def test_a_wrong_key_is_one_line_that_does_not_show_it(key: str) -> None:
    with pytest.raises(SettingsError) as told:
        encrypting(key)
    assert "TEMPORAL_ENCRYPTION_KEY" in str(told.value)
    assert "\n" not in str(told.value)
    assert not key or key not in str(told.value)
