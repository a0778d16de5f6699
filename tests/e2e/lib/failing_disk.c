/* Preloaded into a broker: a disk that fails. While the file named by FAILING_DISK exists, every write,
 * sync or creation of a file whose path has in it what the file says fails as the file says. Its text:
 * "ERRNO PART_OF_A_PATH", and perhaps a third word: so many milliseconds each sync takes longer; an ERRNO
 * of 0 then fails nothing. Nothing else changes: reads go on, and what was written before stays. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int real_open(const char* path, int flags, mode_t mode) {
  static int (*next)(const char*, int, ...);
  if (!next) next = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, "open");
  return next(path, flags, mode);
}

/* What a write or a sync of this path meets. */
struct fault {
  int error; /* 0: none. */
  int delay_ms;
};

static struct fault fault_of(const char* path) {
  const struct fault none = {0, 0};
  const char* control = getenv("FAILING_DISK");
  if (!control) return none;
  const int fd = real_open(control, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return none;
  char text[512] = {0};
  const ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  struct fault fault = {0, 0};
  char part[500] = {0};
  if (length <= 0 || sscanf(text, "%d %499s %d", &fault.error, part, &fault.delay_ms) < 2) return none;
  const char* name = strrchr(path, '/');
  if (name && strncmp(name, "/LOG", 4) == 0) return none; /* RocksDB's account of itself. */
  return strstr(path, part) ? fault : none;
}

static struct fault fault_at(int fd) {
  const struct fault none = {0, 0};
  char link[64];
  char path[4096];
  const int kept = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  errno = kept;
  if (length <= 0 || path[0] != '/') return none;
  path[length] = 0;
  return fault_of(path);
}

/* The error of a sync, after its delay. */
static int fault_of_sync(int fd) {
  const struct fault fault = fault_at(fd);
  const struct timespec delay = {fault.delay_ms / 1000, fault.delay_ms % 1000 * 1000000L};
  if (fault.delay_ms > 0) nanosleep(&delay, NULL);
  return fault.error;
}

#define FAIL_IF(fault)    \
  do {                    \
    const int f = fault;  \
    if (f) {              \
      errno = f;          \
      return -1;          \
    }                     \
  } while (0)

#define NEXT(type, name) \
  static type next;      \
  if (!next) next = (type)dlsym(RTLD_NEXT, name)

/* A full disk takes a part of it. */
ssize_t write(int fd, const void* data, size_t size) {
  typedef ssize_t (*Write)(int, const void*, size_t);
  NEXT(Write, "write");
  const int fault = fault_at(fd).error;
  if (fault == ENOSPC && size > 64) (void)!next(fd, data, size / 2);
  FAIL_IF(fault);
  return next(fd, data, size);
}

int fsync(int fd) {
  typedef int (*Sync)(int);
  NEXT(Sync, "fsync");
  FAIL_IF(fault_of_sync(fd));
  return next(fd);
}

int fdatasync(int fd) {
  typedef int (*Sync)(int);
  NEXT(Sync, "fdatasync");
  FAIL_IF(fault_of_sync(fd));
  return next(fd);
}

static int open_checked(const char* path, int flags, mode_t mode) {
  if ((flags & (O_CREAT | O_WRONLY | O_RDWR)) != 0) FAIL_IF(fault_of(path).error);
  return real_open(path, flags, mode);
}

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open_checked(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open_checked(path, flags | O_LARGEFILE, mode);
}
