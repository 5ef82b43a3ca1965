/* What the modes of odd.c share: the ready line, blocks of known contents, and a beating heart. */
#ifndef ODD_READY_H
#define ODD_READY_H

#include "guest.h"
#include "ledger.h"

#define BLOCKS_MAX 32
static struct { const char *name; void *start; uint64_t pages, generation; bool no_access; } blocks[BLOCKS_MAX];
static size_t block_count;
static const char *odd_mode;
static char **odd_arguments;
static pthread_t beat_thread;
static volatile uint64_t beats;
static bool beating;

/* Fills memory by the ledger's rule and remembers to say so. */
static void add_block(const char *name, void *start, uint64_t pages, uint64_t generation)
{
  if (block_count == BLOCKS_MAX) die("too many blocks");
  blocks[block_count].name = name;
  blocks[block_count].start = start;
  blocks[block_count].pages = pages;
  blocks[block_count++].generation = generation;
  fill_block(start, 0, pages, generation);
}

static void check_blocks(void)
{
  for (size_t i = 0; i < block_count; i++) {
    struct ledger_entry entry = {.address = (uintptr_t)blocks[i].start, .pages = blocks[i].pages, .generation = blocks[i].generation};
    check_block(&entry, blocks[i].name);
  }
}

/* Rewrites one block of the ledger all the time, so that there is something to tear in every mode. */
static void *beat(void *argument)
{
  struct ledger_entry *entry = argument;
  while (!atomic_load(&stopping)) {
    check_block(entry, "of the beat");
    ledger_moving(entry);
    fill_block((void *)(uintptr_t)entry->address, 0, entry->pages, ++entry->generation);
    ledger_stable(entry);
    beats++;
    sleep_ns(500000);
  }
  return NULL;
}

static void start_beat(void)
{
  struct ledger_entry *entry = &ledger[LEDGER_ENTRIES - 1];
  void *at = map_pages(16, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  fill_block(at, 0, 16, 1);
  ledger_set(entry, at, 16, 1);
  ledger_stable(entry);
  start_thread(&beat_thread, beat, entry);
  beating = true;
}

/* `more` is what the mode has to say, each beginning with a comma. */
__attribute__((format(printf, 1, 2))) static void odd_ready(const char *more, ...)
{
  printf("{\"pid\":%d,\"ready\":true,\"guest\":\"odd\",\"mode\":\"%s\",\"pageBytes\":%zu,\"blocks\":[", (int)getpid(), odd_mode, page_bytes);
  for (size_t i = 0; i < block_count; i++)
    printf("%s{\"name\":\"%s\",\"start\":\"%p\",\"pages\":%" PRIu64 ",\"generation\":%" PRIu64 "%s}", i ? "," : "", blocks[i].name,
           blocks[i].start, blocks[i].pages, blocks[i].generation, blocks[i].no_access ? ",\"noAccess\":true" : "");
  printf("]");
  if (beating) print_ledger();
  va_list args;
  va_start(args, more);
  vprintf(more, args);
  va_end(args);
  printf("}\n");
  fflush(stdout);
}

/* Precondition: no other thread but the beat goes on. */
__attribute__((noreturn)) static void odd_end(const char *counter, uint64_t count)
{
  atomic_store(&stopping, 1);
  if (beating) pthread_join(beat_thread, NULL);
  check_blocks();
  guest_end(",\"guest\":\"odd\",\"mode\":\"%s\",\"beats\":%" PRIu64 ",\"%s\":%" PRIu64, odd_mode, (uint64_t)beats, counter, count);
}

/* Waits for the line "release", or for the end: then the mode releases what it holds too. */
__attribute__((unused)) static bool await_release(void)
{
  char line[64];
  while (guest_line(line, sizeof line)) {
    if (!strcmp(line, "release")) return true;
    problem("odd %s does not know the line %s", odd_mode, line);
  }
  return false;
}

__attribute__((unused)) static void answer_release(bool asked)
{
  if (!asked) return;
  printf("{\"reply\":\"release\"}\n");
  fflush(stdout);
}

#endif
