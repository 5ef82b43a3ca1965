/*
 * wavefront THREADS PAGES_PER_THREAD [churn] [shared|thp|file] [pace=TURNS] [cold=PAGES]
 *
 * Waves of counters run through memory, one region per thread, at full speed (or with TURNS idle
 * turns after each page). At any instant a region shows one step, and where that step is stands
 * in the thread's registers: a torn image cannot agree with itself. See wavefront-loop.h.
 * `cold` adds a region per thread that is written once, to make clean pages.
 */
#include "guest.h"
#include "ledger.h"
#include "wavefront-loop.h"
#include "churn.h"
#include <fcntl.h>

struct worker {
  struct wave wave;
  pthread_t thread;
  volatile pid_t tid;
  uint64_t cold_pages;
  char *cold;
  long result;
};

struct options { size_t threads, pages, pace, cold; bool churn; const char *kind; };

static const char *const failures[] = {"", "first word", "last word", "vector registers", "stack canary", "tag register",
                                       "floating point control register"};

static void *work(void *argument)
{
  struct worker *worker = argument;
  worker->tid = thread_id();
  worker->result = wavefront_loop(&worker->wave);
  if (worker->result != WAVE_STOPPED)
    problem("wavefront: %s wrong at page %" PRIu64 " of the region at %#" PRIx64 ", after wave %" PRIu64 ": found %#" PRIx64,
            failures[worker->result], worker->wave.failed_at, worker->wave.base, worker->wave.published,
            worker->wave.found);
  return NULL;
}

static char *make_region(const struct options *options, size_t index, int fd)
{
  size_t bytes = options->pages * page_bytes;
  if (!strcmp(options->kind, "thp")) return map_aligned(bytes, MADV_HUGEPAGE);
  if (!strcmp(options->kind, "shared")) return map_pages(options->pages, MAP_SHARED | MAP_ANONYMOUS, -1);
  if (!strcmp(options->kind, "file")) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(index * bytes));
    if (at == MAP_FAILED) die("mmap of the file: %s", strerror(errno));
    return at;
  }
  char *at = map_pages(options->pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  (void)madvise(at, bytes, MADV_NOHUGEPAGE);
  return at;
}

static int make_file(const struct options *options)
{
  if (strcmp(options->kind, "file")) return -1;
  char name[64];
  /* In the current directory, which the harness makes and removes. */
  snprintf(name, sizeof name, "wavefront-%d.data", (int)getpid());
  int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)(options->threads * options->pages * page_bytes)) < 0)
    die("file %s: %s", name, strerror(errno));
  return fd;
}

