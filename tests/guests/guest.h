/*
 * What every test guest shares: it dies with its parent, says when it is ready in one line of
 * JSON, works until stdin closes or SIGTERM comes, then checks itself and says so in a last line.
 *
 * Every guest is its own witness: a tool that tears its memory, loses a write, swallows a signal
 * or makes a syscall fail must be caught by the guest and not only by whoever reads the image.
 */
#ifndef GUEST_H
#define GUEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Content words sit near both ends of a page, so that half a page copied late is seen. */
#define FIRST_WORD_OFFSET 64
#define LAST_WORD_OFFSET (page_bytes - 64)

static size_t page_bytes;
static atomic_int stopping;
static int term_fd = -1;
static char problem_text[512];
static atomic_int problem_state; /* 0 none, 1 being written, 2 written */

static void vnote(const char *format, va_list args)
{
  int none = 0;
  if (!atomic_compare_exchange_strong(&problem_state, &none, 1)) return;
  vsnprintf(problem_text, sizeof problem_text, format, args);
  for (char *c = problem_text; *c; c++)
    if (*c == '"' || *c == '\\' || *c == '\n') *c = '\'';
  atomic_store(&problem_state, 2);
}

/* Keeps the first problem: what follows from it is noise. It also tells everybody to stop. */
__attribute__((format(printf, 1, 2), unused)) static void problem(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  vnote(format, args);
  va_end(args);
  atomic_store(&stopping, 1);
}

/* A problem after which the guest goes on, to count how many more of its kind there are. */
__attribute__((format(printf, 1, 2), unused)) static void note(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  vnote(format, args);
  va_end(args);
}

__attribute__((format(printf, 1, 2), unused, noreturn)) static void die(const char *format, ...)
{
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  printf("{\"ok\":false,\"problem\":\"%s\"}\n", text);
  fflush(stdout);
  _exit(1);
}

__attribute__((unused, noreturn)) static void skip(const char *reason)
{
  printf("{\"skipped\":\"%s\"}\n", reason);
  fflush(stdout);
  _exit(0);
}

static inline uint64_t clock_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

__attribute__((unused)) static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

__attribute__((unused)) static struct timespec timespec_of(uint64_t ns)
{
  return (struct timespec){.tv_sec = (time_t)(ns / 1000000000ull), .tv_nsec = (long)(ns % 1000000000ull)};
}

/* Sleeps until an absolute time, so that being stopped meanwhile cannot make it drift. */
__attribute__((unused)) static void sleep_ns(uint64_t ns)
{
  struct timespec until = timespec_of(now_ns() + ns);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) { }
}

__attribute__((unused)) static pid_t thread_id(void) { return (pid_t)syscall(SYS_gettid); }

/* splitmix64: every input gives an unlike output, so a page number makes a page's contents. */
__attribute__((unused)) static uint64_t mix(uint64_t value)
{
  value += 0x9e3779b97f4a7c15ull;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

__attribute__((unused)) static uint64_t next_random(uint64_t *state) { return mix((*state)++ ^ 0x7469646d61726bull); }

__attribute__((unused)) static volatile uint64_t *first_word(const void *page)
{
  return (volatile uint64_t *)((const char *)page + FIRST_WORD_OFFSET);
}

__attribute__((unused)) static volatile uint64_t *last_word(const void *page)
{
  return (volatile uint64_t *)((const char *)page + LAST_WORD_OFFSET);
}

__attribute__((unused)) static void *map_pages(size_t pages, int flags, int fd)
{
  void *at = mmap(NULL, pages * page_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (at == MAP_FAILED) die("mmap of %zu pages: %s", pages, strerror(errno));
  return at;
}

/* Reserves address space aligned to 2 MiB, for huge pages. */
__attribute__((unused)) static void *map_aligned(size_t bytes, int advice)
{
  const size_t huge = 2u << 20;
  char *raw = mmap(NULL, bytes + huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) die("reserving %zu bytes: %s", bytes, strerror(errno));
  char *start = (char *)(((uintptr_t)raw + huge - 1) & ~(uintptr_t)(huge - 1));
  void *at = mmap(start, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (at == MAP_FAILED) die("mmap of %zu bytes: %s", bytes, strerror(errno));
  /* A kernel without huge pages refuses the advice: the guest is as good without. */
  (void)madvise(at, bytes, advice);
  return at;
}

struct beginning { void *(*body)(void *); void *argument; atomic_int begun; };

static void *begin_thread(void *argument)
{
  struct beginning *beginning = argument;
  void *(*body)(void *) = beginning->body;
  void *body_argument = beginning->argument;
  atomic_store(&beginning->begun, 1);
  return body(body_argument);
}

/*
 * Returns when the thread is in its body: before, the C library has its signals blocked, which
 * would look as if somebody had changed its mask.
 */
__attribute__((unused)) static void start_thread(pthread_t *thread, void *(*body)(void *), void *argument)
{
  struct beginning beginning = {.body = body, .argument = argument};
  int error = pthread_create(thread, NULL, begin_thread, &beginning);
  if (error) die("pthread_create: %s", strerror(error));
  while (!atomic_load(&beginning.begun)) sched_yield();
}

/*
 * Signals are blocked in every thread of a guest; a thread that wants one opens its own mask. Not
 * those that an instruction causes: the kernel would unblock them, once and for ever, to deliver one.
 */
__attribute__((unused)) static void guest_begin(void)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  page_bytes = (size_t)sysconf(_SC_PAGESIZE);
  sigset_t all, term;
  sigfillset(&all);
  const int caused[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT};
  for (size_t i = 0; i < sizeof caused / sizeof *caused; i++) sigdelset(&all, caused[i]);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  term_fd = signalfd(-1, &term, SFD_CLOEXEC);
  if (term_fd < 0) die("signalfd: %s", strerror(errno));
  /* A harness that died must not kill the guest by SIGPIPE before its own checks are done. */
  signal(SIGPIPE, SIG_IGN);
}

/*
 * Waits for a line on stdin. False when the guest is to end: end of file, SIGTERM or a problem.
 * Byte by byte and unbuffered, so that a guest that execs itself loses nothing.
 */
__attribute__((unused)) static bool guest_line(char *line, size_t size)
{
  size_t length = 0;
  for (;;) {
    struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = term_fd, .events = POLLIN}};
    if (atomic_load(&stopping)) return false;
    int ready = poll(fds, 2, 100);
    /* Every signal is blocked here, so the kernel has no reason to say EINTR. */
    if (ready < 0) { problem("poll on stdin: %s", strerror(errno)); return false; }
    if (fds[1].revents) return false;
    if (!fds[0].revents) continue;
    char c;
    if (read(0, &c, 1) != 1) return false;
    if (c == '\n') { line[length] = 0; return true; }
    if (length + 1 < size) line[length++] = c;
  }
}

/* For guests that take no commands. */
__attribute__((unused)) static void wait_for_end(void)
{
  char line[256];
  while (guest_line(line, sizeof line)) { }
  atomic_store(&stopping, 1);
}

/* The last line. `format` is the counters, each beginning with a comma. */
__attribute__((format(printf, 1, 2), unused, noreturn)) static void guest_end(const char *format, ...)
{
  int state = atomic_load(&problem_state);
  while (state == 1) { sched_yield(); state = atomic_load(&problem_state); }
  if (state == 2) printf("{\"ok\":false,\"problem\":\"%s\"", problem_text);
  else printf("{\"ok\":true");
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  printf("}\n");
  fflush(stdout);
  _exit(state == 2);
}

#endif
