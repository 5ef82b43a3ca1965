/*
 * bare-copy PID START BYTES FILE
 *
 * The least that saving another process's memory can cost: process_vm_readv and write, 1 MiB at a
 * time, nothing else. What a dump's throughput is measured against. The result is of no one
 * instant: the process runs on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (1u << 20)

static uint64_t now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static int fail(const char *what)
{
  printf("{\"skipped\":\"%s: %s\"}\n", what, strerror(errno));
  return 0;
}

int main(int argc, char **argv)
{
  if (argc != 5) { fprintf(stderr, "usage: bare-copy PID START BYTES FILE\n"); return 2; }
  pid_t pid = atoi(argv[1]);
  uint64_t start = strtoull(argv[2], NULL, 16), bytes = strtoull(argv[3], NULL, 10), done = 0;
  static char chunk[CHUNK];
  /* Fault it in first: the first touch of memory costs more than the copy. */
  memset(chunk, 1, sizeof chunk);
  uint64_t began = now_ns();
  int fd = open(argv[4], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return fail("open");
  while (done < bytes) {
    size_t want = bytes - done < CHUNK ? bytes - done : CHUNK;
    struct iovec local = {chunk, want}, remote = {(void *)(uintptr_t)(start + done), want};
    ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (got <= 0) return fail("process_vm_readv");
    for (ssize_t at = 0; at < got;) {
      ssize_t put = write(fd, chunk + at, (size_t)(got - at));
      if (put <= 0) return fail("write");
      at += put;
    }
    done += (uint64_t)got;
  }
  close(fd);
  printf("{\"totalNs\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n", now_ns() - began, done);
  return 0;
}
