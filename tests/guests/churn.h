/*
 * Churn: threads that do all the time what makes a snapshot hard, beside the waves of
 * wavefront.c: mappings come, go, move and change; memory is discarded and punched; processes
 * and threads begin and end. Every return value and every content is checked by the thread, and
 * the ledger tells the reader of an image what each block must hold. Signals: churn-signals.h.
 */
#ifndef CHURN_H
#define CHURN_H

#include "guest.h"
#include "ledger.h"
#include "churn-signals.h"
#include <fcntl.h>
#include <malloc.h>

struct churner {
  const char *name;
  void (*body)(struct churner *);
  size_t entries;            /* how many of the ledger it owns */
  struct ledger_entry *own;
  uint64_t random, generation, operations;
  pthread_t thread;
};

#define MUST(call, failed) ((call) == (failed) ? (problem("churn: %s: %s", #call, strerror(errno)), false) : true)

static uint64_t upto(struct churner *churner, uint64_t limit) { return next_random(&churner->random) % limit; }

static void breathe(struct churner *churner)
{
  churner->operations++;
  struct timespec pause = timespec_of(upto(churner, 400000));
  int error = clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
  /* All signals are blocked in this thread. */
  if (error) problem("churn: clock_nanosleep: %s", strerror(error));
}

static struct ledger_entry *pick(struct churner *churner) { return &churner->own[upto(churner, churner->entries)]; }

static void *block_of(const struct ledger_entry *entry) { return (void *)(uintptr_t)entry->address; }

/* Makes a block of a new generation; private or shared by chance. */
static void make_block(struct churner *churner, struct ledger_entry *entry, size_t pages, int flags)
{
  void *at;
  if (!MUST(at = mmap(NULL, pages * page_bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0), MAP_FAILED)) return;
  fill_block(at, 0, pages, ++churner->generation);
  ledger_set(entry, at, pages, churner->generation);
  ledger_stable(entry);
}

static void drop_block(struct ledger_entry *entry)
{
  check_block(entry, "before munmap");
  ledger_moving(entry);
  MUST(munmap(block_of(entry), entry->pages * page_bytes), -1);
  ledger_free(entry);
}

static void churn_map(struct churner *churner)
{
  while (!atomic_load(&stopping)) {
    struct ledger_entry *entry = pick(churner);
    if (entry->state == LEDGER_FREE) {
      ledger_moving(entry);
      make_block(churner, entry, 1 + upto(churner, 32), upto(churner, 2) ? MAP_PRIVATE : MAP_SHARED);
    } else drop_block(entry);
    breathe(churner);
  }
}

/* A new size in place or elsewhere, or the same at an address that is chosen here. */
static void remap_block(struct churner *churner, struct ledger_entry *entry)
{
  size_t old = entry->pages, pages = 1 + upto(churner, 48);
  int flags = MREMAP_MAYMOVE;
  void *target = NULL, *at;
  if (upto(churner, 2)) {
    if (!MUST(target = mmap(NULL, pages * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), MAP_FAILED)) return;
    flags |= MREMAP_FIXED;
  }
  ledger_moving(entry);
  if (!MUST(at = mremap(block_of(entry), old * page_bytes, pages * page_bytes, flags, target), MAP_FAILED)) return;
  if (target && at != target) problem("churn: mremap went to %p instead of %p", at, target);
  size_t kept = pages < old ? pages : old;
  ledger_set(entry, at, kept, entry->generation);
  check_block(entry, "after mremap");
  fill_block(at, kept, pages, entry->generation);
  entry->pages = pages;
  ledger_stable(entry);
}

static void churn_remap(struct churner *churner)
{
  for (size_t i = 0; i < churner->entries; i++) make_block(churner, &churner->own[i], 8, MAP_PRIVATE);
  while (!atomic_load(&stopping)) {
    remap_block(churner, pick(churner));
    breathe(churner);
  }
}

static void protect(struct ledger_entry *entry, int access, int ledger_access)
{
  ledger_moving(entry);
  MUST(mprotect(block_of(entry), entry->pages * page_bytes, access), -1);
  entry->access = (uint64_t)ledger_access;
  ledger_stable(entry);
}

