"""Text from a stream of bytes whose pieces may end in the middle of a character.

A token of a byte-level vocabulary can be a part of a character: an emoji is often three tokens.
Not for: tokens themselves.
"""

import codecs


class Assembler:
    """Gives out whole characters only; bytes that can never be UTF-8 become U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> str:
        """The characters that are complete after these bytes.

        What is left over when the stream ends is half a character, which no one should see.
        """
        return self._decoder.decode(data)
