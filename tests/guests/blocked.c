/*
 * blocked TOLERANCE_MS
 *
 * One thread in each blocking call that a debugger's stop is known to disturb: those that time
 * out, those that are poked every 25 ms, and two that are interrupted by real signals and must
 * say EINTR exactly once for each. A return value that nothing explains, a timeout more than 2 ms
 * early, or anything late by more than the tolerance is a problem; the worst is counted per call.
 * "mark" on stdin answers the counts so far and begins new ones.
 */
#include "guest.h"
#include "blocked-calls.h"

static void begin_calls(void)
{
  make_objects();
  for (size_t i = 0; i < CALLS; i++) {
    start_thread(&calls[i].thread, call_main, &calls[i]);
    while (!calls[i].tid) sleep_ns(10000);
  }
}

struct signal_counts { uint64_t sent, handled, interrupted; };

/* Over the whole run. While it goes on a signal may be under way, so they agree only at the end. */
static struct signal_counts count_signals(void)
{
  struct signal_counts sum = {0};
  for (size_t i = 0; i < CALLS; i++) {
    if (!calls[i].signalled) continue;
    sum.sent += atomic_load(&calls[i].pokes) + calls[i].swallowed;
    sum.handled += calls[i].handled;
    sum.interrupted += calls[i].interrupted;
  }
  return sum;
}

static void print_counts(void)
{
  printf("\"toleranceNs\":%" PRIu64 ",\"calls\":{", tolerance_ns);
  for (size_t i = 0; i < CALLS; i++) {
    struct call *call = &calls[i];
    printf("%s\"%s\":{\"count\":%" PRIu64 ",\"worstLateNs\":%" PRIu64 ",\"worstEarlyNs\":%" PRIu64 ",\"eintr\":%" PRIu64
           ",\"wrong\":%" PRIu64 "}", i ? "," : "", call->name, call->count, call->worst_late, call->worst_early, call->eintr,
           call->wrong);
  }
  struct signal_counts sum = count_signals();
  printf("},\"signals\":{\"sent\":%" PRIu64 ",\"handled\":%" PRIu64 ",\"eintr\":%" PRIu64 "}}\n", sum.sent, sum.handled,
         sum.interrupted);
  fflush(stdout);
}

static void reset_counts(void)
{
  for (size_t i = 0; i < CALLS; i++)
    calls[i].count = calls[i].worst_late = calls[i].worst_early = calls[i].eintr = calls[i].wrong = 0;
}

int main(int argc, char **argv)
{
  guest_begin();
  if (argc != 2) die("usage: blocked TOLERANCE_MS");
  tolerance_ns = strtoull(argv[1], NULL, 10) * 1000000;
  begin_calls();
  pthread_t poker, signaller;
  start_thread(&poker, poke_main, NULL);
  start_thread(&signaller, signal_main, NULL);
  printf("{\"pid\":%d,\"ready\":true,\"guest\":\"blocked\",\"toleranceNs\":%" PRIu64 ",\"threads\":[", (int)getpid(), tolerance_ns);
  for (size_t i = 0; i < CALLS; i++) printf("%s{\"tid\":%d,\"call\":\"%s\"}", i ? "," : "", calls[i].tid, calls[i].name);
  printf("]}\n");
  fflush(stdout);
  char line[64];
  while (guest_line(line, sizeof line)) {
    if (strcmp(line, "mark")) { problem("blocked does not know the line %s", line); break; }
    printf("{\"reply\":\"mark\",");
    print_counts();
    reset_counts();
  }
  atomic_store(&stopping, 1);
  for (size_t i = 0; i < CALLS; i++) pthread_join(calls[i].thread, NULL);
  atomic_store(&calls_ended, 1);
  pthread_join(poker, NULL);
  pthread_join(signaller, NULL);
  remove_objects();
  struct signal_counts sum = count_signals();
  if (sum.sent != sum.handled || sum.sent != sum.interrupted)
    note("%" PRIu64 " signals sent, %" PRIu64 " handled, %" PRIu64 " EINTR seen", sum.sent, sum.handled, sum.interrupted);
  bool failed = atomic_load(&problem_state) == 2;
  printf("{\"ok\":%s,\"problem\":\"%s\",", failed ? "false" : "true", problem_text);
  printf("\"guest\":\"blocked\",");
  print_counts();
  _exit(failed);
}
