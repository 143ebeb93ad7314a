"""WebSocket without I/O: tables of bytes, and that nothing depends on how bytes arrive."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demijohn.message import BadResponse, Origin, ProtocolError, RequestHead
from demijohn.server.websocket import Closed, Deflate, WebSocket, accept_lines, read_handshake, unmasked

KEY = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
VERSION = (b"sec-websocket-version", b"13")
MASK = b"\x37\xfa\x21\x3d"
PLAIN = Deflate(True, True, 15, 15, b"")
LIMIT_BYTES = 1 << 20


def handshake_head(*fields: tuple[bytes, bytes], method: str = "GET") -> RequestHead:
    return RequestHead(method, b"/", (1, 1), list(fields), Origin())


def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A frame as a client sends it."""
    length = len(payload)
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if length < 126:
        head = bytes((first, 0x80 * masked | length))
    elif length < 1 << 16:
        head = bytes((first, 0x80 * masked | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 * masked | 127)) + length.to_bytes(8, "big")
    return head + (MASK + unmasked(payload, MASK) if masked else payload)


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def received(data: bytes, deflate: Deflate | None = None) -> tuple[list[Any], bytes]:
    """What comes of bytes: events, and what is sent for them."""
    socket = WebSocket(LIMIT_BYTES, deflate)
    answer = socket.receive_data(data)
    return list(socket.events), answer


def test_any_number_of_empty_frames_takes_no_memory() -> None:
    for opcode in (1, 2):
        socket = WebSocket(LIMIT_BYTES)
        socket.receive_data(frame(opcode, b"a", fin=False))
        empty = frame(0, b"", fin=False) * 1000
        tracemalloc.start()
        for _ in range(200):
            socket.receive_data(empty)
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert grown < 50_000
        socket.receive_data(frame(0, b"b"))
        assert list(socket.events) == [["ab", b"ab"][opcode - 1]]


# -- the handshake --------------------------------------------------------------------------------


def test_the_handshake_of_the_rfc_is_accepted_as_the_rfc_has_it() -> None:
    handshake = read_handshake(handshake_head(KEY, VERSION, (b"sec-websocket-protocol", b"chat, superchat")))
    assert handshake.subprotocols == ["chat", "superchat"]
    assert accept_lines(handshake, "chat", []) == [
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        b"Sec-WebSocket-Protocol: chat",
    ]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (handshake_head(KEY, VERSION, method="POST"), 400),
        (handshake_head(KEY), 426),
        (handshake_head(KEY, (b"sec-websocket-version", b"8")), 426),
        (handshake_head(VERSION), 400),
        (handshake_head(KEY, KEY, VERSION), 400),
        (handshake_head((b"sec-websocket-key", b"c2hvcnQ="), VERSION), 400),
        (handshake_head((b"sec-websocket-key", b"no base 64 at all!"), VERSION), 400),
        (handshake_head(KEY, VERSION, (b"sec-websocket-protocol", b'a "b"')), 400),
    ],
)
def test_a_handshake_that_breaks_the_rules_is_refused(head: RequestHead, status: int) -> None:
    with pytest.raises(ProtocolError) as refusal:
        read_handshake(head)
    assert refusal.value.status == status


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (b"permessage-deflate", b"permessage-deflate; server_max_window_bits=12"),
        (
            b"permessage-deflate; client_max_window_bits",
            b"permessage-deflate; server_max_window_bits=12",
        ),
        (
            b'permessage-deflate; client_max_window_bits="10"; server_max_window_bits=9; server_no_context_takeover',
            b"permessage-deflate; server_max_window_bits=9; server_no_context_takeover; client_max_window_bits=10",
        ),
        (b"x-unknown, permessage-deflate", b"permessage-deflate; server_max_window_bits=12"),
        (
            b"permessage-deflate; server_max_window_bits=8, permessage-deflate; client_no_context_takeover",
            b"permessage-deflate; server_max_window_bits=12; client_no_context_takeover",
        ),
        (b"permessage-deflate; unknown", None),
        (b"permessage-deflate; server_max_window_bits", None),
        (b"permessage-deflate; client_max_window_bits=16", None),
        (b"permessage-deflate; server_no_context_takeover=1", None),
        (b"permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        (b"permessage-bzip2", None),
    ],
)
def test_compression_is_agreed_on_as_offered(offer: bytes, answer: bytes | None) -> None:
    head = handshake_head(KEY, VERSION, (b"sec-websocket-extensions", offer))
    agreed = read_handshake(head).deflate
    assert (agreed and agreed.answer) == answer
    assert read_handshake(head, deflate=False).deflate is None


