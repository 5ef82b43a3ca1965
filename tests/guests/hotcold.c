/*
 * hotcold HOT_MIB COLD_MIB [shared|file] [fork]
 *
 * A program most of whose memory may be swapped out. It reads and writes its hot set round and round, a
 * few milliseconds a round, and never touches its cold set again before its end. A `shared` cold set is followed
 * by a hole of its size; one of a `file` is a private mapping, every page written. With `fork` a child, which does nothing, shares the memory.
 *
 * The cold set is a block of the ledger's generation 1 for ever. Two words of each hot page count the
 * rounds, so that an image shows one step of them at most.
 */
#include "guest.h"
#include "ledger.h"
#include <fcntl.h>

static char *hot, *cold;
static size_t hot_pages, cold_pages;
static atomic_ulong rounds;

/* Words that do not compress, so that a swap device in memory has its work with them. */
static void fill_hot(void)
{
  uint64_t *words = (uint64_t *)hot;
  for (size_t i = 0; i < hot_pages * page_bytes / 8; i++) words[i] = mix(i);
  for (size_t p = 0; p < hot_pages; p++) *first_word(hot + p * page_bytes) = *last_word(hot + p * page_bytes) = 0;
}

static void *work(void *argument)
{
  for (uint64_t round = 1; !atomic_load_explicit(&stopping, memory_order_relaxed); round++) {
    for (size_t p = 0; p < hot_pages; p++) {
      char *page = hot + p * page_bytes;
      if (*first_word(page) != round - 1 || *last_word(page) != round - 1)
        problem("hot page %zu holds %" PRIu64 " and %" PRIu64 " in round %" PRIu64, p, *first_word(page), *last_word(page), round);
      *first_word(page) = round;
      *last_word(page) = round;
    }
    atomic_store(&rounds, round);
    sleep_ns(2000000);
  }
  return argument;
}

static char *map_cold(const char *kind)
{
  if (!strcmp(kind, "shared")) return map_pages(2 * cold_pages, MAP_SHARED | MAP_ANONYMOUS, -1);
  if (strcmp(kind, "file")) return map_pages(cold_pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  /* In the current directory, which the harness makes and removes. */
  int fd = open("hotcold.data", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)(cold_pages * page_bytes)) < 0) die("hotcold.data: %s", strerror(errno));
  return map_pages(cold_pages, MAP_PRIVATE, fd);
}

static pid_t fork_sharer(void)
{
  pid_t child = fork();
  if (child < 0) die("fork: %s", strerror(errno));
  if (child) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  close(1);
  for (;;) pause();
}

int main(int argc, char **argv)
{
  guest_begin();
  if (argc < 3) die("usage: hotcold HOT_MIB COLD_MIB [shared|file] [fork]");
  const char *kind = "anon";
  bool forks = false;
  for (int i = 3; i < argc; i++) {
    if (!strcmp(argv[i], "shared") || !strcmp(argv[i], "file")) kind = argv[i];
    else if (!strcmp(argv[i], "fork")) forks = true;
    else die("hotcold does not know %s", argv[i]);
  }
  hot_pages = (strtoul(argv[1], NULL, 10) << 20) / page_bytes;
  cold_pages = (strtoul(argv[2], NULL, 10) << 20) / page_bytes;
  if (!hot_pages || !cold_pages) die("hotcold: nothing to do");
  hot = map_pages(hot_pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  cold = map_cold(kind);
  (void)madvise(hot, hot_pages * page_bytes, MADV_NOHUGEPAGE);
  (void)madvise(cold, cold_pages * page_bytes, MADV_NOHUGEPAGE);
  fill_block(cold, 0, cold_pages, 1);
  fill_hot();
  pid_t child = forks ? fork_sharer() : 0;
  pthread_t worker;
  start_thread(&worker, work, NULL);
  printf("{\"pid\":%d,\"ready\":true,\"guest\":\"hotcold\",\"kind\":\"%s\",\"pageBytes\":%zu,\"firstOffset\":%d,\"lastOffset\":%zu,"
         "\"hot\":{\"start\":\"%p\",\"pages\":%zu},\"cold\":{\"start\":\"%p\",\"pages\":%zu}}\n",
         (int)getpid(), kind, page_bytes, FIRST_WORD_OFFSET, LAST_WORD_OFFSET, (void *)hot, hot_pages, (void *)cold, cold_pages);
  fflush(stdout);
  wait_for_end();
  pthread_join(worker, NULL);
  if (child) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  struct ledger_entry entry;
  ledger_set(&entry, cold, cold_pages, 1);
  check_block(&entry, "at the end");
  guest_end(",\"guest\":\"hotcold\",\"rounds\":%lu", atomic_load(&rounds));
}
