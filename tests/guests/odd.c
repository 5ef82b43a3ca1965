/*
 * odd MODE [N]
 *
 * One process of each kind that a tool meets in the wild and does not expect. The modes and what
 * they do stand in odd-tasks.h, odd-memory.h and odd-kernel.h. All tell the reader of an image
 * what some of their memory holds: `blocks` for ever, `ledger` at any instant (see ledger.h).
 */
#include "guest.h"
#include "ledger.h"
#include "odd-ready.h"
#include "odd-tasks.h"
#include "odd-memory.h"
#include "odd-kernel.h"

static const struct { const char *name; void (*run)(uint64_t number); uint64_t number; } modes[] = {
  {"zombie-leader", zombie_leader, 0}, {"exec-soon", exec_soon, 50},         {"exit-soon", exit_soon, 50},
  {"stopped", stopped, 0},             {"vfork", in_vfork, 0},               {"many-threads", many_threads, 200},
  {"sleeper", sleeper, 0},             {"spin", spin, 0},                    {"prot-none", prot_none, 256},
  {"many-mappings", many_mappings, 20000}, {"sparse", sparse, 64},           {"dontdump", dontdump, 64},
  {"alias", alias, 128},               {"own-uffd", own_uffd, 64},           {"dstate", dstate, 0},
  {"pinned", pinned, 8},               {"rseq", rseq_counters, 4},
};

int main(int argc, char **argv)
{
  guest_begin();
  const char *mode = argc > 1 ? argv[1] : "";
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    if (strcmp(modes[i].name, mode)) continue;
    odd_mode = mode;
    odd_arguments = argv;
    modes[i].run(argc > 2 ? strtoull(argv[2], NULL, 10) : modes[i].number);
    return 0;
  }
  die("odd does not know the mode %s", mode);
}
