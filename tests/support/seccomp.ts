/**
 * A piece of JavaScript that denies system calls to its process with EPERM from then on, as a container's filter does.
 * x86-64 numbers. `dist` is where the built modules are.
 */
export function denySystemCalls(dist: string, denied: readonly number[]): string {
  return `
    const { systemCall } = await import('${dist}/linux/ffi.js')
    const { allocateBlock } = await import('${dist}/linux/block.js')
    const denied = ${JSON.stringify(denied)}, block = allocateBlock(4096), view = new DataView(block.bytes.buffer)
    const rules = [[0x20, 0, 0, 0], ...denied.map((nr, i) => [0x15, denied.length - i, 0, nr]), [6, 0, 0, 0x7fff0000], [6, 0, 0, 0x50001]]
    view.setUint16(0, rules.length, true)
    view.setBigUint64(8, BigInt(block.address + 64), true)
    rules.forEach(([code, jt, jf, k], i) => {
      view.setUint16(64 + i * 8, code, true), view.setUint8(66 + i * 8, jt), view.setUint8(67 + i * 8, jf), view.setUint32(68 + i * 8, k, true)
    })
    systemCall(157, 38, 1)
    if (systemCall(157, 22, 2, block.address) !== 0) throw new Error('no seccomp')
  `
}
