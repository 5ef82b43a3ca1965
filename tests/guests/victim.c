/*
 * victim MIB WRITES_PER_SECOND [thp] [threads N]
 *
 * A program to measure stalls with. Fills MIB with words that do not compress, then writes random
 * pages at the given rate from a busy loop that reads the clock on every turn, so that its own
 * stalls are measured as finely as a clock read. Writes missed by more than 1 ms are dropped and
 * counted, not caught up with: a burst after a stall would be a second disturbance.
 *
 * On stdin: "mark" answers the gaps since the last mark; "fork FILE" makes a background save as
 * a database does: the writing thread forks, the child writes the memory to FILE.
 *
 * Invariant: the first word of page p is sequence[p], or sequence[p] + 1 for at most one page per
 * thread; its last word is mix(first word + p); its other words are those of the beginning.
 */
#include "guest.h"
#include <fcntl.h>

struct gaps { uint64_t worst, over_1ms, sum_over_100us, over_100us, writes, missed, since; };

struct ticker {
  struct gaps gaps, marked;
  uint64_t first_page, pages, interval, random;
  atomic_int mark_wanted, fork_wanted;
  pthread_t thread;
} __attribute__((aligned(128)));

static char *region;
static uint64_t region_pages, *sequence;
static struct ticker *tickers;
static size_t ticker_count = 1;
static char fork_file[512];
static struct { pid_t child; int pipe[2]; uint64_t began, ns; bool running; } background;

/* Words 1 to last-1 of a page never change. */
static void fill_page(uint64_t page)
{
  uint64_t *words = (uint64_t *)(region + page * page_bytes), count = page_bytes / 8;
  for (uint64_t i = 1; i < count; i++) words[i] = mix(page * count + i);
  words[0] = 0;
  words[count - 1] = mix(page);
}

static bool page_is_right(uint64_t page)
{
  const uint64_t *words = (const uint64_t *)(region + page * page_bytes), count = page_bytes / 8;
  if (words[0] != sequence[page] || words[count - 1] != mix(words[0] + page)) return false;
  for (uint64_t i = 1; i + 1 < count; i++)
    if (words[i] != mix(page * count + i)) return false;
  return true;
}

static void write_page(struct ticker *ticker)
{
  uint64_t page = ticker->first_page + next_random(&ticker->random) % ticker->pages;
  volatile uint64_t *words = (volatile uint64_t *)(region + page * page_bytes);
  uint64_t value = sequence[page] + 1;
  words[0] = value;
  words[page_bytes / 8 - 1] = mix(value + page);
  atomic_signal_fence(memory_order_seq_cst);
  ((volatile uint64_t *)sequence)[page] = value;
  ticker->gaps.writes++;
}

/* The child of a background save: 1 MiB at a time and out, without stdio or malloc. */
static void save_and_exit(void)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int fd = open(fork_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) _exit(2);
  size_t bytes = region_pages * page_bytes;
  for (size_t done = 0; done < bytes;) {
    size_t chunk = bytes - done < (1u << 20) ? bytes - done : 1u << 20;
    ssize_t count = write(fd, region + done, chunk);
    if (count <= 0) _exit(3);
    done += (size_t)count;
  }
  _exit(0);
}

static void fork_here(void)
{
  background.began = now_ns();
  background.child = fork();
  if (background.child == 0) save_and_exit();
  background.ns = now_ns() - background.began;
}

static void serve_requests(struct ticker *ticker, uint64_t now)
{
  if (atomic_load_explicit(&ticker->mark_wanted, memory_order_relaxed)) {
    ticker->marked = ticker->gaps;
    ticker->marked.since = now - ticker->gaps.since;
    ticker->gaps = (struct gaps){.since = now};
    atomic_store(&ticker->mark_wanted, 0);
  }
  if (atomic_load_explicit(&ticker->fork_wanted, memory_order_relaxed)) {
    fork_here();
    atomic_store(&ticker->fork_wanted, 0);
  }
}

/* Every turn ends in one clock read, so a gap is a stall of this thread: a fault, a stop, a fork. */
static void *tick(void *argument)
{
  struct ticker *ticker = argument;
  uint64_t last = now_ns(), due = last;
  ticker->gaps.since = last;
  while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
    if (ticker->interval && last >= due) {
      write_page(ticker);
      due += ticker->interval;
      if (last > due + 1000000) {
        uint64_t dropped = (last - due) / ticker->interval;
        ticker->gaps.missed += dropped;
        due += dropped * ticker->interval;
      }
    }
    serve_requests(ticker, last);
    uint64_t now = now_ns(), gap = now - last;
    if (gap > 100000) {
      ticker->gaps.sum_over_100us += gap;
      ticker->gaps.over_100us++;
      if (gap > 1000000) ticker->gaps.over_1ms++;
    }
    if (gap > ticker->gaps.worst) ticker->gaps.worst = gap;
    last = now;
  }
  return NULL;
}

