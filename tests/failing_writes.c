/* A library to preload: writes and syncs of quota.db, its -wal and its -shm fail when a test says so.

   FAILING_WRITES names a file of `struct control`, which tests/failing_writes.py maps, too. Each call is counted; those
   from number `from` up to number `until` fail with `error` and write nothing. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

struct control {
  int64_t calls, from, until, error, syncs;
};

static struct control *control;

__attribute__((constructor)) static void map_control(void) {
  const char *path = getenv("FAILING_WRITES");
  int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) control = mapped;
  close(file);
}

static int is_ledger(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strstr(path, "/quota.db") != NULL;
}

static int fails(int file, int is_sync) {
  int before = errno;
  int ours = control && is_ledger(file);
  errno = before;
  if (!ours) return 0;
  int64_t number = __atomic_add_fetch(&control->calls, 1, __ATOMIC_SEQ_CST);
  if (is_sync) __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
  if (number < control->from || number >= control->until) return 0;
  errno = (int)control->error;
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t count) {
  return fails(file, 0) ? -1 : REAL(write)(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
  return fails(file, 0) ? -1 : REAL(pwrite)(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
  return fails(file, 0) ? -1 : REAL(pwrite64)(file, bytes, count, at);
}

int ftruncate(int file, off_t size) {
  return fails(file, 0) ? -1 : REAL(ftruncate)(file, size);
}

int ftruncate64(int file, off64_t size) {
  return fails(file, 0) ? -1 : REAL(ftruncate64)(file, size);
}

int fsync(int file) {
  return fails(file, 1) ? -1 : REAL(fsync)(file);
}

int fdatasync(int file) {
  return fails(file, 1) ? -1 : REAL(fdatasync)(file);
}
