"""Serial ports as character devices: a small process that serves them by CUSE, for a relay in another process.

An application that calls a driver waits for its answer, and nothing can end it while the driver is silent. So the driver
is a process of its own, with one thread, which never blocks: each request is answered at once, or stands in a list until
bytes, time, or a signal decide it. The relay is at the other end of one Unix socket for each port, and nothing that the
relay does or fails to do keeps an application waiting for anything but bytes.

`terminal` is what applications see (pure), `fuse_requests` and `cuse_device` are the kernel's protocol, `messages` is the
relay's, and `server` is the loop. `python -m tty_server FD` runs it. It needs Linux with CUSE and nothing but Python.
"""
