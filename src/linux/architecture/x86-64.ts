import { assert } from '../../kernel/errors.ts'
import type { Architecture, Lifeline, Registers } from '../../kernel/architecture.ts'

/** struct user_regs_struct, arch/x86/include/asm/user_64.h: positions of the eight-byte registers. */
const R = {
  r15: 0, r14: 1, r13: 2, r12: 3, rbp: 4, rbx: 5, r11: 6, r10: 7, r9: 8, r8: 9, rax: 10, rcx: 11, rdx: 12, rsi: 13,
  rdi: 14, origRax: 15, rip: 16, cs: 17, eflags: 18, rsp: 19, ss: 20, fsBase: 21, gsBase: 22, ds: 23, es: 24, fs: 25, gs: 26,
} as const

const NO_CALL = 0xffff_ffff_ffff_ffffn
const RESTART_SYSCALL = 219n

/**
 * Calls that the kernel ends with EINTR, and does not restart, when a thread is merely stopped and continued
 * (signal(7), "Interruption of system calls by stop signals"), and that can be made again without harm.
 * close(2) is not among them: a second close would close somebody else's file.
 */
const ENDS_WITH_EINTR = new Set([
  0 /* read: sockets with SO_RCVTIMEO, inotify */, 1 /* write: SO_SNDTIMEO */, 19 /* readv */, 20 /* writev */,
  42 /* connect */, 43 /* accept */, 44 /* sendto */, 45 /* recvfrom */, 46 /* sendmsg */, 47 /* recvmsg */, 65 /* semop */,
  69 /* msgsnd */, 70 /* msgrcv */, 128 /* rt_sigtimedwait */, 208 /* io_getevents */, 220 /* semtimedop */,
  232 /* epoll_wait */, 281 /* epoll_pwait */, 288 /* accept4 */, 299 /* recvmmsg */, 307 /* sendmmsg */,
  333 /* io_pgetevents */, 426 /* io_uring_enter */, 441 /* epoll_pwait2 */,
])
/** Of these, the ones whose fourth argument is a timeout in milliseconds. */
const TIMEOUT_IN_R10 = new Set([232, 281])

const EINTR = -4n
/** include/linux/errno.h: what the kernel leaves in rax of a call it means to restart. */
const RESTARTS = new Set([-512n, -513n, -514n])
const RESTART_BLOCK = -516n
/** Restart, unless a handler is to run first: then EINTR. The kernel decides that when the thread is let go, so no signal slips in between. */
const ERESTARTNOHAND = BigInt.asUintN(64, -514n)

const signed = (value: bigint): bigint => BigInt.asIntN(64, value)

function interruptedCall(registers: Registers): number | undefined {
  const call = signed(registers[R.origRax]!)
  if (call < 0n || signed(registers[R.rax]!) !== EINTR) return undefined
  return ENDS_WITH_EINTR.has(Number(call)) ? Number(call) : undefined
}

/** Sends the thread back to its `syscall` instruction, two bytes long, to make call number `call`. */
function makeAgain(registers: Registers, call: bigint): void {
  registers[R.rip] = registers[R.rip]! - 2n
  registers[R.rax] = call
  registers[R.origRax] = NO_CALL
}

function restartInterrupted(registers: Registers, blockedNs: number | undefined): boolean {
  const call = interruptedCall(registers)
  if (call === undefined) return false
  registers[R.rax] = ERESTARTNOHAND
  const timeoutMs = Number(BigInt.asIntN(32, registers[R.r10]!))
  if (blockedNs !== undefined && TIMEOUT_IN_R10.has(call) && timeoutMs > 0) {
    registers[R.r10] = BigInt(Math.max(0, timeoutMs - Math.floor(blockedNs / 1e6)))
  }
  return true
}

/**
 * Registers from which the thread can simply run on in user mode: where the kernel would have restarted
 * an interrupted call on the way out, the thread makes the call again itself.
 */
function runnable(registers: Registers): Registers {
  const copy = registers.slice()
  const result = signed(copy[R.rax]!)
  if (signed(copy[R.origRax]!) >= 0n) {
    if (RESTARTS.has(result)) makeAgain(copy, copy[R.origRax]!)
    else if (result === RESTART_BLOCK) makeAgain(copy, RESTART_SYSCALL)
  }
  return copy
}

