/* Preloaded: the n-th write, sync or truncate of the store's files fails.
   FAULTS_UNDER: how their paths begin. FAULTS_AT: a file that holds a number and kinds of calls (w, s, t);
   while it is there, these are counted, and the one of that number fails and removes it. 0: all fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int count;

static int fails(int fd, char kind, int error) {
    const char *under = getenv("FAULTS_UNDER"), *at = getenv("FAULTS_AT");
    char name[64], path[4096], kinds[8];
    int saved = errno, number = 0;
    FILE *file;
    if (!under || !at) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length >= 0) path[length] = 0;
    if (length >= 0 && !strncmp(path, under, strlen(under)) && (file = fopen(at, "r"))) {
        int is_counted = fscanf(file, "%d %7s", &number, kinds) == 2 && strchr(kinds, kind);
        fclose(file);
        if (is_counted && (!number || __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) == number)) {
            if (number) unlink(at);
            count = 0;
            errno = error;
            return 1;
        }
    }
    errno = saved;
    return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAILING(type, name, kind, error, arguments, ...) \
    type name arguments { return fails(fd, kind, error) ? -1 : REAL(name)(__VA_ARGS__); }

FAILING(ssize_t, write, 'w', ENOSPC, (int fd, const void *data, size_t size), fd, data, size)
FAILING(ssize_t, pwrite, 'w', EIO, (int fd, const void *data, size_t size, off_t at), fd, data, size, at)
FAILING(ssize_t, pwrite64, 'w', EIO, (int fd, const void *data, size_t size, off64_t at), fd, data, size, at)
FAILING(int, fsync, 's', EIO, (int fd), fd)
FAILING(int, fdatasync, 's', EIO, (int fd), fd)
FAILING(int, ftruncate, 't', EIO, (int fd, off_t size), fd, size)
FAILING(int, ftruncate64, 't', EIO, (int fd, off64_t size), fd, size)
