/*
 * The signals of the churn. Three threads: one blocks in read() with SA_RESTART handlers and must
 * never see EINTR; one blocks in read() with a handler without SA_RESTART and must see EINTR only
 * when its handler ran; one sends queued signals whose numbers must arrive once each, in order.
 * The kernel's own count of timer expirations says whether a timer signal was lost.
 */
#ifndef CHURN_SIGNALS_H
#define CHURN_SIGNALS_H

#include "guest.h"

#define TIMER_NS 2000000ull
#define SIGNAL_TIMER (SIGRTMIN + 2)
#define SIGNAL_QUEUED (SIGRTMIN + 3)

static struct {
  pthread_t restarting, interrupted, sender;
  volatile pid_t restarting_tid;
  int bytes[2], silence[2];
  timer_t timer;
  uint64_t timer_began;
  volatile uint64_t expirations, queued_sent, queued_received, alarms, interruptions, reads;
} churn_signals;

/* A handler may use SSE and errno: both belong to the interrupted code and must come back. */
static void on_timer(int signal, siginfo_t *info, void *context)
{
  (void)signal, (void)context;
  churn_signals.expirations += 1 + (uint64_t)info->si_overrun;
}

static void on_queued(int signal, siginfo_t *info, void *context)
{
  (void)signal, (void)context;
  uint64_t got = (uint64_t)(uintptr_t)info->si_value.sival_ptr;
  if (got != churn_signals.queued_received + 1)
    problem("churn: queued signal %" PRIu64 " came after %" PRIu64, got, churn_signals.queued_received);
  churn_signals.queued_received = got;
}

static void on_alarm(int signal, siginfo_t *info, void *context)
{
  (void)signal, (void)info, (void)context;
  churn_signals.alarms++;
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  sigfillset(&action.sa_mask);
  if (sigaction(signal, &action, NULL)) die("sigaction: %s", strerror(errno));
}

static void allow(int how, int first, int second)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, first);
  sigaddset(&set, second);
  pthread_sigmask(how, &set, NULL);
}

static void begin_timer(void)
{
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGNAL_TIMER};
  event._sigev_un._tid = churn_signals.restarting_tid;
  if (timer_create(CLOCK_MONOTONIC, &event, &churn_signals.timer)) die("timer_create: %s", strerror(errno));
  struct itimerspec every = {.it_interval = timespec_of(TIMER_NS)};
  churn_signals.timer_began = now_ns();
  every.it_value = timespec_of(churn_signals.timer_began + TIMER_NS);
  if (timer_settime(churn_signals.timer, TIMER_ABSTIME, &every, NULL)) die("timer_settime: %s", strerror(errno));
}

/* Precondition: the timer's signal is open in this thread, so what has expired was delivered but for the last. */
static void check_timer(void)
{
  uint64_t expected = (now_ns() - churn_signals.timer_began) / TIMER_NS, got = churn_signals.expirations;
  timer_delete(churn_signals.timer);
  if (got + 2 < expected || got > expected + 2)
    problem("churn: the timer expired %" PRIu64 " times and %" PRIu64 " were delivered", expected, got);
}

static void *read_restarting(void *argument)
{
  churn_signals.restarting_tid = thread_id();
  begin_timer();
  allow(SIG_UNBLOCK, SIGNAL_TIMER, SIGNAL_QUEUED);
  for (uint8_t expected = 0; !atomic_load(&stopping); expected++) {
    uint8_t byte = 0;
    ssize_t count = read(churn_signals.bytes[0], &byte, 1);
    if (count != 1) { problem("churn: read under SA_RESTART returned %zd: %s", count, strerror(errno)); break; }
    if (byte != expected) problem("churn: read byte %u instead of %u", byte, expected);
    churn_signals.reads++;
  }
  check_timer();
  return argument;
}

static void *read_interrupted(void *argument)
{
  /* On a stack of its own, so that a tool that writes below the interrupted stack pointer is seen elsewhere. */
  stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
  if (sigaltstack(&stack, NULL)) die("sigaltstack: %s", strerror(errno));
  struct itimerval every = {.it_interval = {.tv_usec = 3000}, .it_value = {.tv_usec = 3000}};
  allow(SIG_UNBLOCK, SIGALRM, SIGALRM);
  if (setitimer(ITIMER_REAL, &every, NULL)) die("setitimer: %s", strerror(errno));
  while (!atomic_load(&stopping)) {
    char byte;
    uint64_t before = churn_signals.alarms;
    ssize_t count = read(churn_signals.silence[0], &byte, 1);
    if (count != -1 || errno != EINTR) { problem("churn: read of a silent pipe returned %zd: %s", count, strerror(errno)); break; }
    if (churn_signals.alarms == before) problem("churn: read said EINTR though no signal came");
    churn_signals.interruptions++;
  }
  struct itimerval none = {0};
  setitimer(ITIMER_REAL, &none, NULL);
  return argument;
}

static void *send_signals(void *argument)
{
  uint8_t byte = 0;
  while (!atomic_load(&stopping)) {
    uint64_t number = churn_signals.queued_sent + 1;
    union sigval value = {.sival_ptr = (void *)(uintptr_t)number};
    int error = pthread_sigqueue(churn_signals.restarting, SIGNAL_QUEUED, value);
    if (error) { problem("churn: sigqueue: %s", strerror(error)); break; }
    churn_signals.queued_sent = number;
    if (number % 4 == 0 && write(churn_signals.bytes[1], &byte, 1) == 1) byte++;
    /* Turns and not a deadline: while we are stopped nobody's turns go by. */
    for (int turn = 0; churn_signals.queued_received + 8 < number && !atomic_load(&stopping); turn++) {
      if (turn == 20000) problem("churn: queued signal %" PRIu64 " never came", churn_signals.queued_received + 1);
      sleep_ns(500000);
    }
    sleep_ns(1000000);
  }
  if (write(churn_signals.bytes[1], &byte, 1) != 1) problem("churn: write to a pipe: %s", strerror(errno));
  return argument;
}

static void churn_signals_begin(void)
{
  if (pipe(churn_signals.bytes) || pipe(churn_signals.silence)) die("pipe: %s", strerror(errno));
  handle(SIGNAL_TIMER, on_timer, SA_RESTART);
  handle(SIGNAL_QUEUED, on_queued, SA_RESTART);
  handle(SIGALRM, on_alarm, SA_ONSTACK);
  start_thread(&churn_signals.restarting, read_restarting, NULL);
  start_thread(&churn_signals.interrupted, read_interrupted, NULL);
  start_thread(&churn_signals.sender, send_signals, NULL);
}

static void churn_signals_end(char *counters, size_t size)
{
  pthread_join(churn_signals.sender, NULL);
  pthread_join(churn_signals.restarting, NULL);
  pthread_join(churn_signals.interrupted, NULL);
  if (churn_signals.interruptions > churn_signals.alarms)
    problem("churn: %" PRIu64 " EINTR for %" PRIu64 " signals", churn_signals.interruptions, churn_signals.alarms);
  if (churn_signals.queued_received + 1 < churn_signals.queued_sent)
    problem("churn: %" PRIu64 " queued signals sent, %" PRIu64 " received", churn_signals.queued_sent, churn_signals.queued_received);
  snprintf(counters, size, "\"timerSignals\":%" PRIu64 ",\"queuedSignals\":%" PRIu64 ",\"alarms\":%" PRIu64
           ",\"interruptions\":%" PRIu64 ",\"reads\":%" PRIu64 "}",
           churn_signals.expirations, churn_signals.queued_received, churn_signals.alarms, churn_signals.interruptions,
           churn_signals.reads);
}

#endif