export const x86_64: Architecture = {
  name: 'x86-64',
  generalSet: 1,
  generalBytes: 27 * 8,
  noteSets: [
    { set: 2, owner: 'CORE' },
    { set: 0x202, owner: 'LINUX' },
  ],
  calls: { clone3: 435, closeRange: 436, userfaultfd: 323, madvise: 28 },

  programCounter: (registers) => registers[R.rip]!,
  threadPointer: (registers) => registers[R.fsBase]!,
  setProgramCounter: (registers, to) => { registers[R.rip] = to },

  placeCall(registers, at, call, args) {
    assert(args.length <= 6, 'a system call has at most six arguments')
    const places = [R.rdi, R.rsi, R.rdx, R.r10, R.r8, R.r9]
    args.forEach((value, i) => { registers[places[i]!] = BigInt.asUintN(64, BigInt(value)) })
    registers[R.rax] = BigInt(call)
    registers[R.origRax] = NO_CALL
    registers[R.rip] = at
  },

  callResult: (registers) => Number(signed(registers[R.rax]!)),
  restartInterrupted,
  timedCalls: TIMEOUT_IN_R10,
  lifeline: x86Lifeline(),
}

/**
 * ```
 *        syscall               0f 05            clone3 for us; the child is our helper
 *        test  eax, eax        85 c0
 *        je    child           0f 84 ad000000
 *        js    home            78 18            no child: nothing to bury
 *        mov   edi, eax        89 c7
 * wait:  mov   eax, 61 (wait4) b8 3d000000      the helper dies with us (EXITKILL), or left by `child`
 *        xor   esi, esi        31 f6
 *        mov   edx, __WALL     ba 00000040
 *        xor   r10d, r10d      45 31 d2
 *        syscall               0f 05
 *        cmp   eax, -EINTR     83 f8 fc
 *        je    wait            74 ea
 * home:  mov   eax, 14         b8 0e000000      rt_sigprocmask(SIG_SETMASK, &mask, NULL, 8)
 *        mov   edi, 2          bf 02000000
 *        lea   rsi, [mask]     48 8d 35 1b010000
 *        xor   edx, edx        31 d2
 *        mov   r10d, 8         41 ba 08000000
 *        syscall               0f 05
 *        mov   r15 … rdi, [saved]               fourteen registers; rsp was never touched
 *        mov   eax, [flags]    8b 05 b1000000   ah: SF ZF AF PF CF;  al: 1 if OF, else 0
 *        add   al, 0x7f        04 7f            sets OF as it was
 *        sahf                  9e               and the other five
 *        mov   rax, [saved]    48 8b 05 67000000
 *        jmp   [saved rip]     ff 25 91000000
 * child: xor   edi, edi        31 ff            only if nobody traces it: _exit(0)
 *        mov   eax, 60         b8 3c000000
 *        syscall               0f 05
 *        ud2                   0f 0b
 * ```
 * No instruction touches the stack: a goroutine's may have no room below it. Vector registers, the alternate
 * signal stack and the restart block of an interrupted sleep stay as they are, which no sigreturn frame could promise.
 * The `syscall` at the start is also where the helper performs its calls.
 */
function x86Lifeline(): Lifeline {
  const DATA = 0xc8
  const MASK = 0x150
  const FLAGS = 0x158
  const ARGUMENTS = 0x160
  const BYTES = 0x1b8
  const code = Uint8Array.from((
    '0f0585c00f84ad000000781889c7' +
    'b83d00000031f6ba000000404531d20f0583f8fc74ea' +
    'b80e000000bf02000000488d351b01000031d241ba080000000f05' +
    '4c8b3d820000004c8b35830000004c8b2d840000004c8b2585000000488b2d86000000488b1d87000000' +
    '4c8b1d880000004c8b15890000004c8b0d8a0000004c8b058b000000488b0d94000000488b1595000000' +
    '488b3596000000488b3d97000000' +
    '8b05b1000000047f9e488b0567000000ff2591000000' +
    '31ffb83c0000000f050f0b'
  ).match(/../g)!, (pair) => Number.parseInt(pair, 16))
  return {
    bytes: BYTES,
    callOffset: 0,
    argumentsOffset: ARGUMENTS,
    assemble(home, signalMask) {
      const bytes = new Uint8Array(BYTES)
      bytes.set(code)
      const view = new DataView(bytes.buffer)
      const registers = runnable(home)
      for (let i = 0; i <= R.rip; i++) view.setBigUint64(DATA + i * 8, registers[i]!, true)
      view.setBigUint64(MASK, signalMask, true)
      const flags = Number(registers[R.eflags]! & 0xfffn)
      view.setUint32(FLAGS, ((flags & 0xff) << 8) | ((flags >>> 11) & 1), true)
      // struct clone_args: flags = CLONE_VM | CLONE_FILES | CLONE_CLEAR_SIGHAND, all else 0: no signal at its end.
      view.setBigUint64(ARGUMENTS, 0x100n | 0x400n | 0x1_0000_0000n, true)
      return bytes
    },
  }
}
