/** ELF64 file and program headers, elf(5): positions of the fields this needs. */
const PHOFF = 32
const PHENTSIZE = 54
const PHNUM = 56
const PT_LOAD = 1

/** How many bytes of a [vdso] image are code or data: the rest (section names and headers, padding) nothing in the process uses. */
export function loadedBytes(image: Uint8Array): number {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  const start = Number(view.getBigUint64(PHOFF, true))
  const size = view.getUint16(PHENTSIZE, true)
  const count = view.getUint16(PHNUM, true)
  let end = image.length
  for (let i = 0; i < count; i++) {
    const header = start + i * size
    if (header + 56 > image.length) return image.length
    if (view.getUint32(header, true) === PT_LOAD) end = Number(view.getBigUint64(header + 8, true) + view.getBigUint64(header + 32, true))
  }
  return end
}
