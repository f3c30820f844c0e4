"""What is typed: the guest's, or ours. The whole terminal is tested in tests/native/test_vm_qemu.py."""

import pytest

from builder.terminal import Keys


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ([b"hello\r"], [b"hello\r"]),
        ([b"\x03\x04\x1b[A"], [b"\x03\x04\x1b[A"]),  # Ctrl-C, Ctrl-D and arrows are the guest's
        ([b"ab\x01xcd"], [b"ab", "x", b"cd"]),
        ([b"\x01X"], ["x"]),
        ([b"\x01", b"x"], ["x"]),  # the two keys may come in two reads
        ([b"a\x01\x01b"], [b"a\x01b"]),
        ([b"\x01h\x01h"], ["h", "h"]),
        ([b"\x01"], []),
    ],
)
def test_only_ctrl_a_is_ours(typed: list[bytes], parts: list[bytes | str]) -> None:
    keys = Keys()
    assert [part for chunk in typed for part in keys.take(chunk)] == parts
