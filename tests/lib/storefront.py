# SPDX-License-Identifier: Apache-2.0
"""What stands around a relay at a provider: Debian's Postfix as the front server that falls
back to the relay, and a door before the store that can be slow, deny users or be shut."""
import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from .ports import free_port

MAIN = """compatibility_level = 3.6
queue_directory = {b}/queue
data_directory = {b}/data
myhostname = front.shop.example
mydestination =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks reject
relay_domains = shop.example
relay_transport = lmtp:inet:127.0.0.1:{store}
lmtp_fallback_relay = [127.0.0.1]:{relay}
default_transport = smtp:[127.0.0.1]:{outside}
maillog_file = {b}/log
maillog_file_prefixes = /
alias_maps =
alias_database =
smtp_dns_support_level = disabled
smtputf8_enable = no
in_flow_delay = 0
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
lmtp_destination_concurrency_failed_cohort_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
"""


class Postfix:
    """Takes mail for shop.example, hands it to `store` over LMTP or, when that does not
    answer, to `relay`; everything else (bounces!) goes to `outside`. Needs root."""

    def __init__(self, folder, store, relay, outside):
        self.base, self.port = os.path.join(folder, "postfix"), free_port()
        etc = os.path.join(self.base, "etc")
        for sub in ("etc", "queue", "data"):
            os.makedirs(os.path.join(self.base, sub))
        shutil.chown(os.path.join(self.base, "data"), "postfix", "postfix")
        with open(os.path.join(etc, "main.cf"), "w") as f:
            f.write(MAIN.format(b=self.base, store=store, relay=relay, outside=outside))
        proto = "/etc/postfix/master.cf.proto"
        with open(proto if os.path.exists(proto) else "/usr/share/postfix/master.cf.dist") as f:
            master = re.sub(r"^(\S+\s+(?:unix|fifo|inet|pass)\s+\S+\s+\S+\s+)[yn-](\s)", r"\1n\2",
                            f.read(), flags=re.M)
        master = re.sub(r"^smtp\s+inet.*$", "127.0.0.1:%d inet n - n - - smtpd" % self.port, master,
                        flags=re.M)
        with open(os.path.join(etc, "master.cf"), "w") as f:
            f.write(master)
        self.etc = etc

    def start(self):
        subprocess.run(["postfix", "-c", self.etc, "check"], capture_output=True, check=True)
        self.process = subprocess.Popen(["/usr/lib/postfix/sbin/master", "-d", "-c", self.etc],
                                        env=dict(os.environ, MAIL_CONFIG=self.etc),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                    if s.recv(3) == b"220":
                        return self
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError("postfix does not answer:\n" + self.log())

    def log(self):
        path = os.path.join(self.base, "log")
        return open(path, errors="replace").read() if os.path.exists(path) else "(no log)"

    def queued(self):
        """Messages it still has."""
        return sum(len(files) for sub in ("incoming", "active", "deferred", "maildrop", "hold")
                   for _, _, files in os.walk(os.path.join(self.base, "queue", sub)))

    def stop(self):
        """SIGTERM to the process group that start() made: master and its daemons."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(20)


class Door:
    """An LMTP proxy before a real store. `script(stage, rcpt)` for stage in rcpt, end may
    give a reply of its own ("451 4.3.0 busy"): the store then sees nothing of that recipient;
    "LOST" at end: the store gets the message, the client no reply. `delay`: seconds before
    each final reply. `shut()` ends all connections and closes the port, `open()` opens it."""

    def __init__(self, store_port, script=None):
        self.store_port, self.script, self.delay = store_port, script or (lambda stage, rcpt: None), 0
        self.port, self.server, self.tasks = free_port(), None, set()
        self.most, self.now, self.delivered, self.faults = 0, 0, 0, 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def open(self):
        async def begin():
            self.server = await asyncio.start_server(self._client, "127.0.0.1", self.port, limit=1 << 26)
        self._call(begin())

    def shut(self):
        async def end():
            if self.server is not None:
                self.server.close()
                self.server = None
            for t in list(self.tasks):
                t.cancel()
        self._call(end())

    def close(self):
        self.shut()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)

    async def _client(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        self.now += 1
        self.most = max(self.most, self.now)
        back = None
        try:
            back = await asyncio.open_connection("127.0.0.1", self.store_port, limit=1 << 26)
            await self._session(reader, writer, *back)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            self.now -= 1
            self.tasks.discard(task)
            writer.transport.abort() if task.cancelled() else writer.close()
            if back is not None:
                back[1].close()

    @staticmethod
    async def _reply(reader):
        out = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            out += line
            if line[3:4] != b"-":
                return out

    async def _ask(self, store, line):
        store[1].write(line)
        return await self._reply(store[0])

    async def _session(self, reader, writer, sreader, swriter):
        store, rcpts = (sreader, swriter), []
        writer.write(await self._reply(sreader))
        while True:
            line = await reader.readuntil(b"\r\n")
            verb = line[:4].upper()
            if verb == b"RCPT":
                rcpt = line[line.index(b"<") + 1:line.index(b">")].decode()
                own = self.script("rcpt", rcpt)
                if own is not None:
                    self.faults += 1
                    writer.write(own.encode() + b"\r\n")
                    continue
                reply = await self._ask(store, line)
                if reply[:1] == b"2":
                    rcpts.append(rcpt)
                writer.write(reply)
            elif verb == b"DATA" and rcpts:
                writer.write(b"354 go\r\n")
                await writer.drain()
                await self._content(reader, writer, store, rcpts)
                rcpts = []
            else:
                if verb in (b"RSET", b"LHLO", b"MAIL"):
                    rcpts = []
                writer.write(await self._ask(store, line))
                if verb == b"QUIT":
                    await writer.drain()
                    return
            await writer.drain()

    async def _content(self, reader, writer, store, rcpts):
        content = b""
        while not content.endswith(b"\r\n.\r\n") and content != b".\r\n":
            content += await reader.readuntil(b"\r\n")
        await asyncio.sleep(self.delay)
        # One recipient a transaction, as our relay and the front's LMTP client send here.
        own = self.script("end", rcpts[0])
        if own is not None and own != "LOST":
            self.faults += len(rcpts)
            await self._ask(store, b"RSET\r\n")
            writer.write(b"".join(own.encode() + b"\r\n" for _ in rcpts))
            return
        go = await self._ask(store, b"DATA\r\n")
        if go[:3] != b"354":
            writer.write(b"".join(go for _ in rcpts))
            return
        store[1].write(content)
        replies = [await self._reply(store[0]) for _ in rcpts]
        self.delivered += sum(r[:1] == b"2" for r in replies)
        if own == "LOST":
            self.faults += 1
            raise ConnectionError
        writer.write(b"".join(replies))
