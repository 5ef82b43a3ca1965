/*
 * The calls of blocked.c. Each body makes its call once and judges the answer; the expected
 * answer, and how late it may be, is all there is to a test of a blocking call.
 */
#ifndef BLOCKED_CALLS_H
#define BLOCKED_CALLS_H

#include "guest.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MS 1000000ull
#define EARLY_MAX_NS (2 * MS)
#define POKE_NS (25 * MS)

struct call {
  const char *name;
  void (*body)(struct call *);
  void (*poke)(struct call *);
  uint64_t timeout;        /* for those that time out */
  bool signalled, ended;
  volatile pid_t tid;
  int fd, peer;            /* what it waits on, and the poker's end */
  volatile uint32_t word;  /* the futex, or turns waited for an answer to a signal */
  volatile uint64_t poked_at;
  atomic_uint pokes, answered;
  volatile uint64_t handled;
  uint64_t interrupted, swallowed;
  uint64_t count, worst_late, worst_early, eintr, wrong;
  pthread_t thread;
};

static uint64_t tolerance_ns;
static atomic_int calls_ended;
static char file_name[64];

static void judge_time(struct call *call, uint64_t began, uint64_t expected)
{
  uint64_t elapsed = now_ns() - began;
  call->count++;
  if (elapsed >= expected) {
    if (elapsed - expected > call->worst_late) call->worst_late = elapsed - expected;
    if (elapsed - expected > tolerance_ns) note("%s was %" PRIu64 " ns late", call->name, elapsed - expected);
  } else {
    if (expected - elapsed > call->worst_early) call->worst_early = expected - elapsed;
    if (expected - elapsed > EARLY_MAX_NS) note("%s was %" PRIu64 " ns early", call->name, expected - elapsed);
  }
}

static void wrong(struct call *call, long result, int error)
{
  if (result < 0 && error == EINTR) {
    call->eintr++;
    note("%s said EINTR though no signal came", call->name);
    return;
  }
  call->wrong++;
  note("%s returned %ld: %s", call->name, result, result < 0 ? strerror(error) : "no error");
}

/* `error` 0 stands for a result of 0, else the result must be -1 with that error. */
static void judge_timeout(struct call *call, uint64_t began, long result, int error)
{
  int found = errno;
  if (error ? result == -1 && found == error : result == 0) judge_time(call, began, call->timeout);
  else wrong(call, result, found);
}

static void judge_poke(struct call *call, long result, long expected)
{
  int found = errno;
  if (result == expected) {
    judge_time(call, call->poked_at, 0);
    atomic_fetch_add(&call->answered, 1);
  } else wrong(call, result, found);
}

static struct timespec limit_of(const struct call *call) { return timespec_of(call->timeout); }

static int quiet_epoll(struct call *call)
{
  if (call->fd) return call->fd;
  struct epoll_event event = {.events = EPOLLIN};
  call->peer = eventfd(0, EFD_CLOEXEC);
  call->fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ctl(call->fd, EPOLL_CTL_ADD, call->peer, &event)) die("epoll_ctl: %s", strerror(errno));
  return call->fd;
}

static void do_epoll_wait(struct call *call)
{
  struct epoll_event event;
  int epoll = quiet_epoll(call);
  uint64_t began = now_ns();
  judge_timeout(call, began, epoll_wait(epoll, &event, 1, (int)(call->timeout / MS)), 0);
}

static void do_epoll_pwait(struct call *call)
{
  struct epoll_event event;
  sigset_t mask;
  sigfillset(&mask);
  int epoll = quiet_epoll(call);
  uint64_t began = now_ns();
  judge_timeout(call, began, epoll_pwait(epoll, &event, 1, (int)(call->timeout / MS), &mask), 0);
}

static void do_epoll_poked(struct call *call)
{
  struct epoll_event event;
  int result = epoll_wait(quiet_epoll(call), &event, 1, -1);
  uint64_t value = 0;
  if (result == 1 && (read(call->peer, &value, 8) != 8 || value != 1)) result = -2;
  judge_poke(call, result, 1);
}

static void poke_eventfd(struct call *call)
{
  uint64_t one = 1;
  if (write(call->peer, &one, 8) != 8) note("poking %s: %s", call->name, strerror(errno));
}

static void do_poll(struct call *call)
{
  struct pollfd fd = {.fd = call->fd, .events = POLLIN};
  uint64_t began = now_ns();
  judge_timeout(call, began, poll(&fd, 1, (int)(call->timeout / MS)), 0);
}