def test_an_answer_to_a_handshake_says_nothing_that_was_not_offered_and_nothing_twice() -> None:
    handshake = read_handshake(handshake_head(KEY, VERSION))
    with pytest.raises(BadResponse, match="'chat' was not offered by the client, which offers none"):
        accept_lines(handshake, "chat", [])
    with pytest.raises(BadResponse, match="Sec-WebSocket-Protocol is the server's"):
        accept_lines(handshake, None, [b"Sec-WebSocket-Protocol"])


# -- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "events", "answer"),
    [
        (frame(1, b"Hello"), ["Hello"], b""),
        (frame(2, b"\0\xff"), [b"\0\xff"], b""),
        (frame(1, b""), [""], b""),
        (frame(2, b"x" * 126), [b"x" * 126], b""),
        (frame(2, b"x" * 70000), [b"x" * 70000], b""),
        (frame(1, b"Hel", fin=False) + frame(0, b"lo"), ["Hello"], b""),
        (frame(1, b"\xe2\x82", fin=False) + frame(0, b"", fin=False) + frame(0, b"\xac"), ["€"], b""),
        (frame(1, b"Hel", fin=False) + frame(9, b"?") + frame(0, b"lo"), ["Hello"], b"\x8a\x01?"),
        (frame(9, b""), [], b"\x8a\x00"),
        (frame(10, b"not asked for"), [], b""),
        (frame(8, b""), [Closed(1005)], b"\x88\x00"),
        (frame(8, b"\x03\xe8bye"), [Closed(1000, "bye")], b"\x88\x02\x03\xe8"),
        (frame(8, b"\x0b\xb8"), [Closed(3000)], b"\x88\x02\x0b\xb8"),
        (frame(8, b"\x03\xe8") + frame(1, b"late"), [Closed(1000)], b"\x88\x02\x03\xe8"),
    ],
)
def test_frames_become_messages(data: bytes, events: list[Any], answer: bytes) -> None:
    assert received(data) == (events, answer)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(1, b"Hello", masked=False), 1002),
        (frame(1, b"Hello", rsv=4), 1002),
        (frame(1, b"Hello", rsv=2), 1002),
        (frame(3, b""), 1002),
        (frame(11, b""), 1002),
        (frame(0, b"nothing to continue"), 1002),
        (frame(1, b"a", fin=False) + frame(1, b"b"), 1002),
        (frame(9, b"x" * 126), 1002),
        (frame(9, b"", fin=False), 1002),
        (b"\x82\xfe\x00\x7d" + MASK, 1002),
        (b"\x82\xff" + (65535).to_bytes(8, "big") + MASK, 1002),
        (b"\x82\xff\xff" + bytes(7) + MASK, 1002),
        (frame(8, b"\x03"), 1002),
        (frame(8, b"\x03\xec"), 1002),
        (frame(8, b"\x03\xed"), 1002),
        (frame(8, b"\x03\xee"), 1002),
        (frame(8, b"\x03\xf7"), 1002),
        (frame(8, b"\x07\xd0"), 1002),
        (frame(8, b"\x03\xe8\xff"), 1007),
        (frame(1, b"\xed\xa0\x80"), 1007),
        (frame(1, b"\xff", fin=False), 1007),
        (frame(1, b"\xe2\x82"), 1007),
        (b"\x82\xff" + (LIMIT_BYTES + 1).to_bytes(8, "big"), 1009),
        (frame(2, b"x" * LIMIT_BYTES, fin=False) + frame(0, b"x"), 1009),
    ],
)
def test_what_breaks_the_rules_fails_the_connection(data: bytes, code: int) -> None:
    events, answer = received(data)
    assert [type(event) for event in events] == [Closed]
    assert events[0].code == 1006
    assert answer[0] == 0x88
    assert int.from_bytes(answer[2:4], "big") == code


def test_the_end_of_the_transport_without_a_close_frame_is_abnormal() -> None:
    socket = WebSocket(LIMIT_BYTES)
    socket.receive_data(frame(1, b"last") + b"\x81")
    socket.receive_eof()
    assert list(socket.events) == ["last", Closed(1006)]


def test_after_its_close_frame_nothing_is_sent_and_messages_are_dropped() -> None:
    socket = WebSocket(LIMIT_BYTES)
    assert socket.close_bytes(1001, "going") == b"\x88\x07\x03\xe9going"
    assert socket.receive_data(frame(1, b"late") + frame(9, b"?") + frame(8, b"\x03\xe9")) == b""
    assert list(socket.events) == [Closed(1001)]
    assert (socket.close_bytes(), socket.message_bytes("x"), socket.ping_bytes()) == (b"", b"", b"")


