"""gensio's RFC 2217 client as a program for the system's Python, where Debian's python3-gensio lives.

Usage: python3 gensio_client.py HOST PORT, then a call a line on the standard input, an answer a line on the standard output:
`baud 19200`, `dtr on`, `write 68656c6c6f`, `modem` (the last notified state), ...
"""

# ruff: noqa: ANN001, ANN201, ANN204, ARG002, PLR0912
# mypy: ignore-errors

import sys

import gensio

ON_OFF = {"dtr": (gensio.SERGENSIO_DTR_ON, gensio.SERGENSIO_DTR_OFF), "rts": (gensio.SERGENSIO_RTS_ON, gensio.SERGENSIO_RTS_OFF),
          "sbreak": (gensio.SERGENSIO_BREAK_ON, gensio.SERGENSIO_BREAK_OFF)}  # fmt: skip
WORDS = {
    "none": gensio.SERGENSIO_PARITY_NONE, "odd": gensio.SERGENSIO_PARITY_ODD, "even": gensio.SERGENSIO_PARITY_EVEN,
    "mark": gensio.SERGENSIO_PARITY_MARK, "space": gensio.SERGENSIO_PARITY_SPACE,
    "no_flow": gensio.SERGENSIO_FLOWCONTROL_NONE, "xon_xoff": gensio.SERGENSIO_FLOWCONTROL_XON_XOFF,
    "rts_cts": gensio.SERGENSIO_FLOWCONTROL_RTS_CTS, "receive": gensio.SERGIO_FLUSH_RCV_BUFFER,
    "transmit": gensio.SERGIO_FLUSH_XMIT_BUFFER, "both": gensio.SERGIO_FLUSH_RCV_XMIT_BUFFERS,
}  # fmt: skip


class Logger:
    def gensio_log(self, level, text):
        print(level, text, file=sys.stderr)


class Events:
    def __init__(self):
        self.received = bytearray()
        self.modem_state = None
        self.line_state = None

    def read_callback(self, io, error, data, auxdata):
        if error:
            return 0
        self.received += data
        return len(data)

    def smodemstate(self, io, state):
        self.modem_state = state

    def modemstate(self, io, state):
        self.modem_state = state

    def linestate(self, io, state):
        self.line_state = state


def main():
    os_funcs = gensio.alloc_gensio_selector(Logger())
    events = Events()
    waiter = gensio.waiter(os_funcs)
    io = gensio.gensio(os_funcs, f"telnet(rfc2217=true),tcp,{sys.argv[1]},{sys.argv[2]}", events)
    io.open_s()
    io.read_cb_enable(True)
    serial = io.cast_to_sergensio()
    for line in sys.stdin:
        name, *arguments = line.split()
        if name in ON_OFF:
            on, off = ON_OFF[name]
            value = {"on": on, "off": off, "?": 0}[arguments[0]]
            answer = "on" if getattr(serial, f"sg_{name}_s")(value) == on else "off"
        elif name in ("baud", "datasize", "stopbits", "parity", "flowcontrol"):
            word = arguments[0]
            actual = getattr(serial, f"sg_{name}_s")(WORDS[word] if word in WORDS else int(word))
            answer = word if word in WORDS and actual == WORDS[word] else actual
        elif name == "write":
            io.write(bytes.fromhex(arguments[0]), None)
            answer = "written"
        elif name == "read":
            while len(events.received) < int(arguments[0]):
                waiter.wait_timeout(1, 20)
            answer = events.received.hex()
            events.received.clear()
        elif name == "send_break":
            serial.sg_send_break()
            answer = "sent"
        elif name == "flush":
            serial.sg_flush(WORDS[arguments[0]])
            answer = "flushed"
        elif name == "modemstate":
            serial.sg_modemstate(int(arguments[0]))
            answer = "asked"
        elif name == "linestate":
            serial.sg_linestate(int(arguments[0]))
            answer = "asked"
        elif name in ("modem", "line"):
            while getattr(events, f"{name}_state") is None:
                waiter.wait_timeout(1, 20)
            answer = getattr(events, f"{name}_state")
            setattr(events, f"{name}_state", None)
        else:
            answer = f"unknown {name}"
        print(answer, flush=True)


main()
