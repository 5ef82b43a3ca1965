/*
 * The bare PAGEMAP_SCAN that takes what was written and protects it again, over a range of another process that is
 * registered with a WP_ASYNC userfaultfd: what tidemark is measured against.
 *
 *   bare-scan PID START PAGES     prints {"ns":…,"pages":…,"regions":…} for each line on its standard input
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

struct page_region { uint64_t start, end, categories; };
struct pm_scan_arg {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
enum { WP_MATCHING = 1, WRITTEN = 1 << 1, PRESENT = 1 << 3, SWAPPED = 1 << 4, REGIONS = 2048 };

static struct page_region regions[REGIONS];

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  char path[64], line[16];
  snprintf(path, sizeof path, "/proc/%s/pagemap", argv[1]);
  int file = open(path, O_RDONLY);
  if (file < 0) return perror(path), 1;
  uint64_t start = strtoull(argv[2], NULL, 0), page_bytes = sysconf(_SC_PAGESIZE), end = start + strtoull(argv[3], NULL, 0) * page_bytes;
  while (fgets(line, sizeof line, stdin) != NULL) {
    uint64_t pages = 0, found = 0, before = now_ns();
    for (uint64_t at = start; at < end;) {
      struct pm_scan_arg arg = { .size = sizeof arg, .flags = WP_MATCHING, .start = at, .end = end, .vec = (uintptr_t)regions, .vec_len = REGIONS,
        .category_mask = WRITTEN, .category_anyof_mask = PRESENT | SWAPPED, .return_mask = WRITTEN };
      int count = ioctl(file, PAGEMAP_SCAN, &arg);
      if (count < 0) return perror("PAGEMAP_SCAN"), 1;
      for (int i = 0; i < count; i++) pages += (regions[i].end - regions[i].start) / page_bytes;
      found += count;
      if (count < REGIONS) break;
      at = arg.walk_end > regions[count - 1].end ? arg.walk_end : regions[count - 1].end;
    }
    printf("{\"ns\":%" PRIu64 ",\"pages\":%" PRIu64 ",\"regions\":%" PRIu64 "}\n", now_ns() - before, pages, found);
    fflush(stdout);
  }
  return 0;
}
