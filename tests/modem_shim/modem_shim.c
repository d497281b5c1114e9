/*
 * Gives ptys what a UART has and they lack: modem lines, breaks, data bits, parity and error counts. For tests, by LD_PRELOAD.
 *
 * The file named by MODEM_SHIM_FILE holds a record for each pty slave, by its number; see modem_shim.py, which is
 * the device's end of the lines. Only slaves of Unix 98 ptys (majors 136-143, minors as in /dev/pts/N) are touched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#define GET_TERMIOS2 0x802C542A /* TCGETS2, TCSETS2, TCSETSW2: <asm/termbits.h> does not go with <termios.h> */
#define SET_TERMIOS2 0x402C542B
#define SET_TERMIOS2_DRAINED 0x402C542C
#define RECORDS 4096
#define FRAME (CSIZE | PARENB | PARODD | CMSPAR)
#define INPUTS (TIOCM_CTS | TIOCM_DSR | TIOCM_RNG | TIOCM_CAR)

struct record { /* 32 bytes, as in modem_shim.py */
    volatile uint32_t lines;  /* TIOCM_*: DTR and RTS are the port's, CTS, DSR, RNG and CAR the device's */
    volatile uint32_t breaks; /* sent by the port */
    volatile uint32_t in_break;
    volatile uint32_t frame;  /* c_cflag: CSIZE, PARENB, PARODD, CMSPAR; 0 as long as nobody set them */
    volatile uint32_t framing, overrun, parity, breaks_received; /* the driver's counts, as the device causes them */
};

static struct record *record_of(int fd)
{
    static struct record *records;
    struct stat node;

    if (fstat(fd, &node) || !S_ISCHR(node.st_mode) || major(node.st_rdev) < 136 || major(node.st_rdev) > 143)
        return NULL;
    if (!records) {
        const char *name = getenv("MODEM_SHIM_FILE");
        int file = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
        void *mapped = file < 0 ? MAP_FAILED
                                : mmap(NULL, RECORDS * sizeof *records, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (file >= 0)
            close(file);
        if (mapped == MAP_FAILED)
            return NULL;
        records = mapped;
    }
    unsigned number = (major(node.st_rdev) - 136) * 256 + minor(node.st_rdev);
    return number < RECORDS ? &records[number] : NULL;
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*next)(int, unsigned long, void *);
    struct record *port = NULL;
    va_list list;

    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (!next)
        next = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
    switch (request) {
    case TIOCMGET: case TIOCMSET: case TIOCMBIS: case TIOCMBIC: case TIOCMIWAIT: case TIOCGICOUNT:
    case TIOCSBRK: case TIOCCBRK: case GET_TERMIOS2: case SET_TERMIOS2: case SET_TERMIOS2_DRAINED:
        port = record_of(fd);
    }
    if (!port)
        return next(fd, request, argument);
    uint32_t before = port->lines;
    switch (request) {
    case TIOCMGET:
        *(int *)argument = (int)before;
        return 0;
    case TIOCMSET:
        port->lines = (before & INPUTS) | (*(uint32_t *)argument & ~INPUTS);
        return 0;
    case TIOCMBIS:
        __sync_fetch_and_or(&port->lines, *(uint32_t *)argument & ~INPUTS);
        return 0;
    case TIOCMBIC:
        __sync_fetch_and_and(&port->lines, ~*(uint32_t *)argument | INPUTS);
        return 0;
    case TIOCMIWAIT:
        while (!((port->lines ^ before) & (uint32_t)(uintptr_t)argument))
            if (usleep(2000))
                return -1;
        return 0;
    case TIOCGICOUNT:
        *(struct serial_icounter_struct *)argument = (struct serial_icounter_struct){
            .frame = port->framing, .overrun = port->overrun, .parity = port->parity, .brk = port->breaks_received};
        return 0;
    case TIOCSBRK:
        port->breaks++;
        port->in_break = 1;
        return 0;
    case TIOCCBRK:
        port->in_break = 0;
        return 0;
    case GET_TERMIOS2: {
        int result = next(fd, request, argument);
        uint32_t *cflag = &((uint32_t *)argument)[2]; /* struct termios2: c_cflag is its third word */
        if (!result && port->frame)
            *cflag = (*cflag & ~FRAME) | port->frame;
        return result;
    }
    default:
        port->frame = ((uint32_t *)argument)[2] & FRAME;
        return next(fd, request, argument);
    }
}

int tcsetattr(int fd, int when, const struct termios *wanted)
{
    static int (*next)(int, int, const struct termios *);
    struct record *port = record_of(fd);
    struct termios possible = *wanted;

    if (!next)
        next = (int (*)(int, int, const struct termios *))dlsym(RTLD_NEXT, "tcsetattr");
    if (port) {
        port->frame = wanted->c_cflag & FRAME;
        possible.c_cflag = (possible.c_cflag & ~FRAME) | CS8;
    }
    return next(fd, when, &possible);
}

int tcgetattr(int fd, struct termios *present)
{
    static int (*next)(int, struct termios *);

    if (!next)
        next = (int (*)(int, struct termios *))dlsym(RTLD_NEXT, "tcgetattr");
    int result = next(fd, present);
    struct record *port = result ? NULL : record_of(fd);
    if (port && port->frame)
        present->c_cflag = (present->c_cflag & ~FRAME) | port->frame;
    return result;
}
