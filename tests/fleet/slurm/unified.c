/* Shows the daemons of Slurm a host whose only hierarchy is cgroup v2, at whose file their plugin gives up if it has lines of others. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static int unified(int file) {
    static char text[65536];
    ssize_t length = read(file, text, sizeof text - 1);
    int shown = memfd_create("cgroup", MFD_CLOEXEC);
    close(file);
    if (length < 0 || shown < 0) return -1;
    text[length] = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (!strncmp(line, "0::", 3) && (dprintf(shown, "%s\n", line) < 0 || lseek(shown, 0, SEEK_SET) < 0)) return -1;
    return shown;
}

int open64(const char *path, int flags, ...) {
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    va_list rest;
    va_start(rest, flags);
    int file = next(path, flags, va_arg(rest, mode_t));
    va_end(rest);
    return file >= 0 && !strcmp(path, "/proc/self/cgroup") ? unified(file) : file;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int file = open64(path, flags, va_arg(rest, mode_t));
    va_end(rest);
    return file;
}