static void make_worker(struct worker *worker, const struct options *options, size_t index, int fd)
{
  struct wave *wave = &worker->wave;
  wave->base = (uintptr_t)make_region(options, index, fd);
  wave->pages = options->pages;
  wave->page_bytes = page_bytes;
  wave->last_offset = LAST_WORD_OFFSET;
  wave->tag = mix(index) | 1;
  wave->pace = options->pace;
  wave->stop = (volatile int *)&stopping;
#if defined(__x86_64__)
  wave->has_avx = __builtin_cpu_supports("avx") ? 1 : 0;
#endif
  for (int i = 0; i < 16; i++) wave->constants[i] = mix(wave->tag + (uint64_t)i);
  for (size_t p = 0; p < options->pages; p++) {
    char *page = (char *)(uintptr_t)wave->base + p * page_bytes;
    *first_word(page) = *last_word(page) = 0;
  }
  worker->cold_pages = options->cold;
  if (!options->cold) return;
  worker->cold = map_pages(options->cold, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  fill_block(worker->cold, 0, options->cold, wave->tag);
}

static void parse(struct options *options, int argc, char **argv)
{
  *options = (struct options){.kind = "anon"};
  if (argc < 3) die("usage: wavefront THREADS PAGES [churn] [shared|thp|file] [pace=N] [cold=N]");
  options->threads = strtoul(argv[1], NULL, 10);
  options->pages = strtoul(argv[2], NULL, 10);
  for (int i = 3; i < argc; i++) {
    if (!strcmp(argv[i], "churn")) options->churn = true;
    else if (!strncmp(argv[i], "pace=", 5)) options->pace = strtoul(argv[i] + 5, NULL, 10);
    else if (!strncmp(argv[i], "cold=", 5)) options->cold = strtoul(argv[i] + 5, NULL, 10);
    else if (!strcmp(argv[i], "shared") || !strcmp(argv[i], "thp") || !strcmp(argv[i], "file")) options->kind = argv[i];
    else die("wavefront does not know %s", argv[i]);
  }
  if (!options->threads || !options->pages) die("wavefront: THREADS and PAGES must be 1 or more");
}

static void print_ready(const struct options *options, const struct worker *workers)
{
  printf("{\"pid\":%d,\"ready\":true,\"guest\":\"wavefront\",\"kind\":\"%s\",\"churn\":%s,\"pageBytes\":%zu,"
         "\"firstOffset\":%d,\"lastOffset\":%zu,\"avx\":%s,\"code\":{\"start\":\"%p\",\"end\":\"%p\"},\"threads\":[",
         (int)getpid(), options->kind, options->churn ? "true" : "false", page_bytes, FIRST_WORD_OFFSET,
         LAST_WORD_OFFSET, workers[0].wave.has_avx ? "true" : "false", (const void *)wavefront_begin, (const void *)wavefront_end);
  for (size_t i = 0; i < options->threads; i++) {
    const struct worker *worker = &workers[i];
    printf("%s{\"tid\":%d,\"start\":\"%#" PRIx64 "\",\"pages\":%" PRIu64 ",\"published\":\"%p\",\"struct\":\"%p\","
           "\"tag\":\"%#" PRIx64 "\",\"vectors\":\"%p\"",
           i ? "," : "", worker->tid, worker->wave.base, worker->wave.pages, (void *)&worker->wave.published,
           (void *)&worker->wave, worker->wave.tag, (void *)worker->wave.constants);
    if (worker->cold) printf(",\"cold\":{\"start\":\"%p\",\"pages\":%" PRIu64 "}", (void *)worker->cold, worker->cold_pages);
    printf("}");
  }
  printf("]");
  if (options->churn) print_ledger();
  printf("}\n");
  fflush(stdout);
}

/* The threads have ended between two waves, so every page must hold the last one. */
static void verify(const struct options *options, struct worker *worker)
{
  const struct wave *wave = &worker->wave;
  if (worker->result == WAVE_STOPPED && wave->published == 0) problem("thread %d never completed a wave", worker->tid);
  for (size_t p = 0; p < options->pages; p++) {
    const char *page = (const char *)(uintptr_t)wave->base + p * page_bytes;
    if (worker->result == WAVE_STOPPED && (*first_word(page) != wave->published || *last_word(page) != wave->published))
      problem("page %zu at %#" PRIx64 " does not hold the last wave", p, wave->base);
  }
  struct ledger_entry cold = {.address = (uintptr_t)worker->cold, .pages = worker->cold_pages, .generation = wave->tag};
  check_block(&cold, "in the cold region");
}

int main(int argc, char **argv)
{
  guest_begin();
  struct options options;
  parse(&options, argc, argv);
  int fd = make_file(&options);
  size_t bytes = (options.threads * sizeof(struct worker) + page_bytes - 1) / page_bytes;
  struct worker *workers = map_pages(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (size_t i = 0; i < options.threads; i++) make_worker(&workers[i], &options, i, fd);
  for (size_t i = 0; i < options.threads; i++) start_thread(&workers[i].thread, work, &workers[i]);
  for (size_t i = 0; i < options.threads; i++)
    while (!workers[i].tid || !workers[i].wave.published) {
      if (atomic_load(&stopping)) guest_end(",\"guest\":\"wavefront\"");
      sleep_ns(100000);
    }
  if (options.churn) churn_begin();
  print_ready(&options, workers);
  wait_for_end();
  uint64_t waves = 0;
  for (size_t i = 0; i < options.threads; i++) {
    pthread_join(workers[i].thread, NULL);
    verify(&options, &workers[i]);
    waves += workers[i].wave.published;
  }
  char counters[1024] = "";
  if (options.churn) churn_end(counters, sizeof counters);
  guest_end(",\"guest\":\"wavefront\",\"waves\":%" PRIu64 "%s", waves, counters);
}
