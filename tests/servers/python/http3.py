"""Sends requests over one HTTP/3 connection, all at once: `http3.py PORT`, with a path and a traceparent on each line of standard input.

Prints each answer's status, in the order of the lines.
"""

import asyncio
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

DEADLINE_SECONDS = 10


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.statuses = {}
        self.ends = {}

    def quic_event_received(self, event):
        for seen in self.http.handle_event(event):
            if isinstance(seen, HeadersReceived):
                self.statuses.setdefault(seen.stream_id, dict(seen.headers)[b":status"])
            if seen.stream_ended:
                self.ends[seen.stream_id].set_result(self.statuses[seen.stream_id].decode())

    def ask(self, path, traceparent):
        stream = self._quic.get_next_available_stream_id()
        self.ends[stream] = asyncio.get_running_loop().create_future()
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", "shop.example"), (":path", path)]
        headers.append(("traceparent", traceparent))
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        self.http.send_headers(stream, encoded, end_stream=True)
        return self.ends[stream]


async def main(port, asked):
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name="shop.example")
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
        ends = [client.ask(*line.split()) for line in asked]
        client.transmit()
        print("\n".join(await asyncio.wait_for(asyncio.gather(*ends), DEADLINE_SECONDS)))


asyncio.run(main(int(sys.argv[1]), sys.stdin.read().splitlines()))
