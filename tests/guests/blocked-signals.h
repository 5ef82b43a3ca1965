/*
 * Real signals in epoll_wait: each must end the call by EINTR, promptly and once. A tool that
 * hides the EINTR of its own stop must not hide these.
 *
 * epoll_wait has no way to open the signal mask at the moment it begins, so the sender waits until
 * the receiver sleeps in it. epoll_pwait needs no such care: a signal that is early ends it at once.
 * Included by blocked-calls.h.
 */
#ifndef BLOCKED_SIGNALS_H
#define BLOCKED_SIGNALS_H

/* Turns of the sender, so that time in which we all are stopped does not count. */
#define TURN_NS (5 * MS)
#define TURNS_MAX 400

static __thread struct call *signalled_call;
static pthread_mutex_t signal_lock = PTHREAD_MUTEX_INITIALIZER;

static void on_signal(int signal)
{
  (void)signal;
  signalled_call->handled++;
}

static void handle_signal(void)
{
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &action, NULL);
}

static void judge_signal(struct call *call, uint64_t handled_before, int result)
{
  int found = errno;
  if (result != -1 || found != EINTR) {
    wrong(call, result, found);
  } else if (call->handled == handled_before) {
    wrong(call, result, found);
  } else {
    if (call->handled != handled_before + 1) note("%s ran %" PRIu64 " handlers at once", call->name, call->handled - handled_before);
    judge_time(call, call->poked_at, 0);
    call->interrupted++;
    atomic_fetch_add(&call->answered, 1);
  }
}

static void do_epoll_signalled(struct call *call)
{
  struct epoll_event event;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  int epoll = quiet_epoll(call);
  uint64_t before = call->handled;
  signalled_call = call;
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  judge_signal(call, before, epoll_wait(epoll, &event, 1, -1));
}

static void do_epoll_pwait_signalled(struct call *call)
{
  struct epoll_event event;
  sigset_t mask;
  sigfillset(&mask);
  sigdelset(&mask, SIGUSR1);
  int epoll = quiet_epoll(call);
  uint64_t before = call->handled;
  signalled_call = call;
  judge_signal(call, before, epoll_pwait(epoll, &event, 1, -1, &mask));
}

/* Whether the thread sleeps in epoll_wait: the file says "running" unless it sleeps in a call. */
static bool sleeps_in_epoll(const struct call *call)
{
  char name[64], text[32] = "";
  snprintf(name, sizeof name, "/proc/self/task/%d/syscall", (int)call->tid);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  /* Not every kernel has the file; then a turn's sleep has to be long enough. */
  if (fd < 0) return true;
  ssize_t count = read(fd, text, sizeof text - 1);
  close(fd);
#ifdef SYS_epoll_wait
  return count > 0 && (atoi(text) == SYS_epoll_wait || atoi(text) == SYS_epoll_pwait) && text[0] != 'r';
#else
  return count > 0 && atoi(text) == SYS_epoll_pwait && text[0] != 'r';
#endif
}

static void send_signal(struct call *call)
{
  call->word = 0;
  atomic_fetch_add(&call->pokes, 1);
  call->poked_at = now_ns();
  if (syscall(SYS_tgkill, getpid(), call->tid, SIGUSR1)) note("tgkill: %s", strerror(errno));
}

/* After a signal from elsewhere the counts are made to agree again, or nobody would be signalled any more. */
static void forgive_foreign(struct call *call)
{
  int extra = (int)(atomic_load(&call->answered) - atomic_load(&call->pokes));
  if (extra <= 0) return;
  note("%s was interrupted by %d signals that nobody sent", call->name, extra);
  atomic_fetch_sub(&call->answered, (unsigned)extra);
}

/* Signals who has answered the last one; one who does not answer has had his EINTR swallowed. */
static void signal_call(struct call *call)
{
  pthread_mutex_lock(&signal_lock);
  forgive_foreign(call);
  if (!call->ended) {
    bool answered = atomic_load(&call->answered) == atomic_load(&call->pokes), overdue = ++call->word > TURNS_MAX;
    if (!answered && overdue) {
      call->wrong++;
      note("%s was not interrupted by signal %u", call->name, atomic_load(&call->pokes));
      atomic_fetch_sub(&call->pokes, 1);
      call->swallowed++;
    }
    /* Who never seems to sleep is signalled all the same: under an emulator the file tells of its host. */
    if (overdue || (answered && sleeps_in_epoll(call))) send_signal(call);
  }
  pthread_mutex_unlock(&signal_lock);
}

/* Says whether a signalled thread may end: not while a signal is under way to it. */
static bool may_end(struct call *call)
{
  pthread_mutex_lock(&signal_lock);
  forgive_foreign(call);
  call->ended = !call->signalled || atomic_load(&call->answered) == atomic_load(&call->pokes);
  pthread_mutex_unlock(&signal_lock);
  return call->ended;
}

#endif
