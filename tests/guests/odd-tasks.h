/*
 * Modes of odd.c that are about threads and processes:
 *   zombie-leader  the first thread has exited, the others go on
 *   exec-soon MS   execs itself every MS ms, from its leader and from another thread in turn;
 *                  only the first says ready
 *   exit-soon MS   ends by itself
 *   stopped        stops itself by SIGSTOP after the ready line; who ends it sends SIGCONT first
 *   vfork          its first thread waits (uninterruptibly) for a vfork child until "release"
 *   many-threads N
 *   sleeper        its first thread sleeps in one nanosleep that must never return
 *   spin           a thread that never makes a syscall
 */
#ifndef ODD_TASKS_H
#define ODD_TASKS_H

#include "odd-ready.h"

static void *control_zombie_leader(void *argument)
{
  pthread_join(*(pthread_t *)argument, NULL);
  odd_ready(",\"threads\":3");
  wait_for_end();
  odd_end("threads", 3);
}

static void zombie_leader(uint64_t number)
{
  (void)number;
  static pthread_t leader, control;
  leader = pthread_self();
  start_beat();
  start_thread(&control, control_zombie_leader, &leader);
  pthread_exit(NULL);
}

static void exec_now(uint64_t execs)
{
  char count[32], program[512] = "";
  snprintf(count, sizeof count, "%" PRIu64, execs + 1);
  setenv("ODD_EXECS", count, 1);
  if (readlink("/proc/self/exe", program, sizeof program - 1) < 0) die("readlink: %s", strerror(errno));
  execv(program, odd_arguments);
  problem("execv of %s: %s", program, strerror(errno));
}

static void *exec_in_thread(void *argument)
{
  exec_now(*(uint64_t *)argument);
  return NULL;
}

static void exec_soon(uint64_t ms)
{
  const char *count = getenv("ODD_EXECS");
  uint64_t execs = count ? strtoull(count, NULL, 10) : 0;
  add_block("plain", map_pages(32, MAP_PRIVATE | MAP_ANONYMOUS, -1), 32, execs + 1);
  start_beat();
  if (!execs) odd_ready(",\"everyMs\":%" PRIu64, ms);
  struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = term_fd, .events = POLLIN}};
  int ready = poll(fds, 2, (int)ms);
  if (ready < 0) problem("poll: %s", strerror(errno));
  if (ready) odd_end("execs", execs);
  check_blocks();
  if (atomic_load(&stopping)) odd_end("execs", execs);
  if (execs % 2) {
    pthread_t thread;
    start_thread(&thread, exec_in_thread, &execs);
    /* The exec of another thread kills this one. */
    pthread_join(thread, NULL);
  } else exec_now(execs);
  odd_end("execs", execs);
}

static void exit_soon(uint64_t ms)
{
  add_block("plain", map_pages(256, MAP_PRIVATE | MAP_ANONYMOUS, -1), 256, 3);
  start_beat();
  odd_ready(",\"afterMs\":%" PRIu64, ms);
  sleep_ns(ms * 1000000);
  odd_end("afterMs", ms);
}

static void stopped(uint64_t number)
{
  (void)number;
  add_block("plain", map_pages(32, MAP_PRIVATE | MAP_ANONYMOUS, -1), 32, 5);
  start_beat();
  odd_ready("%s", "");
  kill(getpid(), SIGSTOP);
  uint64_t continued = now_ns();
  wait_for_end();
  odd_end("ranNs", now_ns() - continued);
}

static int vfork_pipe[2];
static volatile pid_t vfork_child, vfork_parent_tid;

static void *control_vfork(void *argument)
{
  while (!vfork_child) sleep_ns(100000);
  /* The child tells its number before its parent sleeps for it: an instant more. */
  sleep_ns(5000000);
  odd_ready(",\"child\":%d,\"blockedTid\":%d", vfork_child, vfork_parent_tid);
  bool asked = await_release();
  if (write(vfork_pipe[1], "x", 1) != 1) problem("write: %s", strerror(errno));
  pthread_join(*(pthread_t *)argument, NULL);
  answer_release(asked);
  if (asked) wait_for_end();
  odd_end("released", asked);
}