def test_a_long_reason_is_cut_between_characters() -> None:
    data = WebSocket(LIMIT_BYTES).close_bytes(1000, "€" * 50)
    assert data[1] <= 125
    assert data[4:].decode() == "€" * 41


@pytest.mark.parametrize(("length", "head"), [(125, b"\x82\x7d"), (126, b"\x82\x7e\x00\x7e"), (65536, b"\x82\x7f")])
def test_messages_go_out_unmasked_with_the_shortest_length(length: int, head: bytes) -> None:
    data = WebSocket(LIMIT_BYTES).message_bytes(b"x" * length)
    assert data.startswith(head)
    assert data.endswith(b"x" * length)


# -- compression ----------------------------------------------------------------------------------


def test_compressed_messages_are_read_with_what_went_before() -> None:
    compressor = zlib.compressobj(wbits=-15)
    frames = b""
    for text in (b"Hello, hello, hello", b"Hello, hello, hello"):
        payload = (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        frames += frame(1, payload[:3], fin=False, rsv=4) + frame(0, payload[3:])
    assert received(frames, PLAIN) == (["Hello, hello, hello"] * 2, b"")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(1, b"\xff\xff\xff", rsv=4), 1007),
        (frame(1, deflated(b"\xff"), rsv=4), 1007),
        (frame(2, deflated(bytes(LIMIT_BYTES + 1)), rsv=4), 1009),
        (frame(2, deflated(bytes(LIMIT_BYTES * 100)), rsv=4), 1009),
        (frame(1, b"a", fin=False) + frame(0, deflated(b"b"), rsv=4), 1002),
        (frame(9, b"", rsv=4), 1002),
    ],
)
def test_bad_or_oversized_compressed_messages_fail_the_connection(data: bytes, code: int) -> None:
    events, answer = received(data, PLAIN)
    assert events[0].code == 1006
    assert int.from_bytes(answer[2:4], "big") == code


@pytest.mark.parametrize("takes_over", [True, False])
def test_messages_are_compressed_for_a_peer_that_can_read_them(takes_over: bool) -> None:
    socket = WebSocket(LIMIT_BYTES, Deflate(takes_over, True, 12, 15, b""))
    first, second = (socket.message_bytes("lorem ipsum dolor sit amet " * 10) for _ in range(2))
    assert first[0] == 0xC1
    assert (len(second) < len(first)) == takes_over
    plain = zlib.decompressobj(-12).decompress(first[2:] + b"\0\0\xff\xff")
    assert plain == b"lorem ipsum dolor sit amet " * 10
    assert socket.message_bytes("short")[0] == 0x81


# -- for every input ------------------------------------------------------------------------------


PIECES = st.lists(
    st.one_of(
        st.builds(frame, st.sampled_from([0, 1, 2, 8, 9, 10]), st.binary(max_size=140), fin=st.booleans()),
        st.builds(lambda text: frame(1, text.encode()), st.text(max_size=20)),
        st.builds(lambda data: frame(2, deflated(data), rsv=4), st.binary(max_size=200)),
        st.binary(max_size=8),
    ),
    max_size=6,
)


@given(PIECES, st.lists(st.integers(1, 50)))
def test_events_do_not_depend_on_how_bytes_arrive(frames: list[bytes], sizes: list[int]) -> None:
    data = b"".join(frames)
    events, answer = received(data, PLAIN)
    socket = WebSocket(LIMIT_BYTES, PLAIN)
    sent = b""
    begin = 0
    for size in [*sizes, len(data)]:
        sent += socket.receive_data(data[begin : begin + size])
        begin += size
    assert (list(socket.events), sent) == (events, answer)


@given(st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300))), st.booleans())
def test_what_one_side_sends_the_other_reads(messages: list[str | bytes], takes_over: bool) -> None:
    sender = WebSocket(LIMIT_BYTES, Deflate(takes_over, takes_over, 12, 12, b""))
    receiver = WebSocket(LIMIT_BYTES, Deflate(takes_over, takes_over, 12, 12, b""))
    for message in messages:
        data = sender.message_bytes(message)
        size = {126: 4, 127: 10}.get(data[1], 2)
        masked = bytes((data[0], data[1] | 0x80)) + data[2:size] + MASK + unmasked(data[size:], MASK)
        assert receiver.receive_data(masked) == b""
    assert list(receiver.events) == messages
