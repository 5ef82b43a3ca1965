/* What the calls of blocked.c wait on. Included by blocked-calls.h after the table of calls. */
#ifndef BLOCKED_OBJECTS_H
#define BLOCKED_OBJECTS_H

static struct call *call_named(const char *name)
{
  for (size_t i = 0; i < CALLS; i++)
    if (!strcmp(calls[i].name, name)) return &calls[i];
  die("no call %s", name);
}

static int listener(int family, const void *address, socklen_t length)
{
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, address, length) || listen(fd, 8)) die("listening: %s", strerror(errno));
  return fd;
}

static void make_sockets(void)
{
  /* An address of nothing but its family is a name of the kernel's choice, in no file system. */
  struct sockaddr_un local = {.sun_family = AF_UNIX};
  struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  call_named("accept_unix")->fd = listener(AF_UNIX, &local, sizeof local.sun_family);
  call_named("accept_tcp")->fd = listener(AF_INET, &loopback, sizeof loopback);
  int pair[2];
  struct call *recv_call = call_named("recv");
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) die("socketpair: %s", strerror(errno));
  recv_call->fd = pair[0];
  recv_call->peer = pair[1];
  struct timeval limit = {.tv_usec = (suseconds_t)(recv_call->timeout / 1000)};
  if (setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit)) die("SO_RCVTIMEO: %s", strerror(errno));
}

static void make_objects(void)
{
  int pipes[2];
  if (pipe(pipes)) die("pipe: %s", strerror(errno));
  call_named("read_pipe")->fd = pipes[0];
  call_named("read_pipe")->peer = pipes[1];
  const char *const quiet[] = {"poll", "ppoll", "select", "pselect"};
  for (size_t i = 0; i < 4; i++) call_named(quiet[i])->fd = eventfd(0, EFD_CLOEXEC);
  make_sockets();
  /* One semaphore for all guests there ever are: a killed guest could not remove its own. */
  call_named("semtimedop")->fd = semget(0x74696465, 1, IPC_CREAT | 0600);
  if (call_named("semtimedop")->fd < 0) die("semget: %s", strerror(errno));
  struct call *inotify = call_named("read_inotify");
  snprintf(file_name, sizeof file_name, "blocked-%d.data", (int)getpid());
  inotify->peer = open(file_name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  inotify->fd = inotify_init1(IN_CLOEXEC);
  if (inotify_add_watch(inotify->fd, file_name, IN_ATTRIB) < 0) die("inotify: %s", strerror(errno));
  handle_signal();
}

static void remove_objects(void) { unlink(file_name); }

#endif