static void do_ppoll(struct call *call)
{
  struct pollfd fd = {.fd = call->fd, .events = POLLIN};
  struct timespec limit = limit_of(call);
  sigset_t mask;
  sigfillset(&mask);
  uint64_t began = now_ns();
  judge_timeout(call, began, ppoll(&fd, 1, &limit, &mask), 0);
}

static void do_select(struct call *call)
{
  fd_set set;
  FD_ZERO(&set);
  FD_SET(call->fd, &set);
  struct timeval limit = {.tv_usec = (suseconds_t)(call->timeout / 1000)};
  uint64_t began = now_ns();
  judge_timeout(call, began, select(call->fd + 1, &set, NULL, NULL, &limit), 0);
}

static void do_pselect(struct call *call)
{
  fd_set set;
  FD_ZERO(&set);
  FD_SET(call->fd, &set);
  struct timespec limit = limit_of(call);
  uint64_t began = now_ns();
  judge_timeout(call, began, pselect(call->fd + 1, &set, NULL, NULL, &limit, NULL), 0);
}

static void do_nanosleep(struct call *call)
{
  struct timespec limit = limit_of(call), left;
  uint64_t began = now_ns();
  judge_timeout(call, began, nanosleep(&limit, &left), 0);
}

/* clock_nanosleep gives its error as its result. */
static void do_clock_nanosleep(struct call *call)
{
  struct timespec limit = limit_of(call);
  uint64_t began = now_ns();
  errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &limit, NULL);
  judge_timeout(call, began, errno ? -1 : 0, 0);
}

static void do_clock_nanosleep_until(struct call *call)
{
  uint64_t began = now_ns();
  struct timespec until = timespec_of(began + call->timeout);
  errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
  judge_timeout(call, began, errno ? -1 : 0, 0);
}

static void do_futex(struct call *call)
{
  struct timespec limit = limit_of(call);
  uint64_t began = now_ns();
  judge_timeout(call, began, syscall(SYS_futex, &call->word, FUTEX_WAIT_PRIVATE, 0, &limit, NULL, 0), ETIMEDOUT);
}

static void do_futex_until(struct call *call)
{
  uint64_t began = now_ns();
  struct timespec until = timespec_of(began + call->timeout);
  long result = syscall(SYS_futex, &call->word, FUTEX_WAIT_BITSET_PRIVATE, 0, &until, NULL, FUTEX_BITSET_MATCH_ANY);
  judge_timeout(call, began, result, ETIMEDOUT);
}

static void do_futex_poked(struct call *call)
{
  uint32_t seen = atomic_load(&call->answered);
  long result = syscall(SYS_futex, &call->word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
  /* Woken, or poked before it could wait. */
  if (result == -1 && errno == EAGAIN) result = 0;
  if (result == 0 && call->word != seen + 1) result = -2;
  judge_poke(call, result, 0);
}

static void poke_futex(struct call *call)
{
  call->word++;
  syscall(SYS_futex, &call->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void do_read(struct call *call)
{
  uint64_t words[8] = {0};
  ssize_t count = read(call->fd, words, sizeof words);
  for (size_t i = 0; i < 8; i++)
    if (count == sizeof words && words[i] != call->poked_at + i) count = -2;
  judge_poke(call, count, sizeof words);
}

static void poke_pipe(struct call *call)
{
  uint64_t words[8];
  for (size_t i = 0; i < 8; i++) words[i] = call->poked_at + i;
  if (write(call->peer, words, sizeof words) != sizeof words) note("poking %s: %s", call->name, strerror(errno));
}

static void do_accept(struct call *call)
{
  int fd = accept4(call->fd, NULL, NULL, SOCK_CLOEXEC), error = errno;
  if (fd >= 0) close(fd);
  errno = error;
  judge_poke(call, fd >= 0 ? 0 : -1, 0);
}

static void poke_listener(struct call *call)
{
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  getsockname(call->fd, (struct sockaddr *)&address, &length);
  int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&address, length)) note("poking %s: %s", call->name, strerror(errno));
  close(fd);
}

static void do_inotify(struct call *call)
{
  struct inotify_event event = {0};
  ssize_t count = read(call->fd, &event, sizeof event);
  judge_poke(call, count == sizeof event && event.mask != IN_ATTRIB ? -2 : count, sizeof event);
}

static void poke_inotify(struct call *call)
{
  if (fchmod(call->peer, 0600)) note("poking %s: %s", call->name, strerror(errno));
}

/* SO_RCVTIMEO is set on the socket. */
static void do_recv(struct call *call)
{
  char byte;
  uint64_t began = now_ns();
  judge_timeout(call, began, recv(call->fd, &byte, 1, 0), EAGAIN);
}

static void do_semtimedop(struct call *call)
{
  struct timespec limit = limit_of(call);
  struct sembuf wait = {.sem_op = -1};
  uint64_t began = now_ns();
  judge_timeout(call, began, semtimedop(call->fd, &wait, 1, &limit), EAGAIN);
}

static void do_sigtimedwait(struct call *call)
{
  struct timespec limit = limit_of(call);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 5);
  uint64_t began = now_ns();
  judge_timeout(call, began, sigtimedwait(&set, NULL, &limit), EAGAIN);
}

