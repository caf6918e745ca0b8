# SPDX-License-Identifier: Apache-2.0
"""An SMTP or LMTP receiver that keeps the exact bytes, answers as a script says,
and does nothing else: the recovery mail host and the stand-in for a store."""
import asyncio
import ssl
import threading


class Message:
    def __init__(self, peer, helo, mail_from, rcpts, data, tls, options):
        self.peer, self.helo, self.mail_from, self.rcpts = peer, helo, mail_from, rcpts
        self.data, self.tls, self.options = data, tls, options


class Sink:
    """`script(stage, arg)` may return a reply line ("450 4.2.1 later"), "HANG" or
    "CLOSE" for stage in connect, ehlo, mail, rcpt, data, end; None goes on."""

    def __init__(self, lmtp=False, script=None, cert=None, port=0, extensions=None, host="127.0.0.1"):
        self.lmtp, self.script = lmtp, script or (lambda stage, arg: None)
        self.messages, self.connections, self.open, self.most_open = [], 0, 0, 0
        self.extensions = extensions if extensions is not None else [
            "PIPELINING", "8BITMIME", "SIZE 104857600", "ENHANCEDSTATUSCODES"]
        self.tls = None
        self.tls_extensions = []    # offered over TLS only
        self.clear = 0              # MAIL commands that came in the clear
        if cert is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*cert)
        self.changed = threading.Condition()
        self.loop = asyncio.new_event_loop()
        self.server = None
        self._want = (host, port)
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        if not started.wait(10) or self.server is None:
            raise OSError("sink did not start on %r" % (self._want,))

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        try:
            self.server = self.loop.run_until_complete(
                asyncio.start_server(self._client, *self._want, limit=1 << 27, backlog=1024))
            self.port = self.server.sockets[0].getsockname()[1]
        finally:
            started.set()
        if self.server is not None:
            self.loop.run_forever()

    def close(self):
        def stop():
            self.server.close()
            for t in asyncio.all_tasks(self.loop):
                t.cancel()
            self.loop.call_later(0.05, self.loop.stop)
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(stop)
            self.thread.join(5)

    def wait(self, count, timeout=30):
        """Until `count` messages are here; the list of them."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.messages) >= count, timeout)
            return list(self.messages)

    def to(self, rcpt):
        return [m for m in list(self.messages) if rcpt in m.rcpts]

    async def _client(self, reader, writer):
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self._session(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError,
                asyncio.LimitOverrunError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _ask(self, stage, arg, writer, default):
        reply = self.script(stage, arg)
        if reply == "HANG":
            await asyncio.sleep(3600)
        if reply == "CLOSE":
            raise ConnectionError
        if reply is None:
            reply = default
        writer.write(reply.encode() + b"\r\n")
        await writer.drain()
        return reply[0] in "23"

    async def _session(self, reader, writer):
        peer = writer.get_extra_info("peername")[0]
        helo, mail, rcpts, options, secure = None, None, [], "", False
        if not await self._ask("connect", peer, writer, "220 sink.example ready"):
            return
        while True:
            line = await reader.readuntil(b"\r\n")
            text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            verb = text.split(" ")[0].upper()
            if verb in ("EHLO", "HELO", "LHLO"):
                helo, mail, rcpts = text[5:], None, []
                ext = ["sink.example"] + (self.extensions if verb != "HELO" else [])
                ext += self.tls_extensions if secure else []
                if self.tls and not secure and verb != "HELO":
                    ext.append("STARTTLS")
                lines = ["250-" + e for e in ext[:-1]] + ["250 " + ext[-1]]
                await self._ask("ehlo", helo, writer, "\r\n".join(lines))
            elif verb == "STARTTLS" and self.tls:
                writer.write(b"220 2.0.0 go\r\n")
                await writer.drain()
                writer = await self._start_tls(reader, writer)
                secure, helo, mail, rcpts = True, None, None, []
            elif verb == "MAIL":
                arg = text[text.index("<") + 1:text.index(">")]
                mail, rcpts = None, []
                self.clear += not secure
                if await self._ask("mail", arg, writer, "250 2.1.0 ok"):
                    mail, rcpts, options = arg, [], text[text.index(">") + 1:].strip()
            elif verb == "RCPT":
                arg = text[text.index("<") + 1:text.rindex(">")]
                if mail is None:
                    writer.write(b"503 5.5.1 no sender\r\n")
                elif await self._ask("rcpt", arg, writer, "250 2.1.5 ok"):
                    rcpts.append(arg)
            elif verb == "DATA":
                if not rcpts:
                    writer.write(b"503 5.5.1 no recipients\r\n")
                    continue
                if await self._ask("data", rcpts, writer, "354 go"):
                    data = await self._content(reader)
                    message = self.arriving = Message(peer, helo, mail, rcpts, data, secure,
                                                      options)    # for scripts, at "end"
                    for r in (rcpts if self.lmtp else rcpts[:1]):
                        # Recorded before the reply: what was answered 250 is here.
                        if self.script("end", r) in (None, "250-AND-CLOSE"):
                            one = Message(peer, helo, mail, [r] if self.lmtp else rcpts, data,
                                          secure, options)
                            with self.changed:
                                self.messages.append(one)
                                self.changed.notify_all()
                            message = one
                        if self.script("end", r) == "250-AND-CLOSE":
                            raise ConnectionError
                        await self._ask("end", r, writer, "250 2.0.0 kept")
                    mail, rcpts = None, []
            elif verb == "RSET":
                mail, rcpts = None, []
                writer.write(b"250 2.0.0 ok\r\n")
            elif verb == "QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                await writer.drain()
                return
            else:
                writer.write(b"250 2.0.0 ok\r\n" if verb == "NOOP" else b"502 5.5.2 what\r\n")

    async def _content(self, reader):
        lines = []
        while True:
            line = await reader.readuntil(b"\r\n")
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)

    async def _start_tls(self, reader, writer):
        transport, protocol = writer.transport, writer.transport.get_protocol()
        new = await self.loop.start_tls(transport, protocol, self.tls, server_side=True)
        reader._transport = new
        protocol._over_ssl = True
        return asyncio.StreamWriter(new, protocol, reader, self.loop)
