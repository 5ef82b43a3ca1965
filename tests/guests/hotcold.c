/*
 * hotcold HOT_MIB COLD_MIB [shared]
 *
 * A program whose memory is mostly swapped out. It reads and writes its hot set round and round, at a
 * few milliseconds a round, and never touches its cold set again. On stdin: "out" has the kernel page
 * the cold set out and answers how many of its pages are in memory still; "rounds" answers how many
 * rounds were made and how long the slowest took.
 *
 * Both sets follow the ledger's rule: the cold one that of generation 1 for ever; of the hot one two
 * words of each page count the rounds, so that an image shows one step of them at most.
 */
#include "guest.h"
#include "ledger.h"

static char *hot, *cold;
static size_t hot_pages, cold_pages;
static atomic_ulong rounds, slowest_ns;

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
    uint64_t began = now_ns();
    for (size_t p = 0; p < hot_pages; p++) {
      char *page = hot + p * page_bytes;
      if (*first_word(page) != round - 1 || *last_word(page) != round - 1)
        problem("hot page %zu holds %" PRIu64 " and %" PRIu64 " in round %" PRIu64, p, *first_word(page), *last_word(page), round);
      *first_word(page) = round;
      *last_word(page) = round;
    }
    uint64_t took = now_ns() - began;
    if (took > atomic_load(&slowest_ns)) atomic_store(&slowest_ns, took);
    atomic_store(&rounds, round);
    sleep_ns(2000000);
  }
  return argument;
}

static size_t resident(const char *start, size_t pages)
{
  unsigned char in[4096];
  size_t count = 0;
  for (size_t p = 0; p < pages; p += sizeof in) {
    size_t some = pages - p < sizeof in ? pages - p : sizeof in;
    if (mincore((void *)(start + p * page_bytes), some * page_bytes, in)) return pages;
    for (size_t i = 0; i < some; i++) count += in[i] & 1;
  }
  return count;
}

static void answer_out(void)
{
  if (madvise(cold, cold_pages * page_bytes, MADV_PAGEOUT)) problem("MADV_PAGEOUT: %s", strerror(errno));
  printf("{\"reply\":\"out\",\"coldPagesInMemory\":%zu}\n", resident(cold, cold_pages));
  fflush(stdout);
}

static void answer_rounds(void)
{
  printf("{\"reply\":\"rounds\",\"rounds\":%lu,\"slowestNs\":%lu}\n", atomic_load(&rounds), atomic_exchange(&slowest_ns, 0));
  fflush(stdout);
}

int main(int argc, char **argv)
{
  guest_begin();
  if (argc < 3) die("usage: hotcold HOT_MIB COLD_MIB [shared]");
  bool shared = argc > 3 && !strcmp(argv[3], "shared");
  hot_pages = (strtoul(argv[1], NULL, 10) << 20) / page_bytes;
  cold_pages = (strtoul(argv[2], NULL, 10) << 20) / page_bytes;
  if (!hot_pages || !cold_pages) die("hotcold: nothing to do");
  hot = map_pages(hot_pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  cold = map_pages(cold_pages, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1);
  (void)madvise(hot, hot_pages * page_bytes, MADV_NOHUGEPAGE);
  (void)madvise(cold, cold_pages * page_bytes, MADV_NOHUGEPAGE);
  fill_block(cold, 0, cold_pages, 1);
  fill_hot();
  pthread_t worker;
  start_thread(&worker, work, NULL);
  printf("{\"pid\":%d,\"ready\":true,\"guest\":\"hotcold\",\"kind\":\"%s\",\"pageBytes\":%zu,\"firstOffset\":%d,\"lastOffset\":%zu,"
         "\"hot\":{\"start\":\"%p\",\"pages\":%zu},\"cold\":{\"start\":\"%p\",\"pages\":%zu}}\n",
         (int)getpid(), shared ? "shared" : "anon", page_bytes, FIRST_WORD_OFFSET, LAST_WORD_OFFSET, (void *)hot, hot_pages, (void *)cold, cold_pages);
  fflush(stdout);
  char line[64];
  while (guest_line(line, sizeof line)) {
    if (!strcmp(line, "out")) answer_out();
    else if (!strcmp(line, "rounds")) answer_rounds();
    else problem("hotcold does not know the line %s", line);
  }
  atomic_store(&stopping, 1);
  pthread_join(worker, NULL);
  struct ledger_entry entry;
  ledger_set(&entry, cold, cold_pages, 1);
  check_block(&entry, "at the end");
  guest_end(",\"guest\":\"hotcold\",\"rounds\":%lu", atomic_load(&rounds));
}