/* The child has our memory until it exits, so it makes syscalls only. */
static void in_vfork(uint64_t number)
{
  (void)number;
  static pthread_t self, control;
  if (pipe(vfork_pipe)) die("pipe: %s", strerror(errno));
  self = pthread_self();
  vfork_parent_tid = thread_id();
  add_block("plain", map_pages(32, MAP_PRIVATE | MAP_ANONYMOUS, -1), 32, 7);
  start_beat();
  start_thread(&control, control_vfork, &self);
  pid_t child = vfork();
  if (child == 0) {
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    vfork_child = getpid();
    _exit(read(vfork_pipe[0], &byte, 1) == 1 ? 9 : 8);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) problem("vfork gave %d: %s", child, strerror(errno));
  else if (!WIFEXITED(status) || WEXITSTATUS(status) != 9) problem("the vfork child ended with status %#x", status);
  pthread_exit(NULL);
}

static atomic_uint_fast64_t wakeups, sleepers;

static void *sleep_and_count(void *argument)
{
  /* On the stack and live across the calls, to be found changed. */
  volatile uint64_t canary = mix((uintptr_t)argument);
  struct timespec pause = timespec_of(200000000);
  atomic_fetch_add(&sleepers, 1);
  while (!atomic_load(&stopping)) {
    int error = clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    if (error) problem("clock_nanosleep: %s", strerror(error));
    if (canary != mix((uintptr_t)argument)) problem("the stack of thread %d changed", thread_id());
    atomic_fetch_add(&wakeups, 1);
  }
  return NULL;
}

static void many_threads(uint64_t number)
{
  pthread_t *threads = calloc(number, sizeof *threads);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 65536);
  start_beat();
  for (uint64_t i = 0; i < number; i++) {
    int error = pthread_create(&threads[i], &attributes, sleep_and_count, (void *)(uintptr_t)i);
    if (error == EAGAIN) skip("this machine does not allow so many threads");
    if (error) die("pthread_create: %s", strerror(error));
  }
  while (atomic_load(&sleepers) < number) sleep_ns(100000);
  odd_ready(",\"threads\":%" PRIu64, number + 2);
  wait_for_end();
  for (uint64_t i = 0; i < number; i++) pthread_join(threads[i], NULL);
  odd_end("wakeups", atomic_load(&wakeups));
}

static void *control_sleeper(void *argument)
{
  odd_ready(",\"blockedTid\":%d", *(pid_t *)argument);
  wait_for_end();
  odd_end("blocked", 1);
}

static void sleeper(uint64_t number)
{
  (void)number;
  static pid_t tid;
  pthread_t control;
  tid = thread_id();
  add_block("plain", map_pages(32, MAP_PRIVATE | MAP_ANONYMOUS, -1), 32, 11);
  start_thread(&control, control_sleeper, &tid);
  struct timespec for_ever = {.tv_sec = 1000000};
  int result = nanosleep(&for_ever, NULL);
  problem("nanosleep returned %d: %s", result, strerror(errno));
  pthread_join(control, NULL);
}

static volatile uint64_t spins;

static void *spin_on(void *argument)
{
  (void)argument;
  uint64_t count = 0;
  while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
    if (spins != count) problem("spin %" PRIu64 " was lost: memory holds %" PRIu64, count, spins);
    spins = ++count;
  }
  return NULL;
}

static void spin(uint64_t number)
{
  (void)number;
  pthread_t thread;
  start_thread(&thread, spin_on, NULL);
  add_block("plain", map_pages(32, MAP_PRIVATE | MAP_ANONYMOUS, -1), 32, 13);
  odd_ready(",\"threads\":2");
  wait_for_end();
  pthread_join(thread, NULL);
  odd_end("spins", spins);
}

#endif