static void churn_protect(struct churner *churner)
{
  for (size_t i = 0; i < churner->entries; i++) make_block(churner, &churner->own[i], 16, MAP_PRIVATE);
  while (!atomic_load(&stopping)) {
    struct ledger_entry *entry = pick(churner);
    protect(entry, PROT_NONE, LEDGER_NO_ACCESS);
    breathe(churner);
    protect(entry, PROT_READ, LEDGER_READABLE);
    check_block(entry, "after mprotect");
    breathe(churner);
    protect(entry, PROT_READ | PROT_WRITE, LEDGER_READABLE);
    ledger_moving(entry);
    entry->generation = ++churner->generation;
    fill_block(block_of(entry), 0, entry->pages, entry->generation);
    ledger_stable(entry);
  }
}

/* A private mapping of a file that is all zeros: what is written is the program's own, and the file's again when it is discarded. */
static void make_private_file(struct churner *churner, struct ledger_entry *entry, size_t pages)
{
  int fd;
  if (!MUST(fd = memfd_create("churn", MFD_CLOEXEC), -1) || !MUST(ftruncate(fd, (off_t)(pages * page_bytes)), -1)) return;
  void *at = map_pages(pages, MAP_PRIVATE, fd);
  close(fd);
  fill_block(at, 0, pages, ++churner->generation);
  ledger_set(entry, at, pages, churner->generation);
  ledger_stable(entry);
}

/* Discarded memory is zero at once, for us and for the image. */
static void churn_discard(struct churner *churner)
{
  for (size_t i = 0; i < churner->entries; i++) {
    if (i % 2) make_private_file(churner, &churner->own[i], 16);
    else make_block(churner, &churner->own[i], 16, MAP_PRIVATE);
  }
  while (!atomic_load(&stopping)) {
    struct ledger_entry *entry = pick(churner);
    check_block(entry, "before madvise");
    ledger_moving(entry);
    MUST(madvise(block_of(entry), entry->pages * page_bytes, MADV_DONTNEED), -1);
    entry->generation = 0;
    ledger_stable(entry);
    breathe(churner);
    check_block(entry, "after madvise");
    ledger_moving(entry);
    entry->generation = ++churner->generation;
    fill_block(block_of(entry), 0, entry->pages, entry->generation);
    ledger_stable(entry);
    breathe(churner);
  }
}

/* A memfd that is mapped but written by pwrite and emptied by hole punching: no page table entry says so. */
static void churn_memfd(struct churner *churner)
{
  const size_t pages = 16, bytes = pages * page_bytes;
  int fd;
  char *draft;
  struct ledger_entry *entry = churner->own;
  if (!MUST(fd = memfd_create("churn", MFD_CLOEXEC), -1) || !MUST(ftruncate(fd, (off_t)bytes), -1)) return;
  if (!MUST(draft = calloc(1, bytes), NULL)) return;
  ledger_moving(entry);
  ledger_set(entry, map_pages(pages, MAP_SHARED, fd), pages, 0);
  ledger_stable(entry);
  while (!atomic_load(&stopping)) {
    fill_block(draft, 0, pages, ++churner->generation);
    ledger_moving(entry);
    ssize_t count = pwrite(fd, draft, bytes, 0);
    if (count != (ssize_t)bytes) problem("churn: pwrite returned %zd: %s", count, strerror(errno));
    entry->generation = churner->generation;
    ledger_stable(entry);
    breathe(churner);
    check_block(entry, "after pwrite");
    ledger_moving(entry);
    MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes), -1);
    entry->generation = 0;
    ledger_stable(entry);
    breathe(churner);
    check_block(entry, "after the hole was punched");
  }
  close(fd);
}

/* The child sees the memory of the fork, writes its own copy and says so by its exit status. */
static void churn_fork(struct churner *churner)
{
  make_block(churner, churner->own, 8, MAP_PRIVATE);
  while (!atomic_load(&stopping)) {
    pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (!block_holds(churner->own)) _exit(1);
      fill_block(block_of(churner->own), 0, churner->own->pages, 1);
      struct timespec pause = timespec_of(churner->random % 2000000);
      if (clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL)) _exit(2);
      _exit(7);
    }
    if (!MUST(child, -1)) return;
    int status = 0;
    pid_t waited = waitpid(child, &status, 0);
    if (waited != child) problem("churn: waitpid returned %d: %s", waited, strerror(errno));
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 7) problem("churn: the child ended with status %#x", status);
    check_block(churner->own, "after fork");
    breathe(churner);
  }
}

