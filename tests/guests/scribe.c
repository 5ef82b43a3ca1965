/*
 * scribe
 *
 * Changes its memory in every way that a program can, on command, and knows what it changed: the truth that trackers are
 * held to. One command a line; the answer says `refused` and why when nothing was done, `unavailable` where this machine
 * has no such thing, `errno` when the kernel refused a write from outside.
 *   mark     remembers what all regions hold
 *   since    [start, end, number of the command] of all pages that changed since, by what became of them: see scribe-truth.h
 * The other commands stand at the top of scribe-regions.h, scribe-writes.h, scribe-remaps.h and scribe-tasks.h.
 */
#include "guest.h"
#include "scribe-tasks.h"
#include <alloca.h>

#define WORDS_MAX 6

typedef bool (*page_command)(struct region *region, size_t first, size_t count);

/*
 * NAME FIRST COUNT. TOUCHES: the pages must be accessible. RESHAPES: so too, and no thread may be writing them meanwhile.
 * ANYWHERE: as RESHAPES, but pages that cannot be touched are welcome.
 */
enum manner { TOUCHES, RESHAPES, ANYWHERE };
static const struct { const char *verb; page_command run; enum manner manner; } page_commands[] = {
  {"write", do_write, TOUCHES}, {"same", do_same, TOUCHES}, {"atomic", do_atomic, TOUCHES}, {"peek", do_peek, TOUCHES},
  {"read", do_read, TOUCHES}, {"readv", do_readv, TOUCHES}, {"direct", do_direct, TOUCHES}, {"ring", do_ring, TOUCHES},
  {"ringfixed", do_ringfixed, TOUCHES}, {"drop", do_drop, RESHAPES}, {"free", do_free, RESHAPES}, {"pageout", do_pageout, RESHAPES},
  {"remove", do_remove, RESHAPES}, {"guard", do_guard, RESHAPES}, {"unguard", do_unguard, ANYWHERE}, {"punch", do_punch, RESHAPES},
  {"pwrite", do_pwrite, TOUCHES}, {"truncate", do_truncate, RESHAPES}, {"none", do_none, ANYWHERE}, {"readonly", do_readonly, ANYWHERE},
  {"access", do_access, ANYWHERE}, {"over", do_over, ANYWHERE}, {"unmap", do_unmap, ANYWHERE}, {"child", do_child, TOUCHES},
  {"vchild", do_vchild, TOUCHES}, {"vmwrite", do_vmwrite, TOUCHES}, {"procmem", do_procmem, TOUCHES}, {"poke", do_poke, TOUCHES},
};

static const struct { const char *verb; bool (*run)(char **words); int words; } other_commands[] = {
  {"map", command_map, 3}, {"alias", command_alias, 2}, {"forget", command_forget, 1}, {"span", command_span, 3}, {"pin", command_pin, 1},
  {"unpin", command_unpin, 0}, {"grow", command_grow, 2}, {"shrink", command_shrink, 2}, {"move", command_move, 1},
  {"growmove", command_growmove, 2}, {"merge", command_merge, 1}, {"fork", command_fork, 0}, {"join", command_join, 0},
  {"spin", command_spin, 2}, {"halt", command_halt, 0}, {"signal", command_signal, 1},
};

static bool run_page_command(page_command run, char **words, int count, enum manner manner)
{
  struct region *region = find_region(words[0]);
  errno = ENOENT;
  if (!region) return refuse("region");
  size_t first = count > 1 ? strtoul(words[1], NULL, 10) : 0, pages = count > 2 ? strtoul(words[2], NULL, 10) : region->pages - first;
  errno = ERANGE;
  if (!pages || first + pages > region->pages) return refuse("pages");
  if (manner != ANYWHERE && !within(region, first, pages)) return false;
  errno = EBUSY;
  if (manner != TOUCHES && is_spun(region)) return refuse("threads");
  return run(region, first, pages);
}

static void run_command(const char *verb, char **words, int count)
{
  for (size_t i = 0; i < sizeof page_commands / sizeof *page_commands; i++)
    if (!strcmp(verb, page_commands[i].verb) && count >= 1) {
      run_page_command(page_commands[i].run, words, count, page_commands[i].manner);
      return;
    }
  for (size_t i = 0; i < sizeof other_commands / sizeof *other_commands; i++)
    if (!strcmp(verb, other_commands[i].verb) && count >= other_commands[i].words) {
      other_commands[i].run(words);
      return;
    }
  answer(",\"refused\":\"scribe does not know this command\"");
}

static void take_line(char *line)
{
  char *words[WORDS_MAX] = {0}, *rest = NULL, *verb = strtok_r(line, " ", &rest);
  int count = 0;
  if (!verb) return;
  while (count < WORDS_MAX && (words[count] = strtok_r(NULL, " ", &rest))) count++;
  answer_text[0] = 0;
  bool is_mark = !strcmp(verb, "mark"), is_since = !strcmp(verb, "since");
  if (!is_mark && !is_since) {
    command_number++;
    run_command(verb, words, count);
  }
  if (is_mark) set_mark();
  printf("{\"reply\":\"%s\",\"command\":%u%s", verb, command_number, answer_text);
  if (is_since) print_since();
  printf("}\n");
  fflush(stdout);
}

int main(void)
{
  guest_begin();
  pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (pagemap_fd < 0) die("/proc/self/pagemap: %s", strerror(errno));
  stack_area = alloca((STACK_PAGES + 1) * page_bytes);
  stack_area += page_bytes - (uintptr_t)stack_area % page_bytes;
  data_area[0] = 2;
  printf("{\"pid\":%d,\"ready\":true,\"guest\":\"scribe\",\"pageBytes\":%zu}\n", (int)getpid(), page_bytes);
  fflush(stdout);
  char line[256];
  while (guest_line(line, sizeof line)) take_line(line);
  command_halt(NULL);
  command_join(NULL);
  guest_end(",\"guest\":\"scribe\",\"commands\":%u", command_number);
}
