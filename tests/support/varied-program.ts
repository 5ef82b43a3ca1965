/**
 * A C program with a thread of each kind that a core has to show rightly: asleep in several calls, spinning with known
 * vector registers, with a signal pending. It ends with 0 and `all is well` at the end of its input. Arguments: a file to map; `job-stops` if it will be stopped.
 */
export const VARIED = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

__thread long local;
static char written[3 * 4096] = "written";
static char untouched[1 << 20];
static long late_zero[8192];
char *heap, *mapped, *alone;
static volatile int ended, started, failures, signals;

static void begin(long number) { local = number * 111; __sync_fetch_and_add(&started, 1); }
static void fail(const char *what) { printf("%s: %s\\n", what, strerror(errno)); __sync_fetch_and_add(&failures, 1); }

/* A broken-off call that is not made again shows as EINTR. Only a job stop itself does that, and only to epoll_wait: signal(7). */
static int job_stops;
static void *wait_in_epoll(void *arg) {
  begin((long)arg);
  int set = epoll_create1(0);
  struct epoll_event event;
  while (!ended) if (epoll_wait(set, &event, 1, 200) != 0 && !(job_stops && errno == EINTR)) fail("epoll_wait");
  return 0;
}
static void *wait_in_poll(void *arg) {
  begin((long)arg);
  int ends[2];
  if (pipe(ends) != 0) fail("pipe");
  struct pollfd waited = {.fd = ends[0], .events = POLLIN};
  while (!ended) if (poll(&waited, 1, 200) != 0) fail("poll");
  return 0;
}
static void *wait_in_nanosleep(void *arg) {
  begin((long)arg);
  struct timespec time = {.tv_nsec = 200000000};
  while (!ended) if (nanosleep(&time, 0) != 0) fail("nanosleep");
  return 0;
}
static void on_signal(int number) { if (number == SIGUSR1 || number == SIGRTMIN) __sync_fetch_and_add(&signals, 1); }
static void *with_pending_signals(void *arg) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGRTMIN);
  pthread_sigmask(SIG_BLOCK, &set, 0);
  pthread_kill(pthread_self(), SIGUSR1);
  pthread_sigqueue(pthread_self(), SIGRTMIN, (union sigval){.sival_int = 5});
  begin((long)arg);
  while (!ended) usleep(100000);
  pthread_sigmask(SIG_UNBLOCK, &set, 0);
  if (signals != 2) fail("signals");
  return 0;
}
#if defined(__x86_64__)
static void *spin_with_avx(void *arg) {
  begin((long)arg);
  static const unsigned int pattern[8] = {0x11111111, 0x22222222, 0x33333333, 0x44444444, 0x55555555, 0x66666666, 0x77777777, 0x12345678};
  unsigned int result[8];
  double stack = 0;
  __asm__ volatile(
    "fldpi; fld1; vmovdqu (%1), %%ymm0; vmovdqu (%1), %%ymm15;"
    "1: cmpl $0, (%2); je 1b;"
    "vmovdqu %%ymm15, (%3); fstp %%st(0); fstpl (%0); vzeroupper"
    : : "r"(&stack), "r"(pattern), "r"(&ended), "r"(result) : "memory", "xmm0", "xmm15", "st", "st(1)");
  if (memcmp(result, pattern, sizeof pattern) != 0 || stack != 3.141592653589793) fail("vector registers");
  return 0;
}
#else
static void *spin_with_avx(void *arg) { begin((long)arg); while (!ended) {} return 0; }
#endif
static void *spin_with_doubles(void *arg) {
  begin((long)arg);
  while (!ended) {
    double x = 1;
    for (int i = 0; i < 1000; i++) x = (x * 1.0000001 + 0.5) / 1.25;
    if (x < 1.99 || x > 2.01) { fail("doubles"); break; }
  }
  return 0;
}

int main(int argc, char **argv) {
  job_stops = argc > 2;
  heap = malloc(3 << 20);
  for (int at = 0; at < 3 << 20; at += 64) heap[at] = at >> 12;
  /* Written and dropped again: memory that reads as zero but was not always. */
  char *dropped = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(dropped, 1, 1 << 20);
  madvise(dropped + 4096, 1 << 19, MADV_DONTNEED);
  /* Nothing was ever written here; between guards, so that it is a mapping of its own. */
  alone = mmap(0, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  alone += 4096;
  if (mprotect(alone, 16 * 4096, PROT_READ | PROT_WRITE) != 0) fail("mprotect");
  written[4096] = 1;
  int file = open(argv[1], O_RDWR | O_CREAT, 0600);
  if (ftruncate(file, 4 * 4096) != 0) fail("ftruncate");
  mapped = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  strcpy(mapped, "private copy of a file's page");
  void *(*work[])(void *) = {wait_in_epoll, wait_in_poll, wait_in_nanosleep, with_pending_signals, spin_with_avx, spin_with_doubles};
  signal(SIGUSR1, on_signal);
  signal(SIGRTMIN, on_signal);
  pthread_t threads[6];
  local = 99;
  for (long i = 0; i < 6; i++) pthread_create(&threads[i], 0, work[i], (void *)(i + 1));
  while (started != 6) usleep(1000);
  printf("heap %p\\nready\\n", (void *)heap);
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {}
  ended = 1;
  for (int i = 0; i < 6; i++) pthread_join(threads[i], 0);
  if (untouched[5000] != 0 || late_zero[0] != 0) fail("zeroes");
  printf(failures ? "failed\\n" : "all is well\\n");
  return failures != 0;
}
`
