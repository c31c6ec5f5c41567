/*
 * A disk that fails on order: preloaded into a node under test, it stands between the program and the kernel's writes, syncs and
 * reads.
 *
 * The file that FAULTY_DISK names holds the order, one line; without the file everything is passed on:
 *
 *   CALL PATH WHAT EVERY
 *
 * CALL is write, sync or read. PATH is a part of the file's path. WHAT is an error's number; or "short": half of the bytes are
 * written and that is said; or "torn": half of the bytes are written and then an error is said; or "hang": the call takes until the
 * order is gone. EVERY is 1 for every call, 2 for every second. Each fault adds a byte to the file with ".done" at the end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define TEXT 512

enum what { PASS, FAIL, SHORT, TORN, HANG };

static atomic_uint matched;

/* The order, if there is one. Raw calls, so that nothing here comes back to this layer. */
static int ordered(const char *name, char *text)
{
    int order = name ? syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC) : -1;
    if (order < 0)
        return 0;
    ssize_t length = syscall(SYS_read, order, text, TEXT - 1);
    syscall(SYS_close, order);
    text[length < 0 ? 0 : length] = 0;
    return length > 0;
}

static void note(const char *name)
{
    char done[TEXT];
    snprintf(done, sizeof done, "%s.done", name);
    int file = syscall(SYS_openat, AT_FDCWD, done, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file >= 0) {
        syscall(SYS_write, file, "x", 1);
        syscall(SYS_close, file);
    }
}

/* What is to become of this call; `error` gets the error's number. */
static enum what fate(const char *call, int file, int *error)
{
    const char *name = getenv("FAULTY_DISK");
    char text[TEXT], wanted[TEXT], part[TEXT], what[TEXT], link[64], path[TEXT];
    unsigned every = 1;
    if (!ordered(name, text) || sscanf(text, "%s %s %s %u", wanted, part, what, &every) != 4)
        return PASS;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    if (strcmp(call, wanted) || !strstr(path, part) || atomic_fetch_add(&matched, 1) % every)
        return PASS;
    note(name);
    *error = EIO;
    if (!strcmp(what, "short"))
        return SHORT;
    if (!strcmp(what, "torn"))
        return TORN;
    if (!strcmp(what, "hang")) {
        while (ordered(name, text))
            usleep(2000);
        return PASS;
    }
    *error = atoi(what);
    return FAIL;
}

static ssize_t fail(int error)
{
    errno = error;
    return -1;
}

ssize_t write(int file, const void *bytes, size_t length)
{
    int error;
    switch (fate("write", file, &error)) {
    case FAIL:
        return fail(error);
    case SHORT:
        return syscall(SYS_write, file, bytes, length - length / 2);
    case TORN:
        syscall(SYS_write, file, bytes, length / 2);
        return fail(error);
    default:
        return syscall(SYS_write, file, bytes, length);
    }
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t offset)
{
    int error;
    switch (fate("write", file, &error)) {
    case FAIL:
        return fail(error);
    case SHORT:
        return syscall(SYS_pwrite64, file, bytes, length - length / 2, offset);
    case TORN:
        syscall(SYS_pwrite64, file, bytes, length / 2, offset);
        return fail(error);
    default:
        return syscall(SYS_pwrite64, file, bytes, length, offset);
    }
}

int fsync(int file)
{
    int error;
    return fate("sync", file, &error) == FAIL ? fail(error) : syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    int error;
    return fate("sync", file, &error) == FAIL ? fail(error) : syscall(SYS_fdatasync, file);
}

ssize_t read(int file, void *bytes, size_t length)
{
    int error;
    return fate("read", file, &error) == FAIL ? fail(error) : syscall(SYS_read, file, bytes, length);
}

ssize_t pread64(int file, void *bytes, size_t length, off64_t offset)
{
    int error;
    return fate("read", file, &error) == FAIL ? fail(error) : syscall(SYS_pread64, file, bytes, length, offset);
}