static void answer_mark(void)
{
  struct gaps sum = {0};
  for (size_t i = 0; i < ticker_count; i++) atomic_store(&tickers[i].mark_wanted, 1);
  for (size_t i = 0; i < ticker_count; i++) {
    while (atomic_load(&tickers[i].mark_wanted)) sleep_ns(50000);
    const struct gaps *gaps = &tickers[i].marked;
    if (gaps->worst > sum.worst) sum.worst = gaps->worst;
    if (gaps->since > sum.since) sum.since = gaps->since;
    sum.over_1ms += gaps->over_1ms;
    sum.over_100us += gaps->over_100us;
    sum.sum_over_100us += gaps->sum_over_100us;
    sum.writes += gaps->writes;
    sum.missed += gaps->missed;
  }
  printf("{\"reply\":\"mark\",\"worstGapNs\":%" PRIu64 ",\"gapsOver1ms\":%" PRIu64 ",\"gapsOver100us\":%" PRIu64
         ",\"sumGapsOver100usNs\":%" PRIu64 ",\"writes\":%" PRIu64 ",\"missedWrites\":%" PRIu64 ",\"sinceNs\":%" PRIu64 "}\n",
         sum.worst, sum.over_1ms, sum.over_100us, sum.sum_over_100us, sum.writes, sum.missed, sum.since);
  fflush(stdout);
}

/* The pipe's only writer is the child, so its end of file is the child's end, told at once. */
static void *await_child(void *argument)
{
  char byte;
  while (read(background.pipe[0], &byte, 1) < 0 && errno == EINTR) { }
  uint64_t total = now_ns() - background.began;
  int status = 0;
  waitpid(background.child, &status, 0);
  close(background.pipe[0]);
  background.running = false;
  printf("{\"reply\":\"fork\",\"forkNs\":%" PRIu64 ",\"childTotalNs\":%" PRIu64 ",\"childStatus\":%d,\"bytes\":%" PRIu64 "}\n",
         background.ns, total, status, region_pages * page_bytes);
  fflush(stdout);
  return argument;
}

static void begin_fork(const char *file)
{
  if (background.running) { problem("fork while the last one goes on"); return; }
  snprintf(fork_file, sizeof fork_file, "%s", file);
  if (pipe(background.pipe)) { problem("pipe: %s", strerror(errno)); return; }
  background.running = true;
  atomic_store(&tickers[0].fork_wanted, 1);
  while (atomic_load(&tickers[0].fork_wanted)) sleep_ns(100000);
  close(background.pipe[1]);
  if (background.child < 0) { problem("fork failed"); return; }
  pthread_t waiter;
  start_thread(&waiter, await_child, NULL);
  pthread_detach(waiter);
}

static void make_tickers(uint64_t rate)
{
  size_t bytes = ticker_count * sizeof(struct ticker);
  tickers = map_pages((bytes + page_bytes - 1) / page_bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (size_t i = 0; i < ticker_count; i++) {
    uint64_t first = region_pages * i / ticker_count, end = region_pages * (i + 1) / ticker_count;
    tickers[i].first_page = first;
    tickers[i].pages = end - first;
    tickers[i].interval = rate ? 1000000000ull * ticker_count / rate : 0;
    if (rate && !tickers[i].interval) tickers[i].interval = 1;
    tickers[i].random = mix(i + 17);
    start_thread(&tickers[i].thread, tick, &tickers[i]);
  }
}

static void verify(void)
{
  for (size_t i = 0; i < ticker_count; i++) pthread_join(tickers[i].thread, NULL);
  for (uint64_t page = 0; page < region_pages; page++)
    if (!page_is_right(page)) {
      problem("page %" PRIu64 " at %p does not hold write %" PRIu64, page, (void *)(region + page * page_bytes), sequence[page]);
      return;
    }
}

int main(int argc, char **argv)
{
  guest_begin();
  bool thp = false;
  if (argc < 3) die("usage: victim MIB WRITES_PER_SECOND [thp] [threads N]");
  for (int i = 3; i < argc; i++) {
    if (!strcmp(argv[i], "thp")) thp = true;
    else if (!strcmp(argv[i], "threads") && i + 1 < argc) ticker_count = strtoul(argv[++i], NULL, 10);
    else die("victim does not know %s", argv[i]);
  }
  size_t bytes = strtoul(argv[1], NULL, 10) << 20;
  region_pages = bytes / page_bytes;
  if (!region_pages || !ticker_count || ticker_count > region_pages) die("victim: nothing to do");
  region = map_aligned(bytes, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  sequence = map_pages((region_pages * 8 + page_bytes - 1) / page_bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (uint64_t page = 0; page < region_pages; page++) fill_page(page);
  memset(sequence, 0, region_pages * 8);
  make_tickers(strtoull(argv[2], NULL, 10));
  printf("{\"pid\":%d,\"ready\":true,\"guest\":\"victim\",\"kind\":\"%s\",\"pageBytes\":%zu,\"threads\":%zu,"
         "\"regions\":[{\"start\":\"%p\",\"pages\":%" PRIu64 "}],\"sequence\":\"%p\"}\n",
         (int)getpid(), thp ? "thp" : "anon", page_bytes, ticker_count, (void *)region, region_pages, (void *)sequence);
  fflush(stdout);
  char line[512];
  while (guest_line(line, sizeof line)) {
    if (!strcmp(line, "mark")) answer_mark();
    else if (!strncmp(line, "fork ", 5)) begin_fork(line + 5);
    else problem("victim does not know the line %s", line);
  }
  atomic_store(&stopping, 1);
  verify();
  uint64_t writes = 0, worst = 0;
  for (uint64_t page = 0; page < region_pages; page++) writes += sequence[page];
  for (size_t i = 0; i < ticker_count; i++)
    if (tickers[i].gaps.worst > worst) worst = tickers[i].gaps.worst;
  guest_end(",\"guest\":\"victim\",\"writes\":%" PRIu64 ",\"worstGapNs\":%" PRIu64, writes, worst);
}
