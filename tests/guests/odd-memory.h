/*
 * Modes of odd.c that are about mappings:
 *   prot-none N      N pages under PROT_NONE, and N more that were only reserved
 *   many-mappings N  N mappings of a page each, by turns of access; skips where vm.max_map_count forbids
 *   sparse N         reserves 1 TiB and touches N pages of it, the first and the last among them
 *   dontdump N       N pages each under MADV_DONTDUMP, MADV_DONTFORK and MADV_WIPEONFORK
 *   alias N          a memfd of N pages that is mapped twice; waves as in wavefront.c, page by page
 *                    through the one mapping and the other
 */
#ifndef ODD_MEMORY_H
#define ODD_MEMORY_H

#include "odd-ready.h"

static void set_access(void *at, size_t pages, int access)
{
  if (mprotect(at, pages * page_bytes, access)) die("mprotect: %s", strerror(errno));
}

static void prot_none(uint64_t pages)
{
  char *hidden = map_pages(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  void *reserved = mmap(NULL, pages * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) die("mmap: %s", strerror(errno));
  add_block("hidden", hidden, pages, 17);
  blocks[0].no_access = true;
  set_access(hidden, pages, PROT_NONE);
  start_beat();
  odd_ready(",\"reserved\":{\"start\":\"%p\",\"pages\":%" PRIu64 "}", reserved, pages);
  wait_for_end();
  set_access(hidden, pages, PROT_READ);
  odd_end("pages", pages);
}

static void many_mappings(uint64_t number)
{
  char *at = map_pages(number, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  add_block("alternating", at, number, 19);
  for (uint64_t i = 1; i < number; i += 2) {
    if (!mprotect(at + i * page_bytes, page_bytes, PROT_READ)) continue;
    if (errno == ENOMEM) skip("vm.max_map_count does not allow so many mappings");
    die("mprotect: %s", strerror(errno));
  }
  start_beat();
  odd_ready(",\"mappings\":%" PRIu64, number);
  wait_for_end();
  odd_end("mappings", number);
}

static void sparse(uint64_t number)
{
  const uint64_t bytes = 1ull << 40, pages = bytes / page_bytes;
  char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) skip("this machine does not allow 1 TiB to be reserved");
  /* Huge pages would make 2 MiB of each. */
  (void)madvise(at, bytes, MADV_NOHUGEPAGE);
  if (number < 2 || number > BLOCKS_MAX) number = BLOCKS_MAX;
  for (uint64_t i = 0; i < number; i++) {
    uint64_t page = i == 0 ? 0 : i == 1 ? pages - 1 : mix(i) % pages;
    add_block("touched", at + page * page_bytes, 1, 23 + i);
  }
  start_beat();
  odd_ready(",\"reserved\":{\"start\":\"%p\",\"pages\":%" PRIu64 "}", (void *)at, pages);
  wait_for_end();
  odd_end("touched", number);
}

/* An image by fork has neither of the last two, though the process has. */
static void dontdump(uint64_t pages)
{
  static const struct { const char *name; int advice; } advices[] = {
    {"dontdump", MADV_DONTDUMP}, {"dontfork", MADV_DONTFORK}, {"wipeonfork", MADV_WIPEONFORK},
  };
  for (size_t i = 0; i < 3; i++) {
    char *at = map_pages(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    add_block(advices[i].name, at, pages, 29 + i);
    if (madvise(at, pages * page_bytes, advices[i].advice)) die("madvise %s: %s", advices[i].name, strerror(errno));
  }
  start_beat();
  odd_ready("%s", "");
  wait_for_end();
  odd_end("pages", pages);
}

static struct { char *sides[2]; uint64_t pages; volatile uint64_t waves; } aliased;

static void *alias_waves(void *argument)
{
  for (uint64_t wave = 1; !atomic_load(&stopping); wave++) {
    for (uint64_t page = 0; page < aliased.pages; page++) {
      char *here = aliased.sides[page & 1] + page * page_bytes, *there = aliased.sides[~page & 1] + page * page_bytes;
      if (*first_word(there) != wave - 1 || *last_word(there) != wave - 1) {
        problem("alias: page %" PRIu64 " does not hold wave %" PRIu64, page, wave - 1);
        return argument;
      }
      *first_word(here) = wave;
      *last_word(here) = wave;
    }
    aliased.waves = wave;
  }
  return argument;
}

static void alias(uint64_t pages)
{
  int fd = memfd_create("alias", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, (off_t)(pages * page_bytes))) die("memfd: %s", strerror(errno));
  aliased.pages = pages;
  for (int i = 0; i < 2; i++) aliased.sides[i] = map_pages(pages, MAP_SHARED, fd);
  pthread_t thread;
  start_thread(&thread, alias_waves, NULL);
  odd_ready(",\"alias\":{\"first\":\"%p\",\"second\":\"%p\",\"pages\":%" PRIu64 "}", (void *)aliased.sides[0],
            (void *)aliased.sides[1], pages);
  wait_for_end();
  pthread_join(thread, NULL);
  odd_end("waves", aliased.waves);
}

#endif