/* Nobody else moves the break: churn_begin gave malloc all it will need. */
static void churn_heap(struct churner *churner)
{
  struct ledger_entry *entry = churner->own;
  uintptr_t misaligned = (uintptr_t)sbrk(0) % page_bytes;
  if (misaligned && !MUST(sbrk((intptr_t)(page_bytes - misaligned)), (void *)-1)) return;
  char *base = sbrk(0);
  ledger_moving(entry);
  ledger_set(entry, base, 0, ++churner->generation);
  ledger_stable(entry);
  while (!atomic_load(&stopping)) {
    size_t old = entry->pages, pages = old > 256 ? upto(churner, 16) : old + 1 + upto(churner, 32);
    check_block(entry, "before brk");
    ledger_moving(entry);
    char *end = sbrk(((intptr_t)pages - (intptr_t)old) * (intptr_t)page_bytes);
    if (end != base + old * page_bytes) { problem("churn: the break was at %p", (void *)end); return; }
    if (pages > old) fill_block(base, old, pages, entry->generation);
    entry->pages = pages;
    ledger_stable(entry);
    breathe(churner);
  }
}

static void *short_life(void *argument)
{
  volatile uint64_t stack[512];
  uint64_t seed = (uint64_t)(uintptr_t)argument;
  for (uint64_t i = 0; i < 512; i++) stack[i] = mix(seed + i);
  sched_yield();
  for (uint64_t i = 0; i < 512; i++)
    if (stack[i] != mix(seed + i)) problem("churn: the stack of a short thread changed at word %" PRIu64, i);
  return (void *)(uintptr_t)mix(seed);
}

static void churn_threads(struct churner *churner)
{
  while (!atomic_load(&stopping)) {
    pthread_t threads[4];
    size_t count = 1 + upto(churner, 4);
    uint64_t seed = next_random(&churner->random);
    for (size_t i = 0; i < count; i++) {
      int error = pthread_create(&threads[i], NULL, short_life, (void *)(uintptr_t)(seed + i));
      if (error) { problem("churn: pthread_create: %s", strerror(error)); return; }
    }
    for (size_t i = 0; i < count; i++) {
      void *result = NULL;
      if (pthread_join(threads[i], &result) || result != (void *)(uintptr_t)mix(seed + i))
        problem("churn: pthread_join gave %p", result);
    }
    breathe(churner);
  }
}

static struct churner churners[] = {
  {.name = "map", .body = churn_map, .entries = 16},
  {.name = "remap", .body = churn_remap, .entries = 6},
  {.name = "protect", .body = churn_protect, .entries = 4},
  {.name = "discard", .body = churn_discard, .entries = 4},
  {.name = "memfd", .body = churn_memfd, .entries = 1},
  {.name = "fork", .body = churn_fork, .entries = 1},
  {.name = "heap", .body = churn_heap, .entries = 1},
  {.name = "threads", .body = churn_threads, .entries = 0},
};
#define CHURNERS (sizeof churners / sizeof *churners)

static void *churner_main(void *argument)
{
  struct churner *churner = argument;
  churner->body(churner);
  return NULL;
}

static void churn_begin(void)
{
  mallopt(M_TRIM_THRESHOLD, 1 << 28);
  mallopt(M_MMAP_THRESHOLD, 1 << 28);
  free(malloc(4 << 20));
  size_t next = 0;
  for (size_t i = 0; i < CHURNERS; i++) {
    churners[i].own = &ledger[next];
    churners[i].random = mix(i);
    /* Generations of two churners never meet, so a block in a wrong place is seen. */
    churners[i].generation = (uint64_t)(i + 1) << 40;
    next += churners[i].entries;
    start_thread(&churners[i].thread, churner_main, &churners[i]);
  }
  if (next > LEDGER_ENTRIES) die("the ledger is too small");
  churn_signals_begin();
}

static void churn_end(char *counters, size_t size)
{
  size_t length = (size_t)snprintf(counters, size, ",\"churn\":{");
  for (size_t i = 0; i < CHURNERS; i++) {
    pthread_join(churners[i].thread, NULL);
    length += (size_t)snprintf(counters + length, size - length, "\"%s\":%" PRIu64 ",", churners[i].name, churners[i].operations);
    if (churners[i].operations == 0) problem("churn: %s did nothing", churners[i].name);
  }
  for (size_t i = 0; i < LEDGER_ENTRIES; i++)
    if (ledger[i].state == LEDGER_STABLE && ledger[i].access == LEDGER_READABLE) check_block(&ledger[i], "at the end");
  churn_signals_end(counters + length, size - length);
}

#endif