static void do_wait4(struct call *call)
{
  struct timespec limit = limit_of(call);
  uint64_t began = now_ns();
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(nanosleep(&limit, NULL) ? 6 : 5);
  }
  int status = 0;
  pid_t waited = wait4(child, &status, 0, NULL);
  if (waited == child && (!WIFEXITED(status) || WEXITSTATUS(status) != 5)) waited = -2;
  judge_timeout(call, began, waited == child ? 0 : waited, 0);
  if (waited < 0) waitpid(child, &status, 0);
}

#include "blocked-signals.h"

static struct call calls[] = {
  {.name = "epoll_wait", .body = do_epoll_wait, .timeout = 400 * MS},
  {.name = "epoll_pwait", .body = do_epoll_pwait, .timeout = 250 * MS},
  {.name = "epoll_wait_poked", .body = do_epoll_poked, .poke = poke_eventfd},
  {.name = "poll", .body = do_poll, .timeout = 300 * MS},
  {.name = "ppoll", .body = do_ppoll, .timeout = 200 * MS},
  {.name = "select", .body = do_select, .timeout = 150 * MS},
  {.name = "pselect", .body = do_pselect, .timeout = 170 * MS},
  {.name = "nanosleep", .body = do_nanosleep, .timeout = 100 * MS},
  {.name = "nanosleep_long", .body = do_nanosleep, .timeout = 1500 * MS},
  {.name = "clock_nanosleep", .body = do_clock_nanosleep, .timeout = 130 * MS},
  {.name = "clock_nanosleep_until", .body = do_clock_nanosleep_until, .timeout = 110 * MS},
  {.name = "futex", .body = do_futex, .timeout = 90 * MS},
  {.name = "futex_until", .body = do_futex_until, .timeout = 140 * MS},
  {.name = "futex_poked", .body = do_futex_poked, .poke = poke_futex},
  {.name = "read_pipe", .body = do_read, .poke = poke_pipe},
  {.name = "accept_unix", .body = do_accept, .poke = poke_listener},
  {.name = "accept_tcp", .body = do_accept, .poke = poke_listener},
  {.name = "read_inotify", .body = do_inotify, .poke = poke_inotify},
  {.name = "recv", .body = do_recv, .timeout = 220 * MS},
  {.name = "semtimedop", .body = do_semtimedop, .timeout = 160 * MS},
  {.name = "sigtimedwait", .body = do_sigtimedwait, .timeout = 180 * MS},
  {.name = "wait4", .body = do_wait4, .timeout = 120 * MS},
  {.name = "epoll_wait_signalled", .body = do_epoll_signalled, .signalled = true},
  {.name = "epoll_pwait_signalled", .body = do_epoll_pwait_signalled, .signalled = true},
};
#define CALLS (sizeof calls / sizeof *calls)

#include "blocked-objects.h"

static void *call_main(void *argument)
{
  struct call *call = argument;
  call->tid = thread_id();
  do call->body(call);
  while (!atomic_load(&stopping) || !may_end(call));
  return NULL;
}

/* Pokes only who has answered the last one; a call that never answers is late, and says so itself. */
static void *poke_main(void *argument)
{
  while (!atomic_load(&calls_ended)) {
    for (size_t i = 0; i < CALLS; i++) {
      struct call *call = &calls[i];
      if (!call->poke || atomic_load(&call->answered) != atomic_load(&call->pokes)) continue;
      atomic_fetch_add(&call->pokes, 1);
      call->poked_at = now_ns();
      call->poke(call);
    }
    sleep_ns(POKE_NS);
  }
  return argument;
}

/* Goes on until all calls have ended: nothing else ends a wait without a timeout. */
static void *signal_main(void *argument)
{
  for (uint64_t turn = 0; !atomic_load(&calls_ended); turn++) {
    for (size_t i = 0; i < CALLS; i++)
      if (calls[i].signalled && (turn % 5 == 0 || calls[i].word)) signal_call(&calls[i]);
    sleep_ns(TURN_NS);
  }
  return argument;
}

#endif
