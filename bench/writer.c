/*
 * Writes random pages of a buffer as fast as it can, for the benchmarks of tracking.
 *
 *   writer MIB        prints {"pid":…,"start":"0x…","pages":…} when its memory is there, then answers lines:
 *     run             starts writing, 8 bytes to a random page at a time
 *     count           {"writes":…,"ns":…}: writes since it started, and the time now
 *     halt            stops writing
 *     dirty N         writes N distinct pages, scattered
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static char *memory;
static uint64_t pages, page_bytes;
static atomic_bool running;
static atomic_uint_fast64_t writes;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void *write_pages(void *unused) {
  (void)unused;
  uint64_t state = 88172645463325252ull, done = 0;
  for (;;) {
    if (!atomic_load_explicit(&running, memory_order_relaxed)) {
      usleep(200);
      continue;
    }
    for (int i = 0; i < 64; i++) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      *(volatile uint64_t *)(memory + state % pages * page_bytes) = state;
    }
    atomic_store_explicit(&writes, done += 64, memory_order_relaxed);
  }
  return NULL;
}

int main(int argc, char **argv) {
  page_bytes = sysconf(_SC_PAGESIZE);
  uint64_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 256) << 20;
  pages = bytes / page_bytes;
  memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return perror("mmap"), 1;
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  for (uint64_t i = 0; i < bytes; i += 8) *(uint64_t *)(memory + i) = i * 0x9e3779b97f4a7c15ull;
  pthread_t thread;
  pthread_create(&thread, NULL, write_pages, NULL);
  printf("{\"pid\":%d,\"start\":\"0x%" PRIx64 "\",\"pages\":%" PRIu64 "}\n", (int)getpid(), (uint64_t)(uintptr_t)memory, pages);
  fflush(stdout);
  char line[64];
  uint64_t salt = 1;
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (strncmp(line, "run", 3) == 0) atomic_store(&running, 1);
    if (strncmp(line, "halt", 4) == 0) atomic_store(&running, 0);
    if (strncmp(line, "dirty ", 6) == 0) {
      /* An odd factor permutes a power of two of pages. */
      uint64_t count = strtoull(line + 6, NULL, 10);
      salt = salt * 6364136223846793005ull + 1442695040888963407ull;
      for (uint64_t i = 0; i < count; i++) *(volatile uint64_t *)(memory + (i * 0x9e3779b1u + (salt >> 32)) % pages * page_bytes) += 1;
    }
    printf("{\"writes\":%" PRIu64 ",\"ns\":%" PRIu64 "}\n", (uint64_t)atomic_load(&writes), now_ns());
    fflush(stdout);
  }
  return 0;
}
